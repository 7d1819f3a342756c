package peer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// presenceVersion is the version of ApiVersions that is sent: the lowest, which every broker answers to everybody.
const presenceVersion = 0

// presencePause is the most that is waited before a silent broker is asked again: it may be back any moment.
const presencePause = 100 * time.Millisecond

// hearing is one call to a broker that is only to show whether it answers.
type hearing struct {
	pool   *Pool
	broker int32
	reply[struct{}]
}

// silence is a time in which a broker did not answer.
type silence struct {
	incarnation uint64
	since       time.Time
}

// Silent asks brokers whether they are there, all at once, and gives those that do not answer within Config.Patience. It is soon over:
// a broker that has been silent for longer than Config.Silence is asked and not waited for, and is not among them, so that one
// that stays away, or is away from here only, holds nobody up for ever. Brokers that are not registered do not answer.
//
// news, where it is not nil, ends the wait when it is closed: who has not answered by then and was silent before is still.
// The end of ctx ends it likewise.
func (p *Pool) Silent(ctx context.Context, brokers []int32, news <-chan struct{}) []int32 {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Patience)
	defer cancel()
	calls := make([]*hearing, 0, len(brokers))
	var silent []int32
	for _, id := range brokers {
		_, registered := p.world.Broker(id)
		long := p.longSilent(id)
		switch {
		case !registered && !long:
			p.missed(id)
			silent = append(silent, id)
			continue
		case !registered:
			continue
		case long: // nobody waits for it, but what comes of it is noted
			enter(p, p.hearings, hearingKind(), id, &hearing{pool: p, broker: id, reply: newReply[struct{}](p.life)})
			continue
		}
		c := &hearing{pool: p, broker: id, reply: newReply[struct{}](ctx)}
		calls = append(calls, c)
		enter(p, p.hearings, hearingKind(), id, c)
	}
	for _, c := range calls {
		if !c.heard(news) {
			silent = append(silent, c.broker)
		}
	}
	return silent
}

// heard waits for the answer, and reports whether the broker is to be taken for present.
func (c *hearing) heard(news <-chan struct{}) bool {
	select {
	case o := <-c.out:
		return present(o.err)
	case <-news:
	case <-c.ctx.Done():
	}
	select {
	case o := <-c.out: // the wait for another one has ended
		return present(o.err)
	default:
	}
	if errors.Is(c.ctx.Err(), context.DeadlineExceeded) {
		c.pool.missed(c.broker)
	}
	return !c.pool.isSilent(c.broker)
}

// present tells whether a broker is to be taken for present after an answer: an error of ours says nothing of it.
func present(err error) bool {
	return err == nil || errors.Is(err, ErrBusy) || errors.Is(err, ErrClosed)
}

func hearingKind() *kind[*hearing] {
	return &kind[*hearing]{
		name: "presence", most: 1 << 30, within: presenceWithin, pause: presencePause,
		ask: func([]*hearing) request {
			q := kmsg.NewPtrApiVersionsRequest()
			q.Version = presenceVersion
			return q
		},
		answered: func(calls []*hearing, r response) error {
			if _, ok := r.(*kmsg.ApiVersionsResponse); !ok {
				return errAnswer
			}
			for _, c := range calls {
				c.pool.heard(c.broker)
				c.give(struct{}{}, nil)
			}
			return nil
		},
		given: func(c *hearing) bool { return c.reply.given() },
		fail: func(c *hearing, err error) {
			if errors.Is(err, ErrAway) {
				c.pool.missed(c.broker)
			}
			c.give(struct{}{}, err)
		},
	}
}

// presenceWithin bounds the request by what its callers wait at most, so that a connection to a host that is gone is given up
// with them.
func presenceWithin(cfg Config) time.Duration { return cfg.Patience }

// heard ends the silence of a broker.
func (p *Pool) heard(broker int32) {
	p.quiet.Lock()
	defer p.quiet.Unlock()
	delete(p.silences, broker)
}

// missed notes that a broker did not answer. Another incarnation than the one that was silent begins anew; one that is not
// registered is the one that was.
func (p *Pool) missed(broker int32) {
	now := p.world.Clock.Now()
	b, registered := p.world.Broker(broker)
	p.quiet.Lock()
	defer p.quiet.Unlock()
	s, silent := p.silences[broker]
	if !silent || registered && s.incarnation != b.Incarnation {
		p.silences[broker] = silence{b.Incarnation, now}
	}
}

// isSilent reports whether a broker did not answer when it was asked last.
func (p *Pool) isSilent(broker int32) bool {
	p.quiet.Lock()
	defer p.quiet.Unlock()
	_, ok := p.silences[broker]
	return ok
}

// longSilent reports whether nobody waits for a broker any more.
func (p *Pool) longSilent(broker int32) bool {
	b, registered := p.world.Broker(broker)
	p.quiet.Lock()
	defer p.quiet.Unlock()
	s, ok := p.silences[broker]
	return ok && (!registered || s.incarnation == b.Incarnation) && p.world.Clock.Now().Sub(s.since) >= p.cfg.Silence
}
