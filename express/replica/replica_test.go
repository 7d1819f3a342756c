package replica_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/replica"
	"millrace/express/segment"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// env is an owner that commits segments, and a reader at another broker.
type env struct {
	*testing.T
	id       topic.Partition
	clock    *clock.Manual
	objects  object.Store
	loads    int // of the pointer
	store    *manifest.Store
	segments *segment.Cache
	slabs    *slab.Pool
	manifest *manifest.Manifest
	reader   *replica.Reader
}

// counting counts reads of pointers.
type counting struct {
	kv.KV
	count *int
}

func (c counting) Get(ctx context.Context, key string) (kv.Item, error) {
	*c.count++
	return c.KV.Get(ctx, key)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newEnv(t *testing.T) *env {
	t.Helper()
	memory := kv.NewMemory()
	t.Cleanup(func() { memory.Close() })
	e := &env{T: t, id: topic.Partition{Topic: topic.ID{7}, Index: 3}, clock: clock.NewManual(time.Unix(1000, 0))}
	e.objects = object.NewMemory(e.clock)
	e.store = manifest.NewStore(counting{memory, &e.loads}, e.objects, "m/", slog.New(slog.DiscardHandler))
	e.segments = segment.NewCache(e.objects, 4)
	var err error
	e.slabs, err = slab.New(slab.Config{Poison: true})
	must(t, err)
	e.manifest = &manifest.Manifest{Partition: e.id}
	e.reader = replica.New(replica.World{Manifests: e.store, Segments: e.segments, Slabs: e.slabs, Clock: e.clock})
	return e
}

// write makes a segment of batches of one record each, with these offsets, that covers [base, end).
func (e *env) write(base, end int64, aborted []producer.Aborted, offsets ...int64) segment.Info {
	e.Helper()
	w, err := segment.Create(e.Context(), e.objects, segment.WriterConfig{Partition: e.id, Epoch: 1, Base: base, IndexBytes: 4096}, e.clock.Now().UnixMilli())
	must(e.T, err)
	for _, offset := range offsets {
		b := record.NewBuilder(record.Options{BaseOffset: offset, LeaderEpoch: 1})
		must(e.T, b.Add(e.clock.Now().UnixMilli(), nil, []byte("value")))
		batch, err := b.Build(nil)
		must(e.T, err)
		must(e.T, w.Append(batch))
	}
	w.SetAborted(aborted)
	info, err := w.Finish(e.Context(), end, nil)
	must(e.T, err)
	return info
}

func (e *env) commit(change func(*manifest.Manifest)) {
	e.Helper()
	next := e.manifest.Clone()
	change(next)
	must(e.T, e.store.Commit(e.Context(), e.manifest, next))
	e.manifest = next
}

// cut adds a segment.
func (e *env) cut(end int64, offsets ...int64) {
	e.Helper()
	info := e.write(e.manifest.End, end, nil, offsets...)
	e.commit(func(m *manifest.Manifest) {
		m.Segments, m.End = append(m.Segments, info), end
		m.Epochs = []manifest.EpochStart{{Epoch: 1}}
	})
}

func (e *env) read(from int64) (offsets []int64, o partition.Offsets, err error) {
	var chain slab.Chain
	defer chain.Release()
	o, err = e.reader.Read(e.Context(), e.id, &chain, from, 1<<20, true)
	for _, part := range chain.Parts() {
		for len(part) > 0 {
			b, rest, err := record.Next(part)
			must(e.T, err)
			offsets, part = append(offsets, b.BaseOffset()), rest
		}
	}
	return offsets, o, err
}

func (e *env) want(from int64, offsets ...int64) {
	e.Helper()
	got, o, err := e.read(from)
	if err != nil || !slices.Equal(got, offsets) {
		e.Errorf("read from %d: %v, %v, want %v", from, got, err, offsets)
	}
	if want := (partition.Offsets{LogStart: e.manifest.LogStart, LSO: e.manifest.End, HW: e.manifest.End, End: e.manifest.End, Epoch: 1}); o != want {
		e.Errorf("read from %d: %+v, want %+v", from, o, want)
	}
}

func (e *env) wantErr(from int64, want error) {
	e.Helper()
	if got, _, err := e.read(from); !errors.Is(err, want) || len(got) > 0 {
		e.Errorf("read from %d: %v, %v, want %v", from, got, err, want)
	}
}

func TestReadsWhatLiesInSegments(t *testing.T) {
	e := newEnv(t)
	e.wantErr(0, replica.ErrBeyond)
	e.clock.Advance(time.Second)
	e.cut(3, 0, 1, 2)
	e.cut(5, 3, 4)
	e.want(0, 0, 1, 2)
	e.want(2, 2)
	e.want(3, 3, 4)
	e.wantErr(5, replica.ErrBeyond)
	if e.loads != 2 {
		t.Errorf("the pointer was read %d times", e.loads)
	}
}

// The reader learns of new segments, and does not ask more often than it must.
func TestManifestsAreReadAnew(t *testing.T) {
	e := newEnv(t)
	e.cut(2, 0, 1)
	e.want(0, 0, 1)
	e.cut(4, 2, 3)
	for range 10 {
		e.wantErr(2, replica.ErrBeyond)
	}
	if e.loads != 1 {
		t.Errorf("the pointer was read %d times in no time", e.loads)
	}
	e.clock.Advance(time.Second)
	e.want(2, 2, 3)
	e.commit(func(m *manifest.Manifest) { m.LogStart = 3 })
	e.clock.Advance(time.Minute)
	e.wantErr(2, partition.ErrOffsetOutOfRange)
	e.want(3, 3)
}

// A segment that was compacted or dropped after the manifest was read has the manifest read anew.
func TestSegmentsThatWent(t *testing.T) {
	e := newEnv(t)
	e.cut(4, 0, 1, 2, 3)
	e.want(1, 1, 2, 3)
	old := e.manifest.Segments[0]
	info := e.write(0, 4, nil, 1, 3)
	e.commit(func(m *manifest.Manifest) { m.Segments = []segment.Info{info} })
	must(t, e.objects.Delete(t.Context(), old.Key))
	e.segments.Forget(old.Key)
	e.want(1, 1, 3)
	must(t, e.objects.Delete(t.Context(), info.Key))
	e.segments.Forget(info.Key)
	e.wantErr(1, partition.ErrStorage)
}

// Where compaction has left nothing up to the end of the segments the consumer must go to the owner, or it would wait for ever.
func TestNothingLeftIsBeyond(t *testing.T) {
	e := newEnv(t)
	e.cut(5, 0, 1)
	e.wantErr(3, replica.ErrBeyond)
}

func TestAborted(t *testing.T) {
	e := newEnv(t)
	first := producer.Aborted{ProducerID: 1, First: 0, Last: 2}
	across := producer.Aborted{ProducerID: 2, First: 2, Last: 5}
	for _, s := range []struct {
		base, end int64
		aborted   []producer.Aborted
	}{{0, 4, []producer.Aborted{first, across}}, {4, 8, []producer.Aborted{across}}} {
		info := e.write(s.base, s.end, s.aborted, s.base, s.base+1, s.base+2)
		e.commit(func(m *manifest.Manifest) {
			m.Segments, m.End = append(m.Segments, info), s.end
			m.Epochs = []manifest.EpochStart{{Epoch: 1}}
		})
	}
	for _, test := range []struct {
		from, to int64
		want     []producer.Aborted
	}{{0, 8, []producer.Aborted{first, across}}, {3, 8, []producer.Aborted{across}}, {0, 1, []producer.Aborted{first}}, {6, 8, nil}} {
		got, err := e.reader.Aborted(t.Context(), e.id, test.from, test.to)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("[%d, %d): %v, %v, want %v", test.from, test.to, got, err, test.want)
		}
	}
}

// Memory for manifests is bounded, whatever partitions are asked for.
func TestManyPartitions(t *testing.T) {
	e := newEnv(t)
	e.cut(2, 0, 1)
	e.want(0, 0, 1)
	before := e.loads
	for i := range int32(1100) {
		var chain slab.Chain
		if _, err := e.reader.Read(t.Context(), topic.Partition{Topic: topic.ID{9}, Index: i}, &chain, 0, 1<<20, true); !errors.Is(err, replica.ErrBeyond) {
			t.Fatal(err)
		}
	}
	e.want(0, 0, 1)
	if n := e.loads - before; n != 1101 {
		t.Errorf("the pointer was read %d times: the first manifest was kept beyond the bound", n)
	}
}
