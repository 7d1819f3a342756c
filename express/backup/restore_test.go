package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/catalog"
	"millrace/express/manifest"
	"millrace/express/segment"
	"millrace/express/tail"
	"millrace/express/wal"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

var quiet = slog.New(slog.DiscardHandler)

// env is the etcd and the store of one cluster, whose brokers' doings are played.
type env struct {
	t         *testing.T
	ctx       context.Context
	kv        kv.KV
	objects   object.Store
	manifests *manifest.Store
	topic     topic.ID
	clusterID string
}

func newEnv(t *testing.T, partitions int) *env {
	t.Helper()
	e := &env{t: t, ctx: context.Background(), kv: kv.NewMemory(), objects: object.NewMemory(clock.System{}), topic: topic.NewID(), clusterID: topic.NewID().String()}
	e.manifests = manifest.NewStore(e.kv, e.objects, "clusters/c/manifests/", quiet)
	e.set("clusters/c/catalog/cluster", map[string]any{"version": 1, "id": e.clusterID})
	e.set("clusters/c/catalog/topics/orders", map[string]any{"version": 1, "id": e.topic, "partitions": partitions, "replication_factor": 1})
	e.set("clusters/c/catalog/producer-ids", map[string]any{"version": 1, "next": 5000})
	e.set("control/clusters/c", map[string]any{"name": "c"})
	for i := range partitions {
		e.own(int32(i), 1, 7, "")
	}
	must(t, e.objects.Put(e.ctx, "cluster-id", [][]byte{[]byte(e.clusterID)}, object.PutOptions{}))
	return e
}

func (e *env) id(index int32) topic.Partition { return topic.Partition{Topic: e.topic, Index: index} }

func (e *env) set(key string, v any) {
	e.t.Helper()
	b, err := json.Marshal(v)
	must(e.t, err)
	_, err = e.kv.Txn(e.ctx, nil, []kv.Op{kv.Put(key, b)})
	must(e.t, err)
}

// own writes the record of a partition.
func (e *env) own(index, owner, epoch int32, tail string) {
	e.t.Helper()
	e.set(fmt.Sprintf("clusters/c/catalog/partitions/%s/%d", e.topic, index),
		map[string]any{"version": 1, "owner": owner, "epoch": epoch, "incarnation": 99, "tail": tail, "to": 3})
}

func (e *env) batch(offset int64, epoch int32) record.Batch {
	e.t.Helper()
	b := record.NewBuilder(record.Options{BaseOffset: offset, LeaderEpoch: epoch})
	must(e.t, b.Add(offset, []byte("k"), []byte("v")))
	out, err := b.Build(nil)
	must(e.t, err)
	return out
}

// cut adds a segment of ten records to a partition.
func (e *env) cut(index int32) segment.Info {
	e.t.Helper()
	m, err := e.manifests.Load(e.ctx, e.id(index))
	must(e.t, err)
	w, err := segment.Create(e.ctx, e.objects, segment.WriterConfig{Partition: e.id(index), Epoch: 7, Base: m.End}, 1)
	must(e.t, err)
	for i := range int64(10) {
		must(e.t, w.Append(e.batch(m.End+i, 7)))
	}
	info, err := w.Finish(e.ctx, m.End+10, nil)
	must(e.t, err)
	next := m.Clone()
	next.Segments, next.End, next.Epochs = append(next.Segments, info), m.End+10, []manifest.EpochStart{{Epoch: 7}}
	must(e.t, e.manifests.Commit(e.ctx, m, next))
	return info
}

// drop moves the log start behind the first segment, whose object goes, and so do all former bodies.
func (e *env) drop(index int32) {
	e.t.Helper()
	m, err := e.manifests.Load(e.ctx, e.id(index))
	must(e.t, err)
	next := m.Clone()
	next.LogStart, next.Segments = m.Segments[0].End, m.Segments[1:]
	must(e.t, e.manifests.Commit(e.ctx, m, next))
	must(e.t, e.objects.Delete(e.ctx, m.Segments[0].Key))
	list, err := e.objects.List(e.ctx, manifest.Root, "", 1000)
	must(e.t, err)
	for _, o := range list {
		if id, _ := segment.ParseKey(manifest.Root, o.Key); id == e.id(index) && o.Key != next.Body() {
			must(e.t, e.objects.Delete(e.ctx, o.Key))
		}
	}
}

