package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/engine"
	"millrace/express/catalog"
	"millrace/express/node"
	"millrace/kafka/topic"
)

// errCut is what a broker sees that was cut off.
var errCut = errors.New("cut off")

// wire is what a broker has of the world; cutting it off makes the process as good as dead to all others.
type wire struct {
	kv.KV
	mu      sync.Mutex
	cut     bool
	steps   int           // writes so far
	at      int           // the write at which to cut; 0: none
	after   bool          // the write is done, but its answer lost
	fired   func()        // told once, when it is cut at a step
	forever bool          // leases seem to hold for ever
	back    chan struct{} // not nil: the process stands still, until this is closed
	lease   kv.Lease      // the last one
	held    chan struct{} // gets a token when a write of a partition's record waits for hold; nil: none does
	hold    chan struct{}
}

// wait holds a release back, where the test wants that.
func (w *wire) wait(then []kv.Op) {
	w.mu.Lock()
	held, hold := w.held, w.hold
	w.mu.Unlock()
	if held != nil && strings.Contains(then[0].Key, "/partitions/") {
		held <- struct{}{}
		<-hold
	}
}

// step counts a write and says whether it is done, and whether its answer arrives.
func (w *wire) step() (do, tell bool) {
	w.still()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return false, false
	}
	w.steps++
	if w.at == 0 || w.steps < w.at {
		return true, true
	}
	w.cut = true
	if w.fired != nil {
		w.fired()
	}
	return w.after, false
}

// still returns when the process does not stand still any more.
func (w *wire) still() {
	w.mu.Lock()
	back := w.back
	w.mu.Unlock()
	if back != nil {
		<-back
	}
}

func (w *wire) isCut() bool {
	w.still()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

func (w *wire) Get(ctx context.Context, key string) (kv.Item, error) {
	if w.isCut() {
		return kv.Item{}, errCut
	}
	return w.KV.Get(ctx, key)
}

func (w *wire) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	if w.isCut() {
		return nil, 0, errCut
	}
	return w.KV.List(ctx, prefix)
}

func (w *wire) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (rev int64, err error) {
	w.wait(then)
	do, tell := w.step()
	if do {
		rev, err = w.KV.Txn(ctx, cond, then)
	}
	w.still()
	if !tell {
		return 0, fmt.Errorf("%w: %w", kv.ErrUnknown, errCut)
	}
	return rev, err
}

