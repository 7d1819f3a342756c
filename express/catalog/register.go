package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"millrace/base/kv"
)

// registration is this broker's lease. The zero value is not registered.
type registration struct {
	wake chan struct{} // capacity 1: something here has changed
	turn chan struct{} // capacity 1: who has put a token in may write the record; may be held over a call to the store

	mu       sync.Mutex // guards the rest; never held over a call to the store
	want     bool       // Register was called and Deregister was not
	gone     bool       // Deregister was called
	lease    kv.Lease   // nil: none
	rev      int64      // of the record that was put under it
	draining bool       // what the record says, or the next one will
	private  []Endpoint // of private listeners; likewise
}

// lock takes the turn.
func (r *registration) lock(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *registration) unlock() { <-r.turn }

func (c *Catalog) selfName() string { return strconv.Itoa(int(c.cfg.Self.ID)) }

// brokerKey is where a broker registers.
func (c *Catalog) brokerKey(id int32) string {
	return c.cfg.Prefix + "brokers/" + strconv.Itoa(int(id))
}

// Register publishes this broker under a lease; call it once the broker can serve. It replaces the
// registration of an earlier incarnation, whose Run then ends with ErrFenced.
func (c *Catalog) Register(ctx context.Context) error {
	rev, err := c.register(ctx, true)
	if err != nil {
		return fmt.Errorf("register broker %d: %w", c.cfg.Self.ID, err)
	}
	return c.await(ctx, func(v *view) bool { return c.registeredIn(v) || v.rev > rev })
}

func (c *Catalog) registeredIn(v *view) bool {
	b, ok := v.brokerLocked(c.cfg.Self.ID)
	return ok && b.Incarnation == c.cfg.Self.Incarnation
}

// register takes a new lease and puts the broker's record under it. Only the first time may it replace the
// record of another incarnation.
func (c *Catalog) register(ctx context.Context, first bool) (rev int64, err error) {
	if err := c.reg.lock(ctx); err != nil {
		return 0, unavailable("wait for the turn", err)
	}
	defer c.reg.unlock()
	lease, err := c.kv.Grant(ctx, c.cfg.LeaseTTL)
	if err != nil {
		return 0, unavailable("grant lease", err)
	}
	kind := comesBack
	if first {
		kind = takesPlace
	}
	rev, err = c.putRegistration(ctx, lease.ID(), kind)
	if err == nil && c.hold(lease, rev, first) {
		c.wakeKeeper()
		return rev, nil
	}
	if closeErr := lease.Close(ctx); closeErr != nil {
		c.log.Warn("lease left to expire", "err", closeErr)
	}
	return rev, err
}

// hold keeps the lease of a new registration, unless it was withdrawn meanwhile.
func (c *Catalog) hold(lease kv.Lease, rev int64, first bool) bool {
	c.reg.mu.Lock()
	defer c.reg.mu.Unlock()
	if !first && !c.reg.want {
		return false
	}
	c.reg.lease, c.reg.rev, c.reg.want, c.reg.gone = lease, rev, true, false
	return true
}

// record is our registration as it shall stand now.
func (c *Catalog) record() brokerRecord {
	c.reg.mu.Lock()
	defer c.reg.mu.Unlock()
	self := c.cfg.Self
	return brokerRecord{Version: formatVersion, Incarnation: self.Incarnation, Host: self.Host, Port: self.Port, Rack: self.Rack,
		Draining: c.reg.draining, Endpoints: c.endpointsLocked()}
}

// endpointsLocked are those of our listeners that the record names; c.reg.mu is held. A broker with no other than Client names none.
func (c *Catalog) endpointsLocked() []Endpoint {
	self := c.cfg.Self
	switch {
	case len(c.reg.private) == 0:
		return self.Endpoints
	case len(self.Endpoints) == 0:
		return slices.Concat([]Endpoint{{Listener: Client, Host: self.Host, Port: self.Port}}, c.reg.private)
	}
	return slices.Concat(self.Endpoints, c.reg.private)
}

// SetPrivate says in our registration, and in those that follow, by which listeners this broker is reached beside those of Config.Self.
// Before Register it only prepares. After an error it may have happened, or happen later: ask again.
func (c *Catalog) SetPrivate(ctx context.Context, private []Endpoint) error {
	c.reg.mu.Lock()
	same := slices.Equal(c.reg.private, private)
	c.reg.private = slices.Clone(private)
	want := c.reg.want
	c.reg.mu.Unlock()
	if !want || same {
		return nil
	}
	if err := c.rewriteRegistration(ctx); err != nil {
		return fmt.Errorf("listeners of broker %d: %w", c.cfg.Self.ID, err)
	}
	return nil
}

// putting is on what occasion a registration is written.
type putting int

const (
	takesPlace putting = iota // the first time: it may stand in another incarnation's place
	comesBack                 // after a lost lease
	alters                    // under the lease that it has
)

