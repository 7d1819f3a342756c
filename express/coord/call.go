package coord

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// step is one event for the machine; its reply comes under the ticket.
type step[M Machine] func(m M, now time.Time, t machine.Ticket) machine.Effects

// callNamed is call for requests that must name a group.
func callNamed[R kmsg.Response, M Machine](ctx context.Context, c *Runtime[M], groupID string, f step[M]) (R, kerr.Code) {
	if groupID == "" {
		var none R
		return none, kerr.InvalidGroupID
	}
	return call[R](ctx, c, groupID, f)
}

// call has the machine that keeps id handle a request and waits for the reply. The request's memory is not touched after
// call returns.
func call[R kmsg.Response, M Machine](ctx context.Context, c *Runtime[M], id string, f step[M]) (R, kerr.Code) {
	s, code := c.shard(id)
	if code != kerr.None {
		var none R
		return none, code
	}
	return callShard[R](ctx, s, f)
}

// callShard is call for a partition that is known.
func callShard[R kmsg.Response, M Machine](ctx context.Context, s *shard[M], f step[M]) (R, kerr.Code) {
	reply := make(chan kmsg.Response, 1)
	r, code := submit(ctx, s, reply, func() {
		s.lastTicket++
		s.waiting[s.lastTicket] = reply
		s.settle(f(s.machine, s.now(), s.lastTicket))
	})
	if code != kerr.None {
		var none R
		return none, code
	}
	return r.(R), kerr.None
}

// read evaluates f on the state of a partition.
func read[T any, M Machine](ctx context.Context, s *shard[M], f func(m M) T) (T, kerr.Code) {
	reply := make(chan T, 1)
	return submit(ctx, s, reply, func() { reply <- f(s.machine) })
}

// submit has run execute f and waits for what comes out of reply, then or later. An answer counts only if this broker still leads
// after it was made: another may lead since, and have answered otherwise.
func submit[T any, M Machine](ctx context.Context, s *shard[M], reply <-chan T, f func()) (T, kerr.Code) {
	v, code := execute(ctx, s, reply, f)
	if code == kerr.None && !s.c.leads() {
		var none T
		return none, kerr.NotCoordinator
	}
	return v, code
}

func execute[T any, M Machine](ctx context.Context, s *shard[M], reply <-chan T, f func()) (T, kerr.Code) {
	var none T
	e := &event{run: f, ran: make(chan struct{})}
	select {
	case s.events <- e:
	case <-s.done:
		return none, kerr.NotCoordinator
	case <-ctx.Done():
		return none, kerr.CoordinatorNotAvailable
	}
	select {
	case v := <-reply:
		return v, kerr.None
	case <-s.done:
		// run answers what it has taken before it ends; what is still queued, nobody will take.
		select {
		case v := <-reply:
			return v, kerr.None
		default:
			return none, kerr.NotCoordinator
		}
	case <-ctx.Done():
		if !e.claimed.CompareAndSwap(false, true) {
			select { // run is at it; wait until it has let go of the request
			case <-e.ran:
			case <-s.done:
			}
		}
		return none, kerr.CoordinatorNotAvailable
	}
}
