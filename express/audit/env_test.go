package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/segment"
	"millrace/express/settings"
	"millrace/express/wal"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

var (
	quiet = slog.New(slog.DiscardHandler)
	all3  = partition.CutPolicy{Release: func(uint64) bool { return true }}
)

// env is partitions of one topic over a disk, a store and an etcd in memory, and the auditor that looks at them.
type env struct {
	t         testing.TB
	ctx       context.Context
	disk      *disk.Mem
	kv        kv.KV
	objects   object.Store
	clock     *clock.Manual
	slabs     *slab.Pool
	log       *wal.Log
	manifests *manifest.Store
	segments  *segment.Cache
	topic     topic.ID
	parts     []*partition.Partition
	tails     map[topic.Partition]string
	epoch     int32
	sequence  int32
	auditor   *Auditor
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newEnv(t testing.TB, partitions int, configs map[string]string) *env {
	t.Helper()
	e := &env{
		t: t, ctx: context.Background(), disk: disk.NewMem(), kv: kv.NewMemory(), clock: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
		topic: topic.NewID(), tails: map[topic.Partition]string{}, epoch: 4,
	}
	e.objects = object.NewMemory(e.clock)
	must(t, e.disk.MkdirAll("wal", 0o700))
	e.open(partitions, configs)
	t.Cleanup(func() { must(t, e.log.Close(context.Background())) })
	return e
}

// open opens log and partitions, as a broker does that starts.
func (e *env) open(partitions int, configs map[string]string) {
	e.t.Helper()
	each := make([]map[string]string, partitions)
	for i := range each {
		each[i] = configs
	}
	e.openEach(each)
}

func (e *env) openEach(configs []map[string]string) {
	e.t.Helper()
	for _, p := range e.parts {
		p.Close()
	}
	if e.log != nil {
		must(e.t, e.log.Close(e.ctx))
	}
	var err error
	e.slabs, err = slab.New(slab.Config{Poison: true})
	must(e.t, err)
	e.epoch++
	e.log, err = wal.Open(e.ctx, wal.Config{Dir: "wal", Broker: 1, Incarnation: uint64(e.epoch)}, wal.World{FS: e.disk, Clock: e.clock, Log: quiet, Slabs: e.slabs})
	must(e.t, err)
	e.manifests = manifest.NewStore(e.kv, e.objects, "c/manifests/", quiet)
	e.segments = segment.NewCache(e.objects, 8)
	b, err := settings.ParseBroker(nil)
	must(e.t, err)
	e.parts = nil
	for i := range configs {
		s, err := settings.ParseTopic(configs[i], b)
		must(e.t, err)
		id := topic.Partition{Topic: e.topic, Index: int32(i)}
		m, err := e.manifests.Load(e.ctx, id)
		must(e.t, err)
		p, err := partition.Open(e.ctx, partition.Config{ID: id, Name: "orders", Epoch: e.epoch, Settings: s, Manifest: m}, partition.World{
			Stream: e.log.Stream(id), Segments: e.segments, Objects: e.objects, Manifests: e.manifests, Slabs: e.slabs, Clock: e.clock, Log: quiet,
			Retire: e.retire,
		})
		must(e.t, err)
		e.parts = append(e.parts, p)
	}
	e.auditor = New(Config{Broker: 1, Prefix: "c/", Publish: time.Millisecond}, e.world())
}

func (e *env) world() World {
	return World{
		Partitions: func() (list []Partition) {
			for _, p := range e.parts {
				list = append(list, p)
			}
			return list
		},
		Records: e.records,
		Current: func(context.Context) (map[topic.Partition]Record, error) { return e.records(), nil },
		Whole:   func() bool { return true }, Expiry: func() time.Duration { return 24 * time.Hour },
		KV: e.kv, Manifests: e.manifests, Objects: e.objects, Slabs: e.slabs, Clock: e.clock, Log: quiet,
	}
}

func (e *env) records() map[topic.Partition]Record {
	records := map[topic.Partition]Record{}
	for _, p := range e.parts {
		records[p.ID()] = Record{Topic: "orders", Owner: 1, Tail: e.tails[p.ID()]}
	}
	return records
}

// reopen is a clean restart.
func (e *env) reopen() {
	e.t.Helper()
	e.open(len(e.parts), nil)
}

// batch builds what a client would send.
func (e *env) batch(producer *record.Producer, keys ...string) record.Batch {
	e.t.Helper()
	b := record.NewBuilder(record.Options{Producer: producer})
	for _, k := range keys {
		must(e.t, b.Add(e.clock.Now().UnixMilli(), []byte(k), []byte("value of "+k)))
	}
	out, err := b.Build(nil)
	must(e.t, err)
	return out
}

func (e *env) put(p *partition.Partition, b record.Batch) {
	e.t.Helper()
	done := make(chan partition.Appended, 1)
	p.Append(e.ctx, b, func(a partition.Appended) { done <- a })
	must(e.t, (<-done).Err)
}

// fill writes batches of three records each, those of an idempotent producer among them, and cuts them into segments, so
// many batches each; then some more that stay in the log.
func (e *env) fill(segments, batches int) {
	e.t.Helper()
	write := func() {
		for range batches {
			for _, p := range e.parts {
				e.put(p, e.batch(&record.Producer{ID: 7, Epoch: 1, Sequence: e.sequence}, "a", "b", "c"))
				e.put(p, e.batch(nil, "d", "e", "f"))
			}
			e.sequence += 3
			e.clock.Advance(time.Second)
		}
	}
	for range segments {
		write()
		e.cut()
	}
	write()
}

func (e *env) cut() {
	e.t.Helper()
	must(e.t, e.log.Roll(e.ctx))
	for _, p := range e.parts {
		_, err := p.Cut(e.ctx, all3)
		must(e.t, err)
	}
}

// audit makes one pass.
func (e *env) audit() *Pass {
	e.t.Helper()
	e.auditor.pass(e.ctx, 0, 0)
	return e.auditor.Result().Last
}

// clean fails unless a pass finds nothing and sees everything.
func (e *env) clean() {
	e.t.Helper()
	if p := e.audit(); !p.Clean() || p.Checked != len(e.parts) || !p.Store {
		e.t.Fatalf("pass over an undamaged cluster: %+v", p)
	}
}

// finds fails unless a pass finds one fault, of the kind, in the first partition, and sees the other partitions.
func (e *env) finds(kind Kind, key string) Finding {
	e.t.Helper()
	p := e.audit()
	if len(p.Findings) != 1 || p.Total() != 1 {
		e.t.Fatalf("findings %v, skips %+v; want one of kind %s", p.Findings, p.Skips, kind)
	}
	f := p.Findings[0]
	if f.Kind != kind || f.Partition != 0 || f.TopicID != e.topic || key != "" && f.Object != key || p.Clean() {
		e.t.Fatalf("found %+v, want %s of %q", f, kind, key)
	}
	return f
}

// findsIn fails unless a pass finds one fault, in the object.
func (e *env) findsIn(key string) {
	e.t.Helper()
	if p := e.audit(); p.Total() != 1 || p.Findings[0].Object != key {
		e.t.Fatalf("findings %v, skips %+v; want one in %s", p.Findings, p.Skips, key)
	}
}

// segment is the description of a segment of the first partition.
func (e *env) segment(i int) segment.Info { return e.parts[0].View().Manifest.Segments[i] }

// read gives an object's bytes.
func (e *env) read(key string) []byte {
	e.t.Helper()
	info, err := e.objects.Stat(e.ctx, key)
	must(e.t, err)
	b := make([]byte, info.Size)
	if _, err := e.objects.ReadAt(e.ctx, key, b, 0); err != nil && !errors.Is(err, io.EOF) {
		e.t.Fatal(err)
	}
	return b
}

func (e *env) write(key string, b []byte) {
	e.t.Helper()
	must(e.t, e.objects.Put(e.ctx, key, [][]byte{b}, object.PutOptions{}))
}

// pointer is the pointer of a partition's manifest, as JSON.
func (e *env) pointer(p *partition.Partition) (key string, fields map[string]any) {
	e.t.Helper()
	key = fmt.Sprintf("c/manifests/%s/%d", e.topic, p.ID().Index)
	item, err := e.kv.Get(e.ctx, key)
	must(e.t, err)
	must(e.t, json.Unmarshal(item.Value, &fields))
	return key, fields
}

func (e *env) setPointer(key string, fields map[string]any) {
	e.t.Helper()
	b, err := json.Marshal(fields)
	must(e.t, err)
	_, err = e.kv.Txn(e.ctx, nil, []kv.Op{kv.Put(key, b)})
	must(e.t, err)
}

// forge replaces the first partition's manifest, in the store and for the partition, as a broker with a fault might have
// written it: checksums are right.
func (e *env) forge(change func(body map[string]any)) {
	e.t.Helper()
	key, fields := e.pointer(e.parts[0])
	name := fields["body"].(string)
	text, _, _ := bytes.Cut(e.read(name), []byte("\n"))
	var body map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	must(e.t, d.Decode(&body))
	change(body)
	text, err := json.Marshal(body)
	must(e.t, err)
	e.write(name, fmt.Appendf(text, "\ncrc32c %08x\n", crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli))))
	e.setPointer(key, fields)
}

