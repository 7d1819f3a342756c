package partition

// Waiter is told when one of the partitions that it waits at may have more to
// read. One Waiter may wait at many partitions at once; it is for one goroutine.
type Waiter struct {
	// C holds one token at most.
	C chan struct{}
}

// NewWaiter makes a Waiter.
func NewWaiter() *Waiter { return &Waiter{C: make(chan struct{}, 1)} }

type registration struct {
	waiter *Waiter
	from   int64
}

// Wait registers w until cancel is called: whenever the high watermark is past
// from, the log start moves or the partition closes, w.C gets a token. If that
// holds already the token is there when Wait returns.
func (p *Partition) Wait(w *Waiter, from int64) (cancel func()) {
	r := &registration{waiter: w, from: from}
	p.mu.Lock()
	p.waiters[r] = struct{}{}
	if p.closed || p.hw > from || p.logStart > from {
		r.notify()
	}
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		delete(p.waiters, r)
		p.mu.Unlock()
	}
}

// notifyLocked holds mu and tells everyone who has something to see.
func (p *Partition) notifyLocked() {
	for r := range p.waiters {
		if p.closed || p.hw > r.from || p.logStart > r.from {
			r.notify()
		}
	}
}

func (r *registration) notify() {
	select {
	case r.waiter.C <- struct{}{}:
	default: // it has a token already
	}
}