func (e *env) take() *Backup {
	e.t.Helper()
	b, err := Take(e.ctx, e.kv, time.Now())
	must(e.t, err)
	encoded(e.t, b) // which gives it its name
	return b
}

func (e *env) sources(to kv.KV, logs Logs) Sources {
	s := Sources{KV: to, Objects: func(context.Context, string) (object.Store, error) { return e.objects, nil }}
	if logs != nil {
		s.Logs = map[string]Logs{"c": logs}
	}
	return s
}

// restored applies a backup to an empty etcd.
func (e *env) restored(b *Backup, logs Logs, o Options) (*Plan, kv.KV, error) {
	e.t.Helper()
	to := kv.NewMemory()
	p, err := Prepare(e.ctx, b, e.sources(to, logs))
	must(e.t, err)
	return p, to, Apply(e.ctx, to, p, o, nil)
}

// record reads a partition's record.
func (e *env) record(store kv.KV, index int) catalog.Partition {
	e.t.Helper()
	s, err := catalog.Read(e.ctx, store, "clusters/c/catalog/")
	must(e.t, err)
	return s.Topics[0].Partitions[index]
}

func TestRestoreGivesNothingOutTwice(t *testing.T) {
	e := newEnv(t, 2)
	_, to, err := e.restored(e.take(), nil, Options{})
	must(t, err)
	for i := range 2 {
		if r := e.record(to, i); r.Owner != 1 || r.Epoch < 7+1000 || r.Incarnation != 0 || r.To != 0 {
			t.Errorf("partition %d: %+v", i, r)
		}
	}
	item, err := to.Get(e.ctx, "clusters/c/catalog/producer-ids")
	must(t, err)
	var ids struct{ Next int64 }
	must(t, json.Unmarshal(item.Value, &ids))
	if ids.Next < 5000+1<<30 {
		t.Errorf("producer ids go on at %d", ids.Next)
	}
	if _, err := to.Get(e.ctx, marker); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("the marker is left: %v", err)
	}
	if _, err := to.Get(e.ctx, "control/clusters/c"); err != nil {
		t.Error(err)
	}
}

// What was cut, deleted and compacted since the backup is found in the store.
func TestRestoreFindsTheNewestManifests(t *testing.T) {
	e := newEnv(t, 4)
	for i := range int32(3) {
		e.cut(i)
		e.cut(i)
	}
	m, err := e.manifests.Load(e.ctx, e.id(0))
	must(t, err)
	next := m.Clone()
	next.LogStart = 5 // which only the pointer says
	must(t, e.manifests.Commit(e.ctx, m, next))
	b := e.take()
	e.cut(1) // goes on
	e.cut(2)
	e.drop(2) // and what the backup names is gone
	e.cut(3)  // had none
	p, to, err := e.restored(b, nil, Options{})
	must(t, err)
	after := manifest.NewStore(to, e.objects, "clusters/c/manifests/", quiet)
	for i := range int32(4) {
		want, err := e.manifests.Load(e.ctx, e.id(i))
		must(t, err)
		got, err := after.Load(e.ctx, e.id(i))
		must(t, err)
		if got.Version <= want.Version || got.End != want.End || got.LogStart != want.LogStart || !slices.Equal(got.Segments, want.Segments) {
			t.Errorf("partition %d: %+v, want what was %+v", i, got, want)
		}
	}
	if p.Forward != 3 || len(p.Missing) != 0 {
		t.Errorf("plan %+v", p)
	}
}

// A body that was put and never committed is not taken for the newest where it names what is not there, or reaches less far.
func TestRestorePassesOverBodiesThatCannotBe(t *testing.T) {
	e := newEnv(t, 1)
	e.cut(0)
	b := e.take()
	// Somebody else commits over the same version: its body stays, as that of a fenced owner does.
	lost := manifest.NewStore(kv.NewMemory(), e.objects, "x/", quiet)
	m, err := lost.Load(e.ctx, e.id(0))
	must(t, err)
	w, err := segment.Create(e.ctx, e.objects, segment.WriterConfig{Partition: e.id(0), Epoch: 7}, 1)
	must(t, err)
	must(t, w.Append(e.batch(0, 7)))
	info, err := w.Finish(e.ctx, 1, nil)
	must(t, err)
	for range 3 { // to versions 2 and 3
		next := m.Clone()
		next.Segments, next.End, next.CleanedEnd = []segment.Info{info}, 1, m.CleanedEnd^1
		must(t, lost.Commit(e.ctx, m, next))
		m = next
	}
	e.cut(0)
	e.cut(0)
	_, to, err := e.restored(b, nil, Options{})
	must(t, err)
	got, err := manifest.NewStore(to, e.objects, "clusters/c/manifests/", quiet).Load(e.ctx, e.id(0))
	must(t, err)
	if got.End != 30 {
		t.Errorf("ends at %d, want 30", got.End)
	}
}

