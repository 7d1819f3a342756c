package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"millrace/base/kv"
	"millrace/express/quota"
)

// Quotas is the client quotas of the moment. Unlike the other reads it takes no lock: it is asked for at each request.
func (c *Catalog) Quotas() *quota.Table { return c.quotas.Load() }

// SetQuotas applies ops to the quotas of one entity. Its errors match quota.ErrInvalid and ErrUnavailable.
func (c *Catalog) SetQuotas(ctx context.Context, e quota.Entity, ops []quota.Op, validateOnly bool) error {
	for {
		rev, err := c.setQuotas(ctx, e, ops, validateOnly)
		switch {
		case errors.Is(err, kv.ErrConflict):
			continue
		case errors.Is(err, quota.ErrInvalid):
			return err // in Kafka's words
		case err != nil:
			return fmt.Errorf("set quotas of %s: %w", e.Key(), err)
		}
		return c.await(ctx, func(v *view) bool { return v.rev >= rev })
	}
}

// setQuotas tries once; kv.ErrConflict says to try again. The revision is 0 when nothing was written.
func (c *Catalog) setQuotas(ctx context.Context, e quota.Entity, ops []quota.Op, validateOnly bool) (int64, error) {
	key := c.cfg.Prefix + "quotas/" + e.Key()
	r := quotaRecord{Version: formatVersion}
	item, err := c.kv.Get(ctx, key)
	if err == nil {
		if r, err = decode[quotaRecord](item.Value); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	} else if !errors.Is(err, kv.ErrNotFound) {
		return 0, unavailable("read", err)
	}
	next, err := quota.Apply(e, r.Values, ops)
	if err != nil {
		return 0, err
	}
	if validateOnly || maps.Equal(next, r.Values) {
		return 0, nil
	}
	r.Values = next
	op := kv.Put(key, encode(r))
	if next == nil {
		op = kv.Delete(key)
	}
	rev, err := c.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{op})
	if err != nil {
		return 0, unlessConflict("write", err)
	}
	return rev, nil
}

// applyQuota takes the quotas of one entity into the state.
func (s *state) applyQuota(key string, item kv.Item, gone bool) error {
	e, err := quota.ParseKey(key)
	if err != nil {
		return fmt.Errorf("read quotas: %w", err)
	}
	if gone {
		delete(s.quotas, e)
		s.dirtyQuotas = true
		return nil
	}
	r, err := decode[quotaRecord](item.Value)
	if err != nil {
		return err
	}
	s.quotas[e] = r.Values
	s.dirtyQuotas = true
	return nil
}
