package catalog

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/kv"
)

func (c *Catalog) controllerKey() string { return c.cfg.Prefix + "controller" }

// brokerLocked finds a live broker; c.mu is held.
func (v *view) brokerLocked(id int32) (Broker, bool) {
	for _, b := range v.brokers {
		if b.ID == id {
			return b, true
		}
	}
	return Broker{}, false
}

// Controller is the id of the live broker that answers for the cluster: the elected one, or the lowest while
// none is; -1 when none is live. What must be done by one broker only asks IsController.
func (c *Catalog) Controller() int32 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if b, ok := c.view.brokerLocked(c.view.control.Broker); ok && c.view.control.Incarnation != 0 {
		return b.ID
	}
	if len(c.view.brokers) == 0 {
		return -1
	}
	return c.view.brokers[0].ID
}

// IsController tells whether this process is the elected controller and its registration holds for certain.
// That is for order, not for safety: what a controller writes compares what it changes.
func (c *Catalog) IsController() bool {
	c.mu.RLock()
	control := c.view.control
	c.mu.RUnlock()
	return control.Broker == c.cfg.Self.ID && control.Incarnation == c.cfg.Self.Incarnation &&
		c.clock.Now().Before(c.LeaseDeadline())
}

// elected tells whether the view has a controller that we need not look after: another broker, or this process.
func (c *Catalog) elected() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	control, self := c.view.control, c.cfg.Self
	return control.Incarnation != 0 && (control.Broker != self.ID || control.Incarnation == self.Incarnation)
}

// Campaign makes this process the controller if nobody is, and does nothing if somebody is, or if this
// broker is not registered or is draining. The office ends with the registration's lease. It returns once
// the view says who is elected.
func (c *Catalog) Campaign(ctx context.Context) error {
	c.reg.mu.Lock()
	lease, draining := c.reg.lease, c.reg.draining
	c.reg.mu.Unlock()
	if lease == nil || draining || c.elected() {
		return nil
	}
	key, self := c.controllerKey(), c.cfg.Self
	item, err := c.kv.Get(ctx, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return unavailable("read the controller", err)
	}
	if err == nil {
		r, err := decode[controllerRecord](item.Value)
		if err != nil {
			return fmt.Errorf("read the controller: %w", err)
		}
		if r.Broker != self.ID || r.Incarnation == self.Incarnation {
			return nil // theirs; or ours already
		}
		// The process that held our log before us is dead.
	}
	value := encode(controllerRecord{Version: formatVersion, Broker: self.ID, Incarnation: self.Incarnation})
	rev, err := c.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{kv.PutLeased(key, value, lease.ID())})
	switch {
	case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrLeaseLost):
		return nil // somebody was faster, or we must register again first
	case err != nil:
		return unavailable("campaign", err)
	}
	c.log.Info("elected controller")
	return c.await(ctx, func(v *view) bool { return v.rev >= rev })
}
