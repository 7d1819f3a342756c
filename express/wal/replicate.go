package wal

import (
	"fmt"
	"time"
)

// flight is a group on its way to the Replica. The slices are the committer's, which takes others from a flight that has landed.
type flight struct {
	written
	head []byte
	bufs [][]byte
}

// air is what a committer with a Replica knows besides.
type air struct {
	flights  []*flight // in order
	spare    []*flight
	landings chan error  // how the front of flights ended
	isReady  bool        // Interval has passed since the last group was begun
	ready    *time.Timer // tells when
}

// runReplicated commits groups with a Replica until the queue is closed and empty, and all have landed. Here gathering has a least
// time, because each group is an object that costs money, and several are under way at once, because each takes long.
func (c *committer) runReplicated() {
	q := &c.log.queue
	a := &c.air
	a.landings = make(chan error, c.log.cfg.Pipeline)
	a.isReady, a.ready = true, time.NewTimer(0)
	defer a.ready.Stop()
	for {
		work, rolls, open := q.take(c.work)
		c.work = work
		for _, answer := range rolls {
			answer <- c.roll()
		}
		c.launch(open)
		if !open && len(c.work)+len(a.flights) == 0 {
			return
		}
		select {
		case <-q.kick:
		case err := <-a.landings:
			c.land(err)
		case <-a.ready.C:
			a.isReady = true
		}
	}
}

// launch begins the groups that may begin now.
func (c *committer) launch(open bool) {
	a, cfg := &c.air, &c.log.cfg
	for len(c.work) > 0 && len(a.flights) < cfg.Pipeline {
		n, payload := c.groupLen()
		isFull := n < len(c.work) || payload >= int64(cfg.GroupBytes)
		if !a.isReady && !isFull && open {
			return
		}
		group := c.work[:n]
		if err := c.write(group, payload); err != nil {
			clear(c.bufs)
			c.landAll() // what is in flight is before the group and need not fail with it, but what is queued behind does (W3)
			if !c.dead {
				c.refuse(err)
			}
			return
		}
		f := c.takeOff(group, payload)
		c.taken(n)
		a.isReady = false
		a.ready.Reset(cfg.Interval)
		c.log.world.Replica.Put(c.groupSeq, f.bufs, c.landed)
	}
}

// takeOff makes the group that was written a flight.
func (c *committer) takeOff(group []*Entry, payload int64) *flight {
	a, f := &c.air, &flight{}
	if n := len(a.spare); n > 0 {
		f, a.spare = a.spare[n-1], a.spare[:n-1]
	}
	f.rows, c.rows = c.rows, f.rows
	f.head, c.head = c.head, f.head
	f.bufs, c.bufs = c.bufs, f.bufs
	f.entries = append(f.entries[:0], group...)
	f.file, f.pos, f.payload, f.timeMs = c.active, c.active.end-c.stored, payload, c.timeMs
	f.file.inFlight++
	a.flights = append(a.flights, f)
	return f
}

// landed is what the Replica calls.
func (c *committer) landed(err error) { c.air.landings <- err }

// land ends the front of the flights.
func (c *committer) land(err error) {
	if err != nil {
		c.crash(err)
		return
	}
	a := &c.air
	f := a.flights[0]
	c.publish(&f.written)
	for _, e := range f.entries {
		e.Done(nil)
	}
	c.log.queue.release(f.payload)
	f.file.inFlight--
	c.sealIfComplete(f.file)

	clear(f.entries)
	clear(f.bufs)
	clear(f.rows)
	f.file = nil
	a.flights = append(a.flights[:0], a.flights[1:]...)
	a.spare = append(a.spare, f)
}

// landAll waits for all flights.
func (c *committer) landAll() {
	for len(c.air.flights) > 0 {
		c.land(<-c.air.landings)
	}
}

// crash ends the log after the Replica has failed: everything in flight and queued fails, in order.
func (c *committer) crash(cause error) {
	a := &c.air
	var failed []*Entry
	for i, f := range a.flights {
		if i > 0 { // until it has landed too the bytes are the Replica's
			if err := <-a.landings; err == nil {
				c.log.world.Log.Error("replica goes on after its end", "cause", cause)
			}
		}
		failed = append(failed, f.entries...)
	}
	c.work = append(failed, c.work...)
	c.refuse(fmt.Errorf("%w: %w", ErrFailed, cause))
	for _, f := range a.flights {
		f.file.inFlight--
		c.sealIfComplete(f.file)
	}
	a.flights = nil
}
