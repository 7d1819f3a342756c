package node

import (
	"context"
	"errors"
	"fmt"

	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/express/tail"
)

// open brings in a partition that is ours and serves it. What failed is logged, and done again after a pause; until then
// the partition is offline.
func (r *registry) open(ctx context.Context, s *slot, t *catalog.Topic, part catalog.Partition) error {
	began := r.clock.Now()
	p, err := r.bringIn(ctx, s, t, part)
	if errors.Is(err, catalog.ErrUnknownTopic) || errors.Is(err, catalog.ErrNotOwner) {
		return fmt.Errorf("wait for the catalog: %w", err) // it will say the same soon
	}
	if err != nil {
		if ctx.Err() == nil {
			r.logger.Error("partition cannot be opened and stays offline, to be tried again", "topic", t.Name, "partition", s.id.Index, "err", err)
		}
		return err
	}
	r.mu.Lock()
	s.p, s.partial = p, false
	r.mu.Unlock()
	r.show(s)
	if part.Tail != "" {
		r.deleteTail(ctx, part.Tail)
		o := p.Offsets()
		r.logger.Info("partition taken over", "topic", t.Name, "partition", s.id.Index, "epoch", o.Epoch, "high_watermark", o.HW,
			"took_ms", r.clock.Now().Sub(began).Milliseconds())
	}
	return nil
}

// bringIn does everything up to the moment at which the partition may be served (N2).
func (r *registry) bringIn(ctx context.Context, s *slot, t *catalog.Topic, part catalog.Partition) (*partition.Partition, error) {
	var err error
	if part.Incarnation != r.self.Incarnation {
		if part, err = r.catalog.ClaimOne(ctx, s.id); err != nil {
			return nil, err
		}
	}
	if part.Log != "" && s.imported != part.Epoch {
		return nil, fmt.Errorf("%w: what its log %s holds is not imported yet", catalog.ErrNotOwner, part.Log)
	}
	m := s.manifest
	s.manifest = nil
	if m == nil {
		if m, err = r.manifests.Load(ctx, s.id); err != nil {
			return nil, err
		}
	}
	if part.Tail != "" {
		if err := r.takeTail(ctx, s, part); err != nil {
			return nil, err
		}
	}
	w := r.world
	w.Stream = r.log.Stream(s.id)
	return partition.Open(ctx, partition.Config{ID: s.id, Name: t.Name, Epoch: part.Epoch, Settings: t.Settings, Manifest: m}, w)
}

// takeTail imports a tail and says so. Whatever the log has of the partition is of an earlier time: it goes first. What is
// durable here is not imported again: the record may say so already, and then nobody else has it (N2).
func (r *registry) takeTail(ctx context.Context, s *slot, part catalog.Partition) error {
	key, ok := tail.ParseKey(part.Tail)
	if !ok || key.Partition != s.id {
		return fmt.Errorf("%w: key %q", tail.ErrCorrupt, part.Tail)
	}
	if s.durable != part.Epoch {
		r.log.Stream(s.id).Forget()
		stream := r.log.Stream(s.id)
		if err := partition.Import(ctx, r.world.Objects, key, stream); err != nil {
			stream.Forget()
			return err
		}
		s.durable = part.Epoch
	}
	return r.catalog.Imported(ctx, s.id, part.Epoch)
}

// deleteTail removes a tail that nobody needs any more. The sweep does it if this fails.
func (r *registry) deleteTail(ctx context.Context, key string) {
	if err := r.world.Objects.Delete(ctx, key); err != nil && ctx.Err() == nil {
		r.logger.Warn("tail could not be deleted, the sweep will try again", "key", key, "err", err)
	}
}
