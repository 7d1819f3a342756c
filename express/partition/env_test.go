package partition_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/segment"
	"millrace/express/settings"
	"millrace/express/wal"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	quiet = slog.New(slog.DiscardHandler)
)

// env is one partition over a disk, a store and an etcd in memory.
type env struct {
	t       *testing.T
	disk    disk.FS
	kv      kv.KV
	objects object.Store
	clock   *clock.Manual
	slabs   *slab.Pool
	id      topic.Partition
	epoch   int32
	walCfg  wal.Config

	log       *wal.Log
	manifests *manifest.Store
	p         *partition.Partition

	mu      sync.Mutex
	retired []string
}

type option func(*env)

func onDisk(fs disk.FS) option    { return func(e *env) { e.disk = fs } }
func onStore(s kv.KV) option      { return func(e *env) { e.kv = s } }
func fileSize(bytes int64) option { return func(e *env) { e.walCfg.FileSize = bytes } }
func newEnv(t *testing.T, configs map[string]string, opts ...option) *env {
	t.Helper()
	e := &env{t: t, disk: disk.NewMem(), kv: kv.NewMemory(), clock: clock.NewManual(start), id: topic.Partition{Topic: topic.NewID(), Index: 3}}
	e.objects = object.NewMemory(e.clock)
	e.walCfg = wal.Config{Dir: "wal", Broker: 1, Incarnation: 1}
	for _, o := range opts {
		o(e)
	}
	var err error
	e.slabs, err = slab.New(slab.Config{Poison: true})
	must(t, err)
	must(t, e.disk.MkdirAll("wal", 0o700))
	e.open(configs)
	t.Cleanup(func() { must(t, e.log.Close(context.Background())) })
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func topicSettings(t *testing.T, configs map[string]string) *settings.Topic {
	t.Helper()
	b, err := settings.ParseBroker(nil)
	must(t, err)
	s, err := settings.ParseTopic(configs, b)
	must(t, err)
	return s
}

func (e *env) open(configs map[string]string) {
	e.t.Helper()
	e.openLog()
	e.openPartition(configs)
}

func (e *env) openLog() {
	e.t.Helper()
	var err error
	e.log, err = wal.Open(context.Background(), e.walCfg, wal.World{FS: e.disk, Clock: e.clock, Log: quiet, Slabs: e.slabs})
	must(e.t, err)
}

func (e *env) openPartition(configs map[string]string) {
	e.t.Helper()
	ctx := context.Background()
	e.manifests = manifest.NewStore(e.kv, e.objects, "manifests/", quiet)
	m, err := e.manifests.Load(ctx, e.id)
	must(e.t, err)
	e.p, err = partition.Open(ctx, partition.Config{ID: e.id, Name: "orders", Epoch: e.epoch, Settings: topicSettings(e.t, configs), Manifest: m}, partition.World{
		Stream: e.log.Stream(e.id), Segments: segment.NewCache(e.objects, 8), Objects: e.objects, Manifests: e.manifests,
		Slabs: e.slabs, Clock: e.clock, Log: quiet, Retire: e.retire,
	})
	must(e.t, err)
}

func (e *env) retire(keys []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retired = append(e.retired, keys...)
}

// reopen closes the log cleanly and opens everything anew, as the next incarnation.
func (e *env) reopen(configs map[string]string) {
	e.t.Helper()
	must(e.t, e.log.Close(context.Background()))
	e.epoch++
	e.walCfg.Incarnation++
	e.open(configs)
}

// crash opens everything anew on what a crash leaves of the disk.
func (e *env) crash(mem *disk.Mem, seed uint64, configs map[string]string) {
	e.t.Helper()
	old := e.log
	e.disk = mem.CrashClone(rand.New(rand.NewPCG(seed, 1)))
	must(e.t, old.Close(context.Background()))
	e.epoch++
	e.walCfg.Incarnation++
	e.open(configs)
}

type rec struct{ key, value string }

func batch(t *testing.T, ts int64, producer *record.Producer, recs ...rec) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.Options{Producer: producer})
	for _, r := range recs {
		var value []byte
		if r.value != "" {
			value = []byte(r.value)
		}
		must(t, b.Add(ts, []byte(r.key), value))
	}
	out, err := b.Build(nil)
	must(t, err)
	return out
}

// appendBatch waits for the outcome.
func (e *env) appendBatch(b []byte) partition.Appended {
	e.t.Helper()
	done := make(chan partition.Appended, 1)
	e.p.Append(context.Background(), b, func(a partition.Appended) { done <- a })
	return <-done
}

// put appends one batch and fails the test unless it is taken.
func (e *env) put(recs ...rec) int64 {
	e.t.Helper()
	a := e.appendBatch(batch(e.t, e.clock.Now().UnixMilli(), nil, recs...))
	must(e.t, a.Err)
	return a.BaseOffset
}

// fill appends n batches of size bytes each.
func (e *env) fill(n, size int) {
	e.t.Helper()
	value := string(make([]byte, size))
	for i := range n {
		e.put(rec{fmt.Sprintf("k%d", i%10), value + fmt.Sprint(i)})
	}
}

// readAll reads every record from offset from on, as "offset:key=value".
func (e *env) readAll(from int64) []string {
	e.t.Helper()
	var out []string
	for {
		var chain slab.Chain
		_, err := e.p.Read(context.Background(), &chain, from, 64<<10, true, false)
		must(e.t, err)
		if chain.Len() == 0 {
			return out
		}
		next := from
		for _, part := range chain.Parts() {
			for len(part) > 0 {
				b, rest, err := record.Next(part)
				must(e.t, err)
				if b.CRC() != b.ComputeCRC() {
					e.t.Fatalf("batch at %d has a wrong checksum", b.BaseOffset())
				}
				for r, err := range b.Records(0) {
					must(e.t, err)
					if r.Offset >= from {
						out = append(out, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Value))
					}
				}
				next, part = b.LastOffset()+1, rest
			}
		}
		chain.Release()
		from = next
	}
}

func (e *env) same(want, got []string) {
	e.t.Helper()
	if !slices.Equal(want, got) {
		e.t.Fatalf("read %d records, want %d\ngot  %.300v\nwant %.300v", len(got), len(want), got, want)
	}
}

func (e *env) offsets(start, hw int64) {
	e.t.Helper()
	if o := e.p.Offsets(); o.LogStart != start || o.HW != hw || o.End != hw {
		e.t.Fatalf("offsets %+v, want log start %d and high watermark %d", o, start, hw)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}