// Where the newest manifest has lost a segment, the one before is taken, and it is said that something is missing.
func TestRestoreHidesNoLoss(t *testing.T) {
	e := newEnv(t, 2)
	e.cut(0)
	b := e.take()
	lost, all := e.cut(0), e.cut(1)
	must(t, e.objects.Delete(e.ctx, lost.Key))
	must(t, e.objects.Delete(e.ctx, all.Key)) // the only manifest of its partition
	p, to, err := e.restored(b, nil, Options{AcceptMissing: true})
	must(t, err)
	if len(p.Missing) != 2 || p.Missing[0].Object != lost.Key || p.Missing[1].Object != all.Key {
		t.Errorf("missing: %+v", p.Missing)
	}
	got, err := manifest.NewStore(to, e.objects, "clusters/c/manifests/", quiet).Load(e.ctx, e.id(0))
	must(t, err)
	if got.End != 10 {
		t.Errorf("ends at %d, want 10, where nothing is lost", got.End)
	}
}

func TestRestoreSaysWhatIsMissing(t *testing.T) {
	e := newEnv(t, 3)
	lost := e.cut(0)
	e.cut(1)
	e.own(2, 2, 9, tail.NewKey(e.id(2), 8).String())
	b := e.take()
	must(t, e.objects.Delete(e.ctx, lost.Key))
	m, err := e.manifests.Load(e.ctx, e.id(1))
	must(t, err)
	must(t, e.objects.Delete(e.ctx, m.Body()))
	p, to, err := e.restored(b, nil, Options{})
	if !errors.Is(err, ErrMissing) || len(p.Missing) != 3 {
		t.Fatalf("%v, %+v", err, p.Missing)
	}
	if items, _, _ := to.List(e.ctx, ""); len(items) > 0 {
		t.Errorf("%d keys were written all the same", len(items))
	}
	if !slices.ContainsFunc(p.Missing, func(m Missing) bool { return m.Object == lost.Key && m.Partition == 0 && m.Topic == "orders" }) {
		t.Errorf("the segment is not named: %+v", p.Missing)
	}
	_, to, err = e.restored(b, nil, Options{AcceptMissing: true})
	must(t, err)
	if r := e.record(to, 2); r.Tail != "" || r.Owner != 2 {
		t.Errorf("%+v", r)
	}
}

func TestRestoreKnowsTopicsThatItWouldGiveUp(t *testing.T) {
	e := newEnv(t, 1)
	b := e.take()
	known := e.topic
	e.topic = topic.NewID()
	e.cut(0)
	younger := e.topic
	e.topic = known
	p, _, err := e.restored(b, nil, Options{})
	if !errors.Is(err, ErrUnknownTopics) || len(p.Unknown) != 1 || p.Unknown[0] != younger {
		t.Errorf("%v, %+v", err, p.Unknown)
	}
	_, _, err = e.restored(b, nil, Options{DropUnknown: true})
	must(t, err)
	inLog := topic.Partition{Topic: topic.NewID()}
	p, _, err = e.restored(b, Logs{inLog: {{Broker: 1, End: 5}}}, Options{})
	if !errors.Is(err, ErrUnknownTopics) || len(p.Unknown) != 2 || p.Unknown[1] != inLog.Topic {
		t.Errorf("%v, %+v", err, p.Unknown)
	}
}

func TestRestoreRefusesAnotherClustersStore(t *testing.T) {
	e := newEnv(t, 1)
	b := e.take()
	must(t, e.objects.Put(e.ctx, "cluster-id", [][]byte{[]byte("somebody else's")}, object.PutOptions{}))
	if _, err := Prepare(e.ctx, b, e.sources(kv.NewMemory(), nil)); !errors.Is(err, ErrForeignStore) {
		t.Error(err)
	}
}

