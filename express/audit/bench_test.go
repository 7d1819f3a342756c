package audit

import (
	"fmt"
	"testing"

	"millrace/express/manifest"
	"millrace/express/segment"
	"millrace/kafka/record"
)

// BenchmarkSegments is how fast segments are checked where the store is memory: what an audit costs beside reading.
func BenchmarkSegments(b *testing.B) {
	e := newEnv(b, 1, nil)
	id := e.parts[0].ID()
	w, err := segment.Create(e.ctx, e.objects, segment.WriterConfig{Partition: id}, 1)
	must(b, err)
	const batches, size = 2000, 16 << 10
	for i := range int64(batches) {
		build := record.NewBuilder(record.Options{BaseOffset: i, Producer: &record.Producer{ID: i % 10, Sequence: int32(i / 10)}})
		must(b, build.Add(1, fmt.Append(nil, i), make([]byte, size)))
		out, err := build.Build(nil)
		must(b, err)
		must(b, w.Append(out))
	}
	info, err := w.Finish(e.ctx, batches, nil)
	must(b, err)
	m, err := e.manifests.Load(e.ctx, id)
	must(b, err)
	next := m.Clone()
	next.Segments, next.End, next.Epochs = []segment.Info{info}, batches, []manifest.EpochStart{{Epoch: 0}}
	must(b, e.manifests.Commit(e.ctx, m, next))
	c := &checker{
		manifests: e.manifests, objects: paced{e.objects, &pacer{}}, slabs: e.slabs, pace: &pacer{}, now: e.clock.Now,
		expiry: e.world().Expiry, found: func(f Finding) { b.Error(f) },
	}
	b.SetBytes(info.Size)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.stored(e.ctx, id, "orders"); err != nil {
			b.Fatal(err)
		}
	}
}
