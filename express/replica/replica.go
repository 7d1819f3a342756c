package replica

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/segment"
	"millrace/kafka/topic"
)

// ErrBeyond: the offset is in no segment yet. Only the owner has it, if anybody.
var ErrBeyond = errors.New("replica: offset is in no segment yet")

const (
	// maxAge is how long a manifest is believed. A consumer that reads on from segment to segment costs one look at kv in that time.
	maxAge = 5 * time.Second
	// minAge keeps consumers at the end of the segments from asking kv for each fetch.
	minAge = 200 * time.Millisecond
	// manifestsMost bounds how many manifests are kept.
	manifestsMost = 1024
)

// World is what a Reader touches. All fields are needed.
type World struct {
	Manifests *manifest.Store
	Segments  *segment.Cache
	Slabs     *slab.Pool
	Clock     clock.Clock
}

// Reader reads segments of partitions that other brokers own. Safe for concurrent use.
type Reader struct {
	world World

	mu      sync.Mutex // guards the rest; not held over IO
	entries map[topic.Partition]*list.Element
	recent  *list.List // of *entry, the longest unused in front
}

// entry is one manifest. Its lock is held while it is loaded, so that this happens once for all who want it.
type entry struct {
	id       topic.Partition
	mu       sync.Mutex
	manifest *manifest.Manifest // nil: none yet
	loaded   time.Time
}

// New returns a Reader.
func New(w World) *Reader {
	return &Reader{world: w, entries: make(map[topic.Partition]*list.Element), recent: list.New()}
}

// Read appends to dst whole batches from the one that holds offset from on, at most maxBytes, but for a first batch that is larger
// where oversize is set. It returns where the segments stand: the end of the last is high watermark and last stable offset, and
// Epoch is that of the last record in them. Errors: ErrBeyond, partition.ErrOffsetOutOfRange, partition.ErrStorage, ctx's.
func (r *Reader) Read(ctx context.Context, id topic.Partition, dst *slab.Chain, from int64, maxBytes int, oversize bool) (partition.Offsets, error) {
	m, err := r.manifest(ctx, id, minAge, func(m *manifest.Manifest) bool { return from < m.End })
	before := dst.Len()
	for range 2 {
		switch {
		case err != nil:
			return partition.Offsets{}, r.storage(ctx, id, err)
		case from >= m.End:
			return partition.Offsets{}, ErrBeyond
		case from < m.LogStart:
			return partition.Offsets{}, fmt.Errorf("%w: %d is below %d", partition.ErrOffsetOutOfRange, from, m.LogStart)
		}
		err = r.world.Segments.Read(ctx, r.world.Slabs, m.Segments, dst, from, m.End, maxBytes, oversize)
		if err == nil && oversize && dst.Len() == before {
			return partition.Offsets{}, ErrBeyond // the rest of the segments was compacted away
		}
		if err == nil {
			return offsets(m), nil
		}
		if !errors.Is(err, object.ErrNotFound) {
			break
		}
		old := m // a segment went: compacted, or below the log start
		m, err = r.manifest(ctx, id, 0, func(m *manifest.Manifest) bool { return m.Version > old.Version })
	}
	return partition.Offsets{}, r.storage(ctx, id, err)
}

// Aborted lists the aborted transactions that reach into [from, to), for a consumer at read_committed that was given these
// offsets by Read. Errors: partition.ErrStorage, ctx's.
func (r *Reader) Aborted(ctx context.Context, id topic.Partition, from, to int64) ([]producer.Aborted, error) {
	m, err := r.manifest(ctx, id, 0, func(m *manifest.Manifest) bool { return to <= m.End })
	if err != nil {
		return nil, r.storage(ctx, id, err)
	}
	aborted, err := r.world.Segments.Aborted(ctx, m.Segments, from, to)
	if err != nil {
		return nil, r.storage(ctx, id, err)
	}
	return aborted, nil
}

func (r *Reader) storage(ctx context.Context, id topic.Partition, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: read segments of %s: %w", partition.ErrStorage, id, err)
}

func offsets(m *manifest.Manifest) partition.Offsets {
	o := partition.Offsets{LogStart: m.LogStart, LSO: m.End, HW: m.End, End: m.End, Epoch: -1}
	if n := len(m.Epochs); n > 0 {
		o.Epoch = m.Epochs[n-1].Epoch
	}
	return o
}

// manifest gives the partition's manifest: the one at hand where it is younger than young, or will do and is not older than maxAge.
func (r *Reader) manifest(ctx context.Context, id topic.Partition, young time.Duration, do func(*manifest.Manifest) bool) (*manifest.Manifest, error) {
	e := r.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := r.world.Clock.Now()
	age := now.Sub(e.loaded)
	if e.manifest != nil && (age < young || age < maxAge && do(e.manifest)) {
		return e.manifest, nil
	}
	m, err := r.world.Manifests.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	e.manifest, e.loaded = m, now
	return m, nil
}

func (r *Reader) entry(id topic.Partition) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if el, ok := r.entries[id]; ok {
		r.recent.MoveToBack(el)
		return el.Value.(*entry)
	}
	if len(r.entries) >= manifestsMost {
		oldest := r.recent.Remove(r.recent.Front()).(*entry)
		delete(r.entries, oldest.id)
	}
	e := &entry{id: id}
	r.entries[id] = r.recent.PushBack(e)
	return e
}
