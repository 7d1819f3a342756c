package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"millrace/express/catalog"
)

// lane is the way to one broker for one kind of calls. Its goroutine, run, owns everything below "owned by run".
type lane[C any] struct {
	pool   *Pool
	kind   *kind[C]
	broker int32
	lanes  map[int32]*lane[C] // where this one is, until it ends
	wake   chan struct{}      // the queue has grown; capacity 1

	queue []C // guarded by Pool.mu

	// Owned by run.
	conn  *conn
	made  catalog.Broker // whom conn is to
	pause time.Duration  // before the next connect; 0: none
}

func (l *lane[C]) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run asks what is queued, one request after the other, until the Pool ends or there was nothing to ask for long.
func (l *lane[C]) run() {
	ctx := l.pool.life
	defer l.hangUp()
	idle := time.NewTimer(l.pool.cfg.Idle)
	defer idle.Stop()
	for {
		calls := l.take()
		if len(calls) > 0 {
			l.serve(ctx, calls)
			idle.Reset(l.pool.cfg.Idle)
			continue
		}
		select {
		case <-l.wake:
		case <-idle.C:
			if l.leave() {
				return
			}
		case <-ctx.Done():
			l.abandon(ErrClosed)
			return
		}
	}
}

// take takes all that is queued, but not what nobody waits for.
func (l *lane[C]) take() []C {
	l.pool.mu.Lock()
	calls := l.queue
	l.queue = nil
	l.pool.mu.Unlock()
	if l.kind.given == nil {
		return calls
	}
	kept := calls[:0]
	for _, c := range calls {
		if l.kind.given(c) {
			l.kind.fail(c, context.Canceled)
			continue
		}
		kept = append(kept, c)
	}
	clear(calls[len(kept):])
	return kept
}

// leave takes the lane out of the table, unless there is something to do after all.
func (l *lane[C]) leave() bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if len(l.queue) > 0 {
		return false
	}
	delete(l.lanes, l.broker)
	return true
}

// abandon fails everything that is queued, for good: the Pool has ended.
func (l *lane[C]) abandon(err error) {
	l.pool.mu.Lock()
	calls := l.queue
	l.queue = nil
	delete(l.lanes, l.broker)
	l.pool.mu.Unlock()
	for _, c := range calls {
		l.kind.fail(c, err)
	}
}

// serve asks the broker and answers all calls.
func (l *lane[C]) serve(ctx context.Context, calls []C) {
	err := l.connect(ctx)
	for err == nil && len(calls) > 0 {
		n := l.together(calls)
		if err = l.ask(ctx, calls[:n]); err == nil {
			calls = calls[n:]
		}
	}
	if err == nil {
		return
	}
	l.hangUp()
	first := l.pause == 0
	l.pause = min(max(2*l.pause, l.pool.cfg.MinPause), cmp.Or(l.kind.pause, l.pool.cfg.MaxPause))
	if ctx.Err() != nil {
		err = ErrClosed
	} else {
		if first {
			l.pool.world.Log.Warn("broker does not answer", "broker", l.broker, "kind", l.kind.name, "calls", len(calls), "err", err)
		}
		err = fmt.Errorf("%w: broker %d: %w", ErrAway, l.broker, err)
	}
	for _, c := range calls {
		l.kind.fail(c, err)
	}
}

// together brings calls that may share a request with the first one to the front, in their order, and returns how many they are.
func (l *lane[C]) together(calls []C) int {
	n := 1
	for i := 1; i < len(calls) && n < l.kind.most; i++ {
		if l.kind.same != nil && !l.kind.same(calls[0], calls[i]) {
			continue
		}
		c := calls[i]
		copy(calls[n+1:i+1], calls[n:i])
		calls[n] = c
		n++
	}
	return n
}

// ask sends one request and gives its calls their answers, or none and says why.
func (l *lane[C]) ask(ctx context.Context, calls []C) error {
	ctx, cancel := context.WithTimeout(ctx, l.within(time.Duration(max(l.kind.patience, 1))))
	defer cancel()
	r, err := l.conn.ask(ctx, l.kind.ask(calls))
	if err != nil {
		return err
	}
	if err := l.kind.answered(calls, r); err != nil {
		return err
	}
	if l.pause > 0 {
		l.pool.world.Log.Info("broker answers again", "broker", l.broker, "kind", l.kind.name)
	}
	l.pause = 0
	return nil
}

var errNotRegistered = errors.New("it is not registered")

// connect makes sure of a connection to the broker as it is registered now (PE5).
func (l *lane[C]) connect(ctx context.Context) error {
	b, ok := l.pool.world.Broker(l.broker)
	if l.conn != nil {
		if ok && b.Incarnation == l.made.Incarnation && l.pool.at(b) == l.pool.at(l.made) {
			return nil
		}
		l.hangUp()
	}
	if l.pause > 0 {
		timer := time.NewTimer(l.pause - rand.N(l.pause/2))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		b, ok = l.pool.world.Broker(l.broker)
	}
	if !ok {
		return errNotRegistered
	}
	ctx, cancel := context.WithTimeout(ctx, l.within(1))
	defer cancel()
	c, err := dial(ctx, l.pool.dialer(b), l.pool.at(b), l.pool.cfg.ClientID)
	if err != nil {
		return err
	}
	l.conn, l.made = c, b
	return nil
}

// within bounds a connect or a request.
func (l *lane[C]) within(times time.Duration) time.Duration {
	if l.kind.within != nil {
		return l.kind.within(l.pool.cfg)
	}
	return times * l.pool.cfg.Timeout
}

func (l *lane[C]) hangUp() {
	if l.conn != nil {
		l.conn.close()
		l.conn = nil
	}
}
