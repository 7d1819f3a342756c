package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"millrace/base/kv"
	"millrace/express/settings"
)

// brokerSettings joins the runtime layers with what the process was started with.
func (c *Catalog) brokerSettings(defaults, own map[string]string) (*settings.Broker, error) {
	return settings.ParseLayers(settings.Layers{Broker: own, Default: defaults, Static: c.cfg.Static})
}

// SetBrokerConfigs replaces the runtime configuration of all brokers (broker "") or of one by id, as
// SetTopicConfigs does. Its errors match ErrUnknownBroker, ErrUnavailable, settings.ErrInvalid, and
// change's own.
func (c *Catalog) SetBrokerConfigs(ctx context.Context, broker string, validateOnly bool, change func(now map[string]string) (map[string]string, error)) error {
	room := "default"
	if broker != "" {
		if err := c.checkBroker(broker); err != nil {
			return fmt.Errorf("configure broker %q: %w", broker, err)
		}
		room = broker
	}
	for {
		rev, err := c.setBrokerConfigs(ctx, room, validateOnly, change)
		switch {
		case errors.Is(err, kv.ErrConflict):
			continue
		case err != nil:
			return fmt.Errorf("configure broker %q: %w", broker, err)
		}
		return c.await(ctx, func(v *view) bool { return v.rev >= rev })
	}
}

func (c *Catalog) checkBroker(name string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	known := func(b Broker) bool { return b.ID == int32(id) }
	if err != nil || !slices.ContainsFunc(c.Brokers(), known) {
		return ErrUnknownBroker
	}
	return nil
}

// setBrokerConfigs tries once; kv.ErrConflict says to try again. The revision is 0 when nothing was written.
func (c *Catalog) setBrokerConfigs(ctx context.Context, room string, validateOnly bool, change func(now map[string]string) (map[string]string, error)) (int64, error) {
	key := c.cfg.Prefix + "configs/brokers/" + room
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
	if err != nil {
		return 0, err
	}
	if err := c.checkBrokerConfigs(room, r.Configs, next); err != nil {
		return 0, err
	}
	if validateOnly || maps.Equal(next, r.Configs) {
		return 0, nil
	}
	r.Configs = next
	rev, err := c.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{kv.Put(key, encode(r))})
	if err != nil {
		return 0, unlessConflict("write", err)
	}
	return rev, nil
}

// checkBrokerConfigs refuses changes of keys that cannot be changed at runtime, and values that are invalid
// by themselves or together with the other layer.
func (c *Catalog) checkBrokerConfigs(room string, old, next map[string]string) error {
	var errs []error
	names := copied(old)
	maps.Copy(names, next)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, had := old[name]
		after, has := next[name]
		if had != has || before != after {
			errs = append(errs, settings.CheckAlter(name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if room == "default" {
		_, err := c.brokerSettings(next, nil)
		return err
	}
	c.feeding.Lock()
	defaults := c.state.configs["default"]
	c.feeding.Unlock()
	_, err := c.brokerSettings(defaults, next)
	return err
}

// SetGroupConfigs replaces the configuration of a group, which need not exist, as SetTopicConfigs does. Without any the
// record goes. Its errors match ErrUnavailable, settings.ErrInvalid, and change's own.
func (c *Catalog) SetGroupConfigs(ctx context.Context, group string, validateOnly bool, change func(now map[string]string) (map[string]string, error)) error {
	for {
		rev, err := c.setGroupConfigs(ctx, group, validateOnly, change)
		switch {
		case errors.Is(err, kv.ErrConflict):
			continue
		case err != nil:
			return fmt.Errorf("configure group %q: %w", group, err)
		}
		return c.await(ctx, func(v *view) bool { return v.rev >= rev })
	}
}

// setGroupConfigs tries once; kv.ErrConflict says to try again. The revision is 0 when nothing was written.
func (c *Catalog) setGroupConfigs(ctx context.Context, group string, validateOnly bool, change func(now map[string]string) (map[string]string, error)) (int64, error) {
	key := c.cfg.Prefix + "configs/groups/" + url.PathEscape(group)
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
	if err != nil {
		return 0, err
	}
	if _, err := settings.ParseGroup(next, c.BrokerSettings()); err != nil {
		return 0, err
	}
	if validateOnly || maps.Equal(next, r.Configs) {
		return 0, nil
	}
	r.Configs = next
	write := kv.Put(key, encode(r))
	if len(next) == 0 {
		write = kv.Delete(key)
	}
	rev, err := c.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{write})
	if err != nil {
		return 0, unlessConflict("write", err)
	}
	return rev, nil
}
