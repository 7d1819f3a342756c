package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"millrace/express/catalog"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/wal"
	"millrace/kafka/topic"
)

// registry keeps the partitions that this broker serves in step with the
// catalog. Partition is on the path of every request; the rest follows the catalog's
// changes, which come one at a time.
type registry struct {
	self      int32
	log       *wal.Log
	manifests *manifest.Store
	world     partition.World // what all partitions share; Stream is set for each
	logger    *slog.Logger
	opened    func(t *catalog.Topic, p *partition.Partition)
	closed    func(t *catalog.Topic, p *partition.Partition)
	deleted   func(t *catalog.Topic) // a topic is gone from the cluster, wherever it was served

	mu         sync.RWMutex
	partitions map[topic.Partition]*partition.Partition

	initial map[topic.Partition]*manifest.Manifest // as of the start; of the catalog's goroutine
	removal sync.WaitGroup
}

// Partition finds a partition that is served here.
func (r *registry) Partition(id topic.Partition) (*partition.Partition, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p, ok := r.partitions[id]
	return p, ok
}

// All lists the partitions that are served here, in no order.
func (r *registry) All() []*partition.Partition {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*partition.Partition, 0, len(r.partitions))
	for _, p := range r.partitions {
		all = append(all, p)
	}
	return all
}

// change follows one change of the catalog.
func (r *registry) change(ctx context.Context, old, now *catalog.Topic) {
	if old != nil && (now == nil || now.ID != old.ID) {
		r.remove(ctx, old)
		r.deleted(old)
	}
	if now == nil {
		return
	}
	for i, part := range now.Partitions {
		id := topic.Partition{Topic: now.ID, Index: int32(i)}
		p, open := r.Partition(id)
		switch {
		case open:
			p.SetSettings(now.Settings)
		case part.Owner == r.self:
			r.open(ctx, now, id, part.Epoch)
		}
	}
}

func (r *registry) open(ctx context.Context, t *catalog.Topic, id topic.Partition, epoch int32) {
	m, ok := r.initial[id]
	if !ok {
		m = &manifest.Manifest{Partition: id} // a new partition has none
	}
	w := r.world
	w.Stream = r.log.Stream(id)
	p, err := partition.Open(ctx, partition.Config{ID: id, Name: t.Name, Epoch: epoch, Settings: t.Settings, Manifest: m}, w)
	if err != nil {
		r.logger.Error("partition cannot be opened and stays offline", "topic", t.Name, "partition", id.Index, "err", err)
		return
	}
	r.mu.Lock()
	r.partitions[id] = p
	r.mu.Unlock()
	r.opened(t, p)
}

// remove takes a deleted topic's partitions out of service at once and removes
// what they kept in the background: maintenance may hold a partition for long.
func (r *registry) remove(ctx context.Context, t *catalog.Topic) {
	for i := range t.Partitions {
		id := topic.Partition{Topic: t.ID, Index: int32(i)}
		p, ok := r.Partition(id)
		if !ok {
			continue
		}
		r.mu.Lock()
		delete(r.partitions, id)
		r.mu.Unlock()
		p.Close()
		r.closed(t, p)
		r.removal.Go(func() {
			if err := p.Delete(ctx); err != nil && ctx.Err() == nil {
				r.logger.Warn("deleted partition left something behind, the next start removes it", "topic", t.Name, "partition", id.Index, "err", err)
			}
		})
	}
}

// closeAll takes every partition out of service and waits for removals.
func (r *registry) closeAll() {
	for _, p := range r.All() {
		p.Close()
	}
	r.removal.Wait()
}

// removeUnknown drops what a crash left of topics that are gone: streams of the
// log and manifests of partitions that exist says nothing about. A partition
// that exists and could not be opened keeps everything.
func (r *registry) removeUnknown(ctx context.Context, exists func(topic.Partition) bool) error {
	var errs []error
	for _, id := range r.log.Partitions() {
		if !exists(id) {
			r.log.Stream(id).Forget()
		}
	}
	for id := range r.initial {
		if !exists(id) {
			errs = append(errs, r.manifests.Delete(ctx, id))
		}
	}
	r.initial = nil
	return errors.Join(errs...)
}
