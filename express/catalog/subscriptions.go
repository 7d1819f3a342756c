package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"

	"millrace/base/kv"
	"millrace/express/telemetry"
)

// subscriptionsRoom is where telemetry subscriptions lie among the configurations.
const subscriptionsRoom = "client-metrics/"

// Subscriptions is what clients are to push at the moment. It takes no lock.
func (c *Catalog) Subscriptions() *telemetry.Table { return c.telemetry.Load() }

// SetSubscription replaces the configuration of a telemetry subscription, as SetTopicConfigs does; one without any is gone. Its
// errors match telemetry.ErrRequest, telemetry.ErrConfig, ErrUnavailable, and change's own.
func (c *Catalog) SetSubscription(ctx context.Context, name string, validateOnly bool, change func(now map[string]string) (map[string]string, error)) error {
	for {
		rev, err := c.setSubscription(ctx, name, validateOnly, change)
		switch {
		case errors.Is(err, kv.ErrConflict):
			continue
		case err != nil:
			return err // in Kafka's words
		}
		return c.await(ctx, func(v *view) bool { return v.rev >= rev })
	}
}

// setSubscription tries once; kv.ErrConflict says to try again. The revision is 0 when nothing was written.
func (c *Catalog) setSubscription(ctx context.Context, name string, validateOnly bool, change func(now map[string]string) (map[string]string, error)) (int64, error) {
	if err := telemetry.Check(name, nil); err != nil {
		return 0, err
	}
	key := c.cfg.Prefix + "configs/" + subscriptionsRoom + url.QueryEscape(name)
	r := configRecord{Version: formatVersion}
	item, err := c.kv.Get(ctx, key)
	if err == nil {
		if r, err = decode[configRecord](item.Value); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	} else if !errors.Is(err, kv.ErrNotFound) {
		return 0, unavailable("read", err)
	}
	next, err := change(copied(r.Configs))
	if err == nil {
		err = telemetry.Check(name, next)
	}
	if err != nil || validateOnly || maps.Equal(next, r.Configs) {
		return 0, err
	}
	r.Configs = next
	op := kv.Put(key, encode(r))
	if len(next) == 0 {
		op = kv.Delete(key)
	}
	rev, err := c.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{op})
	if err != nil {
		return 0, unlessConflict("write", err)
	}
	return rev, nil
}

// applySubscription takes one subscription into the state.
func (s *state) applySubscription(escaped string, item kv.Item, gone bool) error {
	name, err := url.QueryUnescape(escaped)
	if err != nil {
		return fmt.Errorf("read subscription: %w", err)
	}
	if gone {
		delete(s.telemetry, name)
		s.dirtyTelem = true
		return nil
	}
	r, err := decode[configRecord](item.Value)
	if err != nil {
		return err
	}
	s.telemetry[name] = r.Configs
	s.dirtyTelem = true
	return nil
}