// craft replaces the segments of the first partition by one that holds the batches, and has a broker start on it.
func (e *env) craft(end int64, batches ...record.Batch) segment.Info {
	e.t.Helper()
	p := e.parts[0]
	w, err := segment.Create(e.ctx, e.objects, segment.WriterConfig{Partition: p.ID(), Epoch: 5}, e.clock.Now().UnixMilli())
	must(e.t, err)
	for _, b := range batches {
		must(e.t, w.Append(b))
	}
	w.SetAborted([]producer.Aborted{{ProducerID: 9, First: 0, Last: 5}})
	info, err := w.Finish(e.ctx, end, nil)
	must(e.t, err)
	before, err := e.manifests.Load(e.ctx, p.ID())
	must(e.t, err)
	next := before.Clone()
	next.Segments, next.End = []segment.Info{info}, end
	next.Epochs = []manifest.EpochStart{{Epoch: 3, Start: 0}, {Epoch: 5, Start: 6}}
	must(e.t, e.manifests.Commit(e.ctx, before, next))
	e.reopen()
	return info
}

// placed gives a batch its offset and leader epoch.
func placed(b record.Batch, offset int64, epoch int32) record.Batch {
	b.SetBaseOffset(offset)
	b.SetLeaderEpoch(epoch)
	return b
}