func TestRestoreOverWhatIsThere(t *testing.T) {
	e := newEnv(t, 1)
	b := e.take()
	p, err := Prepare(e.ctx, b, e.sources(e.kv, nil))
	must(t, err)
	if err := Apply(e.ctx, e.kv, p, Options{}, nil); !errors.Is(err, ErrNotEmpty) {
		t.Fatal(err)
	}
	e.set("clusters/c/catalog/topics/younger", 1)
	must(t, Apply(e.ctx, e.kv, p, Options{Overwrite: true}, nil))
	if _, err := e.kv.Get(e.ctx, "clusters/c/catalog/topics/younger"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("what was there is left: %v", err)
	}
	lease, err := e.kv.Grant(e.ctx, time.Minute)
	must(t, err)
	_, err = e.kv.Txn(e.ctx, nil, []kv.Op{kv.PutLeased("clusters/c/catalog/brokers/1", nil, lease.ID())})
	must(t, err)
	p, err = Prepare(e.ctx, b, e.sources(e.kv, nil))
	must(t, err)
	if err := Apply(e.ctx, e.kv, p, Options{Overwrite: true}, nil); !errors.Is(err, ErrServing) {
		t.Fatal(err)
	}
}

// cutting fails from one write on.
type cutting struct {
	kv.KV
	left int
}

var errCut = errors.New("cut off")

func (c *cutting) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if c.left--; c.left < 0 {
		return 0, errCut
	}
	return c.KV.Txn(ctx, cond, then)
}

// A restore that ends at any step can be repeated, and until it has ended nobody knows which cluster it is (B5).
func TestRestoreThatIsCutShortIsRepeated(t *testing.T) {
	e := newEnv(t, 300)
	b := e.take()
	for step := 0; ; step++ {
		to := kv.NewMemory()
		p, err := Prepare(e.ctx, b, e.sources(to, nil))
		must(t, err)
		err = Apply(e.ctx, &cutting{to, step}, p, Options{}, nil)
		if err == nil {
			if step < 4 {
				t.Fatalf("done after %d writes", step)
			}
			return
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		if _, err := to.Get(e.ctx, "clusters/c/catalog/cluster"); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("after %d writes: the cluster's record is there: %v", step, err)
		}
		p, err = Prepare(e.ctx, b, e.sources(to, nil))
		must(t, err)
		must(t, Apply(e.ctx, to, p, Options{}, nil))
		items, _, err := to.List(e.ctx, "")
		must(t, err)
		if len(items) != len(b.Items) {
			t.Errorf("after %d writes and again: %d keys, want %d", step, len(items), len(b.Items))
		}
	}
}

// putTail stores a tail of offsets [base, end).
func (e *env) putTail(index int32, epoch int32, base, end int64) string {
	e.t.Helper()
	k := tail.NewKey(e.id(index), epoch)
	w, err := tail.Create(e.ctx, e.objects, k, base, end)
	must(e.t, err)
	for o := base; o < end; o++ {
		must(e.t, w.Append(e.batch(o, epoch)))
	}
	must(e.t, w.Finish(e.ctx))
	return k.String()
}

