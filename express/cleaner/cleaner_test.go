package cleaner_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/cleaner"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/segment"
	"millrace/express/settings"
	"millrace/express/wal"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

var quiet = slog.New(slog.DiscardHandler)

// env is a cleaner over a few partitions on a disk and a store in memory.
type env struct {
	t       *testing.T
	clock   *clock.Manual
	objects object.Store
	fault   atomic.Pointer[string] // object operations on keys that hold it fail
	log     *wal.Log
	parts   []*partition.Partition
	cleaner *cleaner.Cleaner
	bound   func(cleaner.Config) // makes the cleaner anew
}

var errPlanted = errors.New("planted")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newEnv(t *testing.T, configs ...map[string]string) *env {
	t.Helper()
	ctx := context.Background()
	e := &env{t: t, clock: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	e.objects = object.Faulty(object.NewMemory(e.clock), func(_ context.Context, op object.Op) error {
		if f := e.fault.Load(); f != nil && strings.Contains(op.Key, *f) {
			return errPlanted
		}
		return nil
	})
	fs, store := disk.NewMem(), kv.NewMemory()
	slabs, err := slab.New(slab.Config{})
	must(t, err)
	must(t, fs.MkdirAll("wal", 0o700))
	e.log, err = wal.Open(ctx, wal.Config{Dir: "wal", FileSize: 1 << 20}, wal.World{FS: fs, Clock: e.clock, Log: quiet, Slabs: slabs})
	must(t, err)
	t.Cleanup(func() { must(t, e.log.Close(context.Background())) })
	broker, err := settings.ParseBroker(nil)
	must(t, err)
	manifests := manifest.NewStore(store, e.objects, "manifests/", quiet)
	segments := segment.NewCache(e.objects, 8)
	world := cleaner.World{
		Partitions: func() []*partition.Partition { return e.parts }, Settings: func() *settings.Broker { return broker },
		Log: e.log, Manifests: manifests, Objects: e.objects, Segments: segments, Clock: e.clock, Logger: quiet,
	}
	e.bound = func(cfg cleaner.Config) { e.cleaner = cleaner.New(cfg, world) }
	e.bound(cleaner.Config{})
	for i, c := range configs {
		s, err := settings.ParseTopic(c, broker)
		must(t, err)
		id := topic.Partition{Topic: topic.NewID(), Index: int32(i)}
		p, err := partition.Open(ctx, partition.Config{ID: id, Name: "t", Settings: s, Manifest: &manifest.Manifest{Partition: id}}, partition.World{
			Stream: e.log.Stream(id), Segments: segments, Objects: e.objects, Manifests: manifests, Slabs: slabs, Clock: e.clock, Log: quiet, Retire: e.cleaner.Retire,
		})
		must(t, err)
		e.parts = append(e.parts, p)
	}
	return e
}

// fill appends n records of one key and size bytes to partition i.
func (e *env) fill(i, n, size int) {
	e.t.Helper()
	for range n {
		b := record.NewBuilder(record.Options{})
		must(e.t, b.Add(e.clock.Now().UnixMilli(), []byte("k"), make([]byte, size)))
		batch, err := b.Build(nil)
		must(e.t, err)
		done := make(chan error, 1)
		e.parts[i].Append(context.Background(), batch, func(a partition.Appended) { done <- a.Err })
		must(e.t, <-done)
	}
}

// rounds lets time pass and runs the cleaner as often.
func (e *env) rounds(n int, step time.Duration) {
	for range n {
		e.clock.Advance(step)
		e.cleaner.Round(context.Background())
		select {
		case <-e.log.Sealed(): // a roll of this round is sealed in the background; the next round sees it
		default:
		}
	}
}

func (e *env) segments() int {
	e.t.Helper()
	infos, err := e.objects.List(context.Background(), "segments/", "", 1000)
	must(e.t, err)
	return len(infos)
}

func TestCompactedTopicIsCutAndCompactedByItself(t *testing.T) {
	e := newEnv(t, map[string]string{"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"})
	e.fill(0, 500, 5000)
	for range 200 {
		e.rounds(1, 20*time.Second)
		if e.cleaner.Stats().RecordsRemoved == 499 {
			break
		}
	}
	if got := e.cleaner.Stats().RecordsRemoved; got != 499 {
		t.Fatalf("removed %d records of one key, want 499", got)
	}
	e.rounds(2, 2*time.Minute)
	if n := e.segments(); n != 1 {
		t.Errorf("%d segments are left, want the compacted one", n)
	}
}

func TestRetiredObjectsGoAfterTheGracePeriod(t *testing.T) {
	e := newEnv(t)
	must(t, e.objects.Put(context.Background(), "segments/x", [][]byte{{1}}, object.PutOptions{}))
	e.cleaner.Round(context.Background()) // the first sweep is over; the object is too young for it
	e.cleaner.Retire([]string{"segments/x"})
	e.rounds(1, 50*time.Second)
	if e.segments() != 1 {
		t.Fatal("deleted before its time")
	}
	e.rounds(1, 20*time.Second)
	if e.segments() != 0 {
		t.Fatal("not deleted")
	}
}

func TestOneFailingPartitionKeepsNoOtherWaiting(t *testing.T) {
	e := newEnv(t, nil, nil)
	for range 200 { // interleaved, so that both lie in small pieces
		e.fill(0, 1, 10)
		e.fill(1, 1, 10)
	}
	must(t, e.log.Roll(context.Background()))
	bad := e.parts[0].ID().Topic.String()
	e.fault.Store(&bad)
	for range 100 {
		if e.rounds(1, 10*time.Minute); e.segments() > 0 {
			break
		}
	}
	if n := e.segments(); n != 1 {
		t.Fatalf("%d segments while one of two partitions cannot write, want 1", n)
	}
	e.fault.Store(nil)
	e.rounds(1, 10*time.Minute)
	if n := e.segments(); n != 2 {
		t.Errorf("%d segments after the fault, want 2", n)
	}
}

// K4: what lies in the log and in no segment stays within the bounds, in bytes and in groups, though none of it is old or in
// small pieces.
func TestLogStaysShort(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   cleaner.Config
		n, by int
	}{
		"bytes":  {cleaner.Config{MaxLog: 3 << 20}, 120, 100 << 10},
		"groups": {cleaner.Config{MaxGroups: 40}, 200, 20 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, nil)
			c.cfg.Cut = partition.CutPolicy{SmallPiece: 1, MinBytes: 1 << 40, MaxAge: 1000 * time.Hour}
			e.bound(c.cfg)
			for range c.n {
				e.fill(0, 1, c.by)
				e.rounds(1, time.Second)
			}
			var bytes, groups int64
			for range 100 {
				e.rounds(1, time.Second)
				bytes, groups = 0, 0
				for _, f := range e.log.Files() {
					bytes, groups = bytes+f.Bytes, groups+f.Groups
				}
				if bytes <= 4<<20 && groups <= 50 {
					break
				}
			}
			if c.cfg.MaxLog > 0 && bytes > 4<<20 || c.cfg.MaxGroups > 0 && groups > 50 || bytes == 0 {
				t.Errorf("%d bytes in %d groups are left in the log", bytes, groups)
			}
			if n := e.segments(); n == 0 {
				t.Error("no segments")
			}
		})
	}
}