// Watch holds the events back while the process stands still.
func (w *wire) Watch(ctx context.Context, prefix string, from int64) <-chan kv.Event {
	out := make(chan kv.Event)
	in := w.KV.Watch(ctx, prefix, from)
	go func() {
		defer close(out)
		for e := range in {
			w.still()
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
	}()
	return out
}

func (w *wire) hook(_ context.Context, op object.Op) error {
	if w.isCut() {
		return errCut
	}
	if op.Kind == object.OpPut {
		if do, tell := w.step(); !do || !tell {
			return errCut
		}
	}
	return nil
}

func (w *wire) diskHook(disk.Op) error {
	if w.isCut() {
		return errCut
	}
	return nil
}

// member is one broker of a cluster.
type member struct {
	*env
	mem   *disk.Mem // nil: a real disk
	wire  *wire
	drain chan struct{}
	stop  func() error
	ended <-chan error // what the process ended with, once
}

// cluster is several brokers in one process over one etcd and one store in memory; each has a disk and sockets.
type cluster struct {
	t       *testing.T
	kv      kv.KV
	objects object.Store
	log     *slog.Logger
	kind    catalog.LogKind
	dead    []*member // killed, and perhaps still ending
	members map[int32]*member
	orders  *catalog.Catalog // somebody who moves partitions, as a controller does
}

func newCluster(t *testing.T, brokers int) *cluster {
	t.Helper()
	return newClusterOver(t, brokers, kv.NewMemory(), object.NewMemory(clock.System{}), func(int32) disk.FS { return disk.NewMem() })
}

func newClusterOver(t *testing.T, brokers int, store kv.KV, objects object.Store, fs func(id int32) disk.FS) *cluster {
	t.Helper()
	return newClusterOf(t, catalog.LogFile, brokers, store, objects, fs)
}

// newClusterOf makes a cluster with a kind of log.
func newClusterOf(t *testing.T, kind catalog.LogKind, brokers int, store kv.KV, objects object.Store, fs func(id int32) disk.FS) *cluster {
	t.Helper()
	c := &cluster{t: t, kind: kind, kv: store, objects: objects, log: slog.New(slog.DiscardHandler), members: map[int32]*member{}}
	if testing.Verbose() {
		c.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	for id := range int32(brokers) {
		c.start(id+1, fs(id+1))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	c.orders, err = catalog.Open(ctx, catalog.Config{Prefix: "clusters/c/catalog/", Self: catalog.Broker{ID: 99, Incarnation: 1}, Log: kind},
		catalog.World{KV: c.kv, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- c.orders.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		for _, m := range c.members {
			must(t, m.stop())
		}
		for _, m := range c.dead {
			m.wire.mu.Lock()
			m.wire.cut, m.wire.at = false, 0 // it finds its log sealed now, or can close it
			m.wire.mu.Unlock()
			_ = m.stop() // it fails, as it must
		}
	})
	return c
}

// start runs a broker on a disk.
func (c *cluster) start(id int32, fs disk.FS) *member {
	c.t.Helper()
	e := newEnv(c.t)
	e.cfg.ID, e.cfg.Zone, e.cfg.Log = id, string('a'+rune(id-1)%3), c.kind
	if before := c.members[id]; before != nil {
		e.cfg.Listen = before.cfg.Listen // or a client that was busy elsewhere might not find anybody any more
	}
	m := &member{env: e, wire: &wire{KV: c.kv}, drain: make(chan struct{}, 1)}
	m.mem, _ = fs.(*disk.Mem)
	e.world.KV, e.world.FS, e.world.Log = m.wire, disk.Faulty(fs, m.wire.diskHook), c.log.With("broker", id)
	e.world.Drain = m.drain
	e.world.Objects = object.Faulty(c.objects, m.wire.hook)
	stop, ended := e.runWatched()
	m.stop, m.ended = sync.OnceValue(stop), ended
	c.members[id] = m
	return m
}

// crash kills a broker and starts it anew on what is left of its disk. The process of before is cut off from its disk
// and from everybody, and ends of that; what it still answers was durable before.
func (c *cluster) crash(id int32, seed uint64) {
	c.t.Helper()
	m := c.members[id]
	m.wire.mu.Lock()
	m.wire.cut = true
	m.wire.mu.Unlock()
	_ = m.stop() // it fails, as it must
	c.start(id, m.mem.CrashClone(rand.New(rand.NewPCG(seed, 9))))
}

func (c *cluster) seeds() (all []string) {
	for _, m := range c.members {
		all = append(all, m.cfg.Listen)
	}
	for _, m := range c.dead {
		all = append(all, m.cfg.Listen) // it may come back there
	}
	return all
}

func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.seeds()...), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.AlwaysRetryEOF(), // a broker that dies under a connection's first request is not one that wants TLS
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }),
	}, opts...)...)
	must(c.t, err)
	return cl
}

// topic makes a topic with all its partitions at one broker.
func (c *cluster) topic(name string, partitions int32, at int32) *catalog.Topic {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	_, err := kadm.NewClient(cl).CreateTopic(context.Background(), partitions, 1, nil, name)
	must(c.t, err)
	t := c.find(name, func(*catalog.Topic) bool { return true })
	for i := range t.Partitions {
		c.move(t, i, at)
	}
	return c.find(name, func(*catalog.Topic) bool { return true })
}

// find waits until the catalog shows a topic that is as wanted.
func (c *cluster) find(name string, ok func(*catalog.Topic) bool) *catalog.Topic {
	c.t.Helper()
	found := make(chan *catalog.Topic, 1)
	cancel := c.orders.Subscribe(func(_, now *catalog.Topic) {
		if now != nil && now.Name == name && ok(now) {
			select {
			case found <- now:
			default:
			}
		}
	})
	defer cancel()
	select {
	case t := <-found:
		return t
	case <-time.After(20 * time.Second):
		t, _ := c.orders.Topic(name)
		c.t.Fatalf("topic %q does not become what is wanted: %+v", name, t)
		return nil
	}
}