// The backup says that broker 1 owns the partition at epoch 7; segments end at offset 10.
func TestRestoreFindsWhereAPartitionIs(t *testing.T) {
	whole := func(broker int32, first, end int64, epoch int32) Stream {
		return Stream{Broker: broker, First: first, End: end, Epoch: epoch, Whole: true}
	}
	for name, c := range map[string]struct {
		said    string            // tail in the backup: "", "lost" or "there"
		tail    func(*env) string // that is in the store now
		logs    []Stream          // nil: no log holds anything
		owner   int32
		useTail bool
		missing int
	}{
		"as it was":                             {logs: []Stream{whole(1, 10, 20, 7)}, owner: 1},
		"nothing in the logs":                   {logs: []Stream{}, owner: 1},
		"moved":                                 {logs: []Stream{whole(1, 10, 20, 7), whole(2, 10, 30, 8)}, owner: 2},
		"moved, and nothing written since":      {logs: []Stream{{Broker: 1, First: 15, End: 20, Epoch: 7, Whole: true}, whole(2, 10, 20, 7)}, owner: 2},
		"moved to and fro":                      {logs: []Stream{whole(1, 10, 40, 9), whole(2, 10, 30, 8)}, owner: 1},
		"the log begins too late":               {logs: []Stream{whole(1, 12, 20, 7)}, owner: 1, missing: 1},
		"the log has holes":                     {logs: []Stream{{Broker: 1, First: 10, End: 20, Epoch: 7}}, owner: 1, missing: 1},
		"all is in segments":                    {logs: []Stream{whole(2, 3, 9, 6)}, owner: 1},
		"released after the backup":             {tail: func(e *env) string { return e.putTail(0, 7, 10, 20) }, logs: []Stream{}, owner: 1, useTail: true},
		"released, what was is left in the log": {tail: func(e *env) string { return e.putTail(0, 7, 10, 20) }, logs: []Stream{whole(1, 10, 15, 7)}, owner: 1, useTail: true},
		"imported, the tail is left":            {tail: func(e *env) string { return e.putTail(0, 7, 10, 20) }, logs: []Stream{whole(2, 10, 30, 8)}, owner: 2},
		"not released after all":                {tail: func(e *env) string { return e.putTail(0, 7, 10, 20) }, logs: []Stream{whole(1, 10, 25, 7)}, owner: 1},
		"was to be imported":                    {said: "there", logs: []Stream{}, owner: 1, useTail: true},
		"was to be imported, and was":           {said: "there", logs: []Stream{whole(1, 10, 30, 7)}, owner: 1},
		"was imported, and the tail is gone":    {said: "lost", logs: []Stream{whole(1, 10, 20, 6)}, owner: 1},
		"the tail is gone":                      {said: "lost", logs: []Stream{}, owner: 1, missing: 1},
		"no logs are to be seen":                {said: "there", owner: 1, useTail: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			e.cut(0)
			key := ""
			switch c.said {
			case "there":
				key = e.putTail(0, 6, 10, 20)
				e.own(0, 1, 7, key)
			case "lost":
				e.own(0, 1, 7, tail.NewKey(e.id(0), 6).String())
			}
			b := e.take()
			if c.tail != nil {
				key = c.tail(e)
			}
			var logs Logs
			if c.logs != nil {
				logs = Logs{e.id(0): c.logs}
			}
			p, to, err := e.restored(b, logs, Options{AcceptMissing: true})
			must(t, err)
			r := e.record(to, 0)
			if r.Owner != c.owner || (r.Tail != "") != c.useTail || c.useTail && r.Tail != key || len(p.Missing) != c.missing {
				t.Errorf("%+v, missing %+v; want owner %d, tail %v", r, p.Missing, c.owner, c.useTail)
			}
			for _, s := range c.logs {
				if r.Epoch <= s.Epoch {
					t.Errorf("epoch %d, a log holds %d", r.Epoch, s.Epoch)
				}
			}
		})
	}
}

func TestReadLog(t *testing.T) {
	e := newEnv(t, 2)
	fs, w := disk.NewMem(), wal.World{Clock: clock.System{}, Log: quiet}
	w.FS = fs
	must(t, fs.MkdirAll("b/wal", 0o700))
	slabs, err := slab.New(slab.Config{})
	must(t, err)
	w.Slabs = slabs
	log, err := wal.Open(e.ctx, wal.Config{Dir: "b/wal", Broker: 4, Incarnation: 1}, w)
	must(t, err)
	for o := int64(5); o < 9; o++ {
		done := make(chan error, 1)
		must(t, log.Stream(e.id(1)).Append(e.ctx, &wal.Entry{Data: e.batch(o, int32(o)), BaseOffset: o, LastOffset: o, Done: func(err error) { done <- err }}))
		must(t, <-done)
	}
	must(t, log.Close(e.ctx))
	logs := Logs{}
	must(t, logs.ReadLog(e.ctx, 4, "b", 2, w))
	if got, want := logs[e.id(1)], []Stream{{Broker: 4, First: 5, End: 9, Epoch: 8, Whole: true}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	lock, err := fs.Lock("b/lock")
	must(t, err)
	if err := logs.ReadLog(e.ctx, 4, "b", 3, w); !errors.Is(err, ErrServing) {
		t.Errorf("of a broker that runs: %v", err)
	}
	must(t, lock.Close())
}