func (c *Catalog) putRegistration(ctx context.Context, lease kv.LeaseID, kind putting) (int64, error) {
	self, key := c.cfg.Self, c.brokerKey(c.cfg.Self.ID)
	value := encode(c.record())
	for {
		item, err := c.kv.Get(ctx, key)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return 0, unavailable("read registration", err)
		}
		if err == nil && kind != takesPlace {
			r, err := decode[brokerRecord](item.Value)
			if err != nil || r.Incarnation != self.Incarnation {
				return 0, ErrFenced
			}
		}
		conds := []kv.Cond{kv.ModRevEquals(key, item.ModRev)}
		if kind == comesBack && c.standing != nil {
			more, err := c.standing(ctx)
			if errors.Is(err, ErrReplaced) {
				return 0, err
			}
			if err != nil {
				return 0, unavailable("look whether the log still stands", err)
			}
			conds = append(conds, more...)
		}
		rev, err := c.kv.Txn(ctx, conds, []kv.Op{kv.PutLeased(key, value, lease)})
		if err == nil {
			return rev, nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			return 0, unavailable("write registration", err)
		}
	}
}

// SetDraining says in our registration, and in those that follow a lost lease, that this broker takes no
// partitions and shall lose those it has, or that it does so no more. Once it has returned nil, whatever is
// given to this broker by Release or at a creation was so before, and is in the view (C8). Before Register
// it only prepares. After an error it may have happened, or happen later: ask again.
func (c *Catalog) SetDraining(ctx context.Context, draining bool) error {
	c.reg.mu.Lock()
	c.reg.draining = draining
	want := c.reg.want
	c.reg.mu.Unlock()
	if !want {
		return nil
	}
	if err := c.rewriteRegistration(ctx); err != nil {
		return fmt.Errorf("drain broker %d: %w", c.cfg.Self.ID, err)
	}
	return c.await(ctx, func(v *view) bool {
		self, ok := v.brokerLocked(c.cfg.Self.ID)
		return ok && self.Incarnation == c.cfg.Self.Incarnation && self.Draining == draining
	})
}

// rewriteRegistration puts our record anew under the lease that it has. Without a lease, keepRegistered puts it.
func (c *Catalog) rewriteRegistration(ctx context.Context) error {
	if err := c.reg.lock(ctx); err != nil {
		return unavailable("wait for the turn", err)
	}
	defer c.reg.unlock()
	c.reg.mu.Lock()
	lease := c.reg.lease
	c.reg.mu.Unlock()
	if lease == nil {
		return nil
	}
	rev, err := c.putRegistration(ctx, lease.ID(), alters)
	if errors.Is(err, kv.ErrLeaseLost) {
		return nil
	}
	if err != nil {
		return err
	}
	c.reg.mu.Lock()
	defer c.reg.mu.Unlock()
	c.reg.rev = rev
	return nil
}

// Deregister withdraws this broker at once. It is safe to call when it is not registered.
func (c *Catalog) Deregister(ctx context.Context) error {
	c.reg.mu.Lock()
	lease := c.reg.lease
	c.reg.lease, c.reg.want, c.reg.gone = nil, false, true
	c.reg.mu.Unlock()
	c.wakeKeeper()
	if lease == nil {
		return nil
	}
	if err := lease.Close(ctx); err != nil {
		return unavailable("deregister", err)
	}
	return nil
}

// LeaseDeadline is the local time until which this broker's registration holds for certain; the zero time
// when it is not registered. It never lies after the time at which others may see the broker gone.
func (c *Catalog) LeaseDeadline() time.Time {
	c.reg.mu.Lock()
	defer c.reg.mu.Unlock()
	if c.reg.lease == nil {
		return time.Time{}
	}
	return c.reg.lease.Deadline()
}

// Leads tells whether this broker is certain that nobody has taken over what it owns: before its first registration, and while that
// holds; not after Deregister.
func (c *Catalog) Leads() bool {
	c.reg.mu.Lock()
	defer c.reg.mu.Unlock()
	if c.reg.lease == nil {
		return !c.reg.gone
	}
	return c.clock.Now().Before(c.reg.lease.Deadline())
}

func (c *Catalog) wakeKeeper() {
	select {
	case c.reg.wake <- struct{}{}:
	default:
	}
}

// keepRegistered registers again whenever the lease is lost, and ends with ErrFenced when somebody else
// stands in this broker's place, with ErrReplaced when others have taken over what it had.
func (c *Catalog) keepRegistered(ctx context.Context) error {
	for ctx.Err() == nil {
		c.reg.mu.Lock()
		lease, want := c.reg.lease, c.reg.want
		c.reg.mu.Unlock()
		var over <-chan struct{}
		if want {
			over = lease.Done()
		}
		select {
		case <-ctx.Done():
		case <-c.reg.wake:
		case <-over:
			c.log.Warn("broker lease lost, registering again")
			_, err := c.register(ctx, false)
			if errors.Is(err, ErrFenced) || errors.Is(err, ErrReplaced) {
				return err
			}
			if err != nil && ctx.Err() == nil {
				c.log.Warn("registering failed", "err", err)
				pause(ctx, retryPause)
			}
		}
		if err := c.checkPlace(); err != nil {
			return err
		}
	}
	return nil
}

// checkPlace reports ErrFenced when the view shows another incarnation in this broker's place.
func (c *Catalog) checkPlace() error {
	c.reg.mu.Lock()
	want, rev := c.reg.want, c.reg.rev
	c.reg.mu.Unlock()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !want || c.view.rev < rev {
		return nil
	}
	for _, b := range c.view.brokers {
		if b.ID == c.cfg.Self.ID && b.Incarnation != c.cfg.Self.Incarnation {
			return ErrFenced
		}
	}
	return nil
}
