package catalog

import (
	"context"
	"strconv"
	"strings"
	"time"

	"millrace/base/kv"
)

// pollEvery lies between two looks at the registrations.
const pollEvery = time.Second

// pollLoop looks at the registrations in the store, which are few, and so finds out what a watch or a lease that hangs
// does not tell: C10.
func (c *Catalog) pollLoop(ctx context.Context) error {
	var missed int64 // the view's revision when something was missing in it; 0: nothing was
	for ctx.Err() == nil {
		pause(ctx, pollEvery)
		items, rev, err := c.listBrokers(ctx)
		if err != nil {
			continue // a store that is away is told of by those who need it
		}
		if err := c.checkRegistration(ctx, items, rev); err != nil {
			return err
		}
		now, complete := c.shows(items)
		if complete {
			missed = 0
			continue
		}
		if missed == now {
			c.log.Warn("the watch of the cluster's metadata brings nothing, listing anew")
			select {
			case c.stale <- struct{}{}:
			default:
			}
		}
		missed = now
	}
	return nil
}

func (c *Catalog) listBrokers(ctx context.Context) ([]kv.Item, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*pollEvery)
	defer cancel()
	return c.kv.List(ctx, c.cfg.Prefix+"brokers/")
}

// checkRegistration compares our registration with what the store had of it at rev. It reports ErrFenced when another
// incarnation stands there; one that is gone, though its lease says otherwise, is put anew.
func (c *Catalog) checkRegistration(ctx context.Context, items []kv.Item, rev int64) error {
	c.reg.mu.Lock()
	lease, written, want := c.reg.lease, c.reg.rev, c.reg.want
	c.reg.mu.Unlock()
	if !want || lease == nil || rev < written {
		return nil
	}
	for _, item := range items {
		if item.Key != c.brokerKey(c.cfg.Self.ID) {
			continue
		}
		if r, err := decode[brokerRecord](item.Value); err == nil && r.Incarnation != c.cfg.Self.Incarnation {
			return ErrFenced
		}
		return nil
	}
	c.log.Warn("broker registration is gone, registering again")
	ctx, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	if err := lease.Close(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("lease left to expire", "err", err)
	}
	return nil
}

// shows tells whether the view has exactly these registrations, and how far it has come.
func (c *Catalog) shows(items []kv.Item) (rev int64, complete bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	readable := 0
	complete = true
	for _, item := range items {
		id, err := strconv.ParseInt(strings.TrimPrefix(item.Key, c.cfg.Prefix+"brokers/"), 10, 32)
		if _, bad := decode[brokerRecord](item.Value); bad != nil || err != nil {
			continue // C4
		}
		readable++
		b, ok := c.view.brokerLocked(int32(id))
		complete = complete && ok && b.rev >= item.ModRev
	}
	return c.view.rev, complete && readable == len(c.view.brokers)
}