// order tells the owner of a partition to release it.
func (c *cluster) order(t *catalog.Topic, index int, to int32) {
	c.t.Helper()
	now, ok := c.orders.TopicByID(t.ID)
	if !ok {
		return
	}
	must(c.t, c.orders.Move(context.Background(), []catalog.Move{{
		ID: topic.Partition{Topic: t.ID, Index: int32(index)}, From: now.Partitions[index].Owner, To: to,
	}}))
}

// move has a partition moved and waits until the new owner has imported it.
func (c *cluster) move(t *catalog.Topic, index int, to int32) {
	c.t.Helper()
	c.order(t, index, to)
	c.find(t.Name, func(now *catalog.Topic) bool {
		p := now.Partitions[index]
		return p.Owner == to && p.Tail == "" && p.To == 0
	})
}

// traffic is a producer whose acknowledged records are noted with their offsets.
type traffic struct {
	c     *cluster
	cl    *kgo.Client
	topic string
	stop  chan struct{}
	done  sync.WaitGroup

	mu     sync.Mutex
	acked  map[int32]map[int64]string
	count  int // of acks
	more   *sync.Cond
	faults []error
	gap    time.Duration // the longest time without an answer
	last   time.Time
}

func (c *cluster) produce(name string, partitions int32, valueBytes int, opts ...kgo.Opt) *traffic {
	tr := &traffic{c: c, topic: name, stop: make(chan struct{}), acked: map[int32]map[int64]string{}, last: time.Now()}
	tr.more = sync.NewCond(&tr.mu)
	tr.cl = c.client(append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(200), kgo.DefaultProduceTopic(name),
	}, opts...)...)
	padding := bytes.Repeat([]byte{'x'}, valueBytes)
	for i := range partitions {
		tr.acked[i] = map[int64]string{}
		tr.done.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-tr.stop:
					return
				default:
				}
				key := fmt.Sprintf("%d-%d", i, n)
				answered := make(chan struct{})
				tr.cl.Produce(context.Background(), &kgo.Record{Partition: i, Key: []byte(key), Value: padding}, func(r *kgo.Record, err error) {
					tr.note(r, key, err)
					close(answered)
				})
				if n%8 == 0 {
					<-answered
				}
			}
		})
	}
	return tr
}

func (tr *traffic) note(r *kgo.Record, key string, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	tr.gap, tr.last = max(tr.gap, now.Sub(tr.last)), now
	if err != nil {
		tr.faults = append(tr.faults, err)
		return
	}
	if other, taken := tr.acked[r.Partition][r.Offset]; taken {
		tr.faults = append(tr.faults, fmt.Errorf("offset %d of partition %d was given to %s and to %s", r.Offset, r.Partition, other, key))
	}
	tr.acked[r.Partition][r.Offset] = key
	tr.count++
	tr.more.Broadcast()
}

// await returns after n more acks.
func (tr *traffic) await(n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for want := tr.count + n; tr.count < want; {
		tr.more.Wait()
	}
}

// takeGap gives the longest time without acks since it was asked last.
func (tr *traffic) takeGap() time.Duration {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	g := max(tr.gap, time.Since(tr.last))
	tr.gap, tr.last = 0, time.Now()
	return g
}

// end stops producing and reads everything back: each acknowledged record once, at its offset, and no other.
func (tr *traffic) end() (records int) {
	t := tr.c.t
	t.Helper()
	close(tr.stop)
	tr.done.Wait()
	must(t, tr.cl.Flush(context.Background()))
	tr.cl.Close()
	for _, err := range tr.faults {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cl := tr.c.client(kgo.ConsumeTopics(tr.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	seen := map[string]int64{}
	want := 0
	for _, p := range tr.acked {
		want += len(p)
	}
	for records < want {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%d of %d acknowledged records are read: %v", records, want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := string(r.Key)
			if at, ok := seen[key]; ok {
				t.Errorf("%s is at offsets %d and %d", key, at, r.Offset)
			}
			seen[key] = r.Offset
			if tr.acked[r.Partition][r.Offset] != key {
				t.Errorf("partition %d, offset %d: %s, want %s", r.Partition, r.Offset, key, tr.acked[r.Partition][r.Offset])
			}
			records++
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	return records
}

// probe waits until a broker answers.
func (m *member) probe(ctx context.Context) error {
	return node.Engine{}.Probe(ctx, engine.NodeSpec{Listen: m.cfg.Listen})
}
