package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/catalog"
	"millrace/express/coord"
	"millrace/express/machine"
	"millrace/express/manifest"
	"millrace/express/meter"
	"millrace/express/partition"
	"millrace/express/segment"
	"millrace/express/sharing"
	"millrace/express/wal"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/server"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
	"millrace/secure/authz"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/scram"
	"millrace/secure/trail"
)

// env is one broker in memory: real rooms, a real server on loopback.
type env struct {
	t       testing.TB
	kv      *kv.Memory
	catalog *catalog.Catalog
	log     *wal.Log
	full    atomic.Bool // the disk has no room
	slabs   *slab.Pool
	api     *API
	addr    string
	logs    *logCounter

	world   partition.World
	groups  *coord.Coordinator
	txns    *coord.Transactions
	shares  *coord.Shares
	sharing *sharing.Manager
	users   *scram.Store
	server  *server.Server

	mu         sync.Mutex
	partitions map[topic.Partition]*partition.Partition
}

// options shape an env before it opens.
type options struct {
	config     Config
	static     map[string]string
	authorizer authz.Judge
	presence   Presence
	walConfig  wal.Config
	telemetry  bool        // clients may push metrics
	clock      clock.Clock // of the API alone; nil: the machine's
	keys       login.Keys  // with it, or with mechanisms, there is a door
	mechanisms []identity.Mechanism
	maxReauth  time.Duration
	usage      *meter.Meter
	listener   string // by which everybody comes; "": catalog.Client
}

const selfID = 1

func newEnv(t testing.TB, o options) *env {
	t.Helper()
	e := &env{t: t, kv: kv.NewMemory(), logs: &logCounter{}, partitions: map[topic.Partition]*partition.Partition{}}
	logger := slog.New(e.logs)
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	e.slabs, err = slab.New(slab.Config{Poison: true})
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	e.addr = ln.Addr().String()
	static := map[string]string{"offsets.topic.num.partitions": "3", "transaction.state.log.num.partitions": "3", "group.initial.rebalance.delay.ms": "0"}
	for k, v := range o.static {
		static[k] = v
	}
	port := ln.Addr().(*net.TCPAddr).Port
	e.catalog, err = catalog.Open(ctx, catalog.Config{Prefix: "c/", Static: static,
		Self: catalog.Broker{ID: selfID, Incarnation: 1, Host: "127.0.0.1", Port: int32(port), Rack: "zone-a"}},
		catalog.World{KV: e.kv, Clock: clock.System{}, Log: logger})
	must(t, err)
	fs := disk.Faulty(disk.NewMem(), func(op disk.Op) error {
		if e.full.Load() && (op.Kind == disk.OpWrite || op.Kind == disk.OpAllocate) {
			return syscall.ENOSPC
		}
		return nil
	})
	must(t, fs.MkdirAll("wal", 0o700))
	o.walConfig.Dir, o.walConfig.Broker, o.walConfig.Incarnation = "wal", selfID, 1
	e.log, err = wal.Open(ctx, o.walConfig, wal.World{FS: fs, Clock: clock.System{}, Log: logger, Slabs: e.slabs})
	must(t, err)
	objects := object.NewMemory(clock.System{})
	e.world = partition.World{Segments: segment.NewCache(objects, 8), Objects: objects,
		Manifests: manifest.NewStore(e.kv, objects, "m/", logger), Slabs: e.slabs, Clock: clock.System{}, Log: logger}
	e.groups, err = coord.New(coord.GroupConfig{Partitions: 3,
		Settings: func() coord.GroupSettings {
			return coord.FromBroker(e.catalog.BrokerSettings(), e.catalog.GroupSettings)
		}},
		coord.World{Clock: clock.System{}, Log: logger, Topics: topics{e.catalog}})
	must(t, err)
	e.txns, err = coord.NewTransactions(ctx, coord.TransactionConfig{Partitions: 3,
		Settings: func() coord.TransactionSettings { return coord.TransactionsFromBroker(e.catalog.BrokerSettings()) }},
		coord.TransactionWorld{Clock: clock.System{}, Log: logger, Markers: everywhere{e}, NextProducerID: e.catalog.NextProducerID})
	must(t, err)
	e.openShares(ctx, logger)
	unsubscribe := e.catalog.Subscribe(func(old, now *catalog.Topic) { e.follow(ctx, old, now) })
	must(t, e.catalog.Register(ctx))
	ran := make(chan error, 1)
	go func() { ran <- e.catalog.Run(ctx) }()

	if o.clock == nil {
		o.clock = clock.System{}
	}
	w := World{Catalog: e.catalog, Partitions: e, Groups: e.groups, Transactions: e.txns, Markers: e,
		Sharing: e.sharing, ShareState: e.shares, Authorizer: o.authorizer, Presence: o.presence, Usage: o.usage, Clock: o.clock, Log: logger}
	if o.telemetry {
		w.Telemetry = newTelemetry(e)
	}
	followed := e.openDoor(ctx, o, &w)
	e.api, err = New(o.config, w)
	must(t, err)
	srv, err := server.New(server.Config{}, e.api, server.World{Log: logger, Clock: clock.System{}, Slabs: e.slabs})
	must(t, err)
	e.server = srv
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, cmp.Or(o.listener, catalog.Client), ln) }()
	t.Cleanup(func() {
		stop, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		e.sharing.Close()
		e.txns.Close()
		e.groups.Close()
		e.shares.Close()
		must(t, srv.Close(stop))
		<-served
		unsubscribe()
		cancel()
		must(t, <-ran)
		must(t, <-followed)
		must(t, e.log.Close(stop))
		must(t, e.kv.Close())
		if used := e.api.budget.Used(); used != 0 {
			t.Errorf("%d bytes of the fetch budget were not given back", used)
		}
	})
	return e
}

// openDoor makes the rooms of logins. The channel has the end of what it started.
func (e *env) openDoor(ctx context.Context, o options, w *World) <-chan error {
	var err error
	w.Users, err = scram.OpenStore(ctx, scram.Config{Prefix: "c/"}, scram.World{KV: e.kv, Random: func(b []byte) { _, _ = rand.Read(b) }, Log: w.Log})
	must(e.t, err)
	e.users = w.Users
	w.Door, err = login.New(login.Config{Region: "eu-west-9", FailureDelay: time.Millisecond},
		login.World{Users: w.Users, Keys: o.keys, Trail: trail.Discard{}, Clock: clock.System{}, Log: w.Log})
	must(e.t, err)
	w.Listener = func(name string) login.Listener {
		return login.Listener{Name: name, Mechanisms: o.mechanisms, MaxReauth: o.maxReauth}
	}
	followed := make(chan error, 1)
	go func() { followed <- w.Users.Run(ctx) }()
	return followed
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openShares makes the rooms of share groups.
func (e *env) openShares(ctx context.Context, logger *slog.Logger) {
	var err error
	e.shares, err = coord.NewShares(ctx, coord.SharesConfig{Partitions: ShareStatePartitions},
		coord.SharesWorld{Clock: clock.System{}, Log: logger, Topics: topics{e.catalog}})
	must(e.t, err)
	e.sharing = sharing.New(ctx, sharing.Config{}, sharing.World{
		Partition: func(id topic.Partition) (sharing.Log, bool) { return e.Partition(id) },
		Persister: e.shares, Clock: clock.System{}, Log: logger,
		Settings: func(group string) sharing.Settings { return sharing.FromGroup(e.catalog.GroupSettings(group)) },
	})
	e.groups.ServeShares(ctx, coord.ShareWorld{Shares: e.shares, Reset: e.sharing.Reset,
		Latest: func(_ context.Context, id topic.Partition) (int64, bool) {
			p, ok := e.Partition(id)
			if !ok {
				return 0, false
			}
			return p.Offsets().HW, true
		}})
}

// follow opens and closes partitions as the catalog says.
func (e *env) follow(ctx context.Context, old, now *catalog.Topic) {
	if old != nil && now == nil {
		for i := range old.Partitions {
			id := topic.Partition{Topic: old.ID, Index: int32(i)}
			if p, ok := e.Partition(id); ok {
				e.mu.Lock()
				delete(e.partitions, id)
				e.mu.Unlock()
				p.Close()
			}
		}
		return
	}
	for i, part := range now.Partitions {
		id := topic.Partition{Topic: now.ID, Index: int32(i)}
		p, open := e.Partition(id)
		if open {
			p.SetSettings(now.Settings)
			continue
		}
		if part.Owner != selfID {
			continue
		}
		w := e.world
		w.Stream = e.log.Stream(id)
		p, err := partition.Open(ctx, partition.Config{ID: id, Name: now.Name, Epoch: part.Epoch, Settings: now.Settings,
			Manifest: &manifest.Manifest{Partition: id}}, w)
		if err != nil {
			e.t.Errorf("open %s-%d: %v", now.Name, i, err)
			continue
		}
		e.mu.Lock()
		e.partitions[id] = p
		e.mu.Unlock()
		// The test may end while a topic that it has made is followed: coordinators are closed then.
		if now.Name == topic.ConsumerOffsets {
			if err := e.groups.Load(ctx, id.Index, offsetsLog{p}); err != nil && !errors.Is(err, coord.ErrClosed) {
				e.t.Errorf("load groups: %v", err)
			}
		}
		if now.Name == topic.ShareGroupState {
			if err := e.shares.Load(ctx, id.Index, offsetsLog{p}); err != nil && !errors.Is(err, coord.ErrClosed) {
				e.t.Errorf("load share state: %v", err)
			}
		}
		if now.Name == topic.TransactionState {
			if err := e.txns.Load(ctx, id.Index, part.Epoch, offsetsLog{p}); err != nil && !errors.Is(err, coord.ErrClosed) {
				e.t.Errorf("load transactions: %v", err)
			}
		}
	}
}

// everywhere is the markers of a cluster of one broker. It implements coord.Markers.
type everywhere struct{ *env }

func (e everywhere) WriteMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker, done func(err error)) {
	done(e.env.WriteMarker(ctx, tp, m))
}

// WriteMarker implements Markers.
func (e *env) WriteMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker) error {
	t, ok := e.catalog.Topic(tp.Topic)
	if !ok {
		return kerr.UnknownTopicOrPartition
	}
	if tp.Topic == topic.ConsumerOffsets {
		if code := e.groups.EndTransaction(ctx, tp.Partition, m); code != kerr.None {
			return code
		}
		return nil
	}
	p, ok := e.Partition(topic.Partition{Topic: t.ID, Index: tp.Partition})
	if !ok {
		return kerr.NotLeaderOrFollower
	}
	done := make(chan error, 1)
	p.WriteMarker(ctx, record.Marker{ProducerID: m.ID, ProducerEpoch: m.Epoch, Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch},
		m.TransactionVersion,
		func(a partition.Appended) { done <- a.Err })
	return <-done
}

// Partition implements Partitions.
func (e *env) Partition(id topic.Partition) (*partition.Partition, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.partitions[id]
	return p, ok
}

// moveAway makes a partition one of another, live broker.
func (e *env) moveAway(name string, index, owner, epoch int32) {
	e.t.Helper()
	t, _ := e.catalog.Topic(name)
	id := topic.Partition{Topic: t.ID, Index: index}
	e.mu.Lock()
	if p, ok := e.partitions[id]; ok {
		delete(e.partitions, id)
		p.Close()
	}
	e.mu.Unlock()
	e.put(fmt.Sprintf("brokers/%d", owner), fmt.Sprintf(`{"version":1,"incarnation":1,"host":"other","port":%d,"rack":"zone-b"}`, 9000+owner))
	e.put(fmt.Sprintf("partitions/%s/%d", t.ID, index), fmt.Sprintf(`{"version":1,"owner":%d,"epoch":%d,"incarnation":1}`, owner, epoch))
	e.eventually(func() bool {
		t, _ := e.catalog.Topic(name)
		return t.Partitions[index].Owner == owner && len(e.catalog.Brokers()) > 1
	})
}

func (e *env) put(key, value string) {
	e.t.Helper()
	_, err := e.kv.Txn(context.Background(), nil, []kv.Op{kv.Put("c/"+key, []byte(value))})
	must(e.t, err)
}

func (e *env) remove(key string) {
	e.t.Helper()
	_, err := e.kv.Txn(context.Background(), nil, []kv.Op{kv.Delete("c/" + key)})
	must(e.t, err)
}

// eventually waits for what the catalog's watch brings.
func (e *env) eventually(ok func() bool) {
	e.t.Helper()
	for range 500 {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	e.t.Fatal("it never came true")
}

type offsetsLog struct{ p *partition.Partition }

func (l offsetsLog) Append(ctx context.Context, b record.Batch, done func(int64, error)) {
	l.p.AppendInternal(ctx, b, func(a partition.Appended) { done(a.BaseOffset, a.Err) })
}

func (l offsetsLog) AppendMarker(ctx context.Context, m record.Marker, version int16, done func(int64, error)) {
	l.p.WriteMarker(ctx, m, version, func(a partition.Appended) { done(a.BaseOffset, a.Err) })
}

func (l offsetsLog) Offsets() (start, high int64) {
	o := l.p.Offsets()
	return o.LogStart, o.HW
}

func (l offsetsLog) Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) error {
	_, err := l.p.Read(ctx, dst, from, maxBytes, true, false)
	return err
}

type topics struct{ catalog *catalog.Catalog }

func (t topics) TopicByName(name string) (coord.Topic, bool) {
	return coordTopic(t.catalog.Topic(name))
}

func (t topics) TopicByID(id topic.ID) (coord.Topic, bool) {
	return coordTopic(t.catalog.TopicByID(id))
}

func (t topics) TopicNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, found := range t.catalog.Topics() {
			if !yield(found.Name) {
				return
			}
		}
	}
}

// TopicsVersion changes all the time, so that groups always look.
func (t topics) TopicsVersion() int64 { return time.Now().UnixNano() }

func coordTopic(t *catalog.Topic, ok bool) (coord.Topic, bool) {
	if !ok {
		return coord.Topic{}, false
	}
	return coord.Topic{Name: t.Name, ID: t.ID, Partitions: int32(len(t.Partitions))}, true
}

// logCounter counts messages by text and drops them.
type logCounter struct {
	mu     sync.Mutex
	counts map[string]int
}

func (l *logCounter) Enabled(context.Context, slog.Level) bool { return true }
func (l *logCounter) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logCounter) WithGroup(string) slog.Handler            { return l }
func (l *logCounter) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[string]int)
	}
	l.counts[r.Message]++
	return nil
}

func (l *logCounter) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[message]
}

// conn is a client that speaks the protocol by hand.
type conn struct {
	t    testing.TB
	nc   net.Conn
	next int32
}

func (e *env) dial() *conn { return e.dialFor(e.t) }

// dialFor is dial for a test that shares the env.
func (e *env) dialFor(t testing.TB) *conn {
	t.Helper()
	nc, err := net.Dial("tcp", e.addr)
	must(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	must(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
	return &conn{t: t, nc: nc}
}

// send writes a request and returns its correlation id.
func (c *conn) send(key, version int16, body []byte) int32 {
	c.t.Helper()
	c.next++
	h := wire.AppendHeader(nil, wire.RequestHeader{Key: key, Version: version, CorrelationID: c.next, ClientID: "test"})
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(h)+len(body)))
	_, err := c.nc.Write(append(append(frame, h...), body...))
	must(c.t, err)
	return c.next
}

// receive reads one reply and returns its correlation id and body.
func (c *conn) receive(key, version int16) (int32, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		return 0, nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.nc, frame); err != nil {
		return 0, nil, err
	}
	head := len(wire.AppendResponseHeader(nil, key, version, 0))
	return int32(binary.BigEndian.Uint32(frame)), frame[head:], nil
}

// ask sends q at a version and decodes the reply.
func ask[P kmsg.Response](c *conn, version int16, q kmsg.Request) P {
	c.t.Helper()
	q.SetVersion(version)
	id := c.send(q.Key(), version, q.AppendTo(nil))
	return receive[P](c, id, version, q)
}

func receive[P kmsg.Response](c *conn, id int32, version int16, q kmsg.Request) P {
	c.t.Helper()
	got, body, err := c.receive(q.Key(), version)
	must(c.t, err)
	if got != id {
		c.t.Fatalf("reply %d to request %d", got, id)
	}
	resp := q.ResponseKind()
	resp.SetVersion(version)
	must(c.t, resp.ReadFrom(body))
	return resp.(P)
}

// closed checks that the broker closes the connection without an answer.
func (c *conn) closed(key, version int16) {
	c.t.Helper()
	if _, body, err := c.receive(key, version); err == nil {
		c.t.Fatalf("answered with % x, not closed", body)
	}
}

func (e *env) create(name string, partitions int32, configs map[string]string) *catalog.Topic {
	e.t.Helper()
	t, err := e.catalog.CreateTopic(context.Background(), catalog.NewTopic{Name: name, Partitions: partitions, ReplicationFactor: -1, Configs: configs})
	must(e.t, err)
	return t
}

// batch builds a record batch with n records.
func batch(t testing.TB, n int, o record.Options) []byte {
	t.Helper()
	b := record.NewBuilder(o)
	for i := range n {
		must(t, b.Add(time.Now().UnixMilli(), []byte("key"), []byte("value-"+strconv.Itoa(i))))
	}
	out, err := b.Build(nil)
	must(t, err)
	return out
}

func produceRequest(t *catalog.Topic, index int32, records []byte) *kmsg.ProduceRequest {
	q := kmsg.NewPtrProduceRequest()
	q.Acks, q.TimeoutMillis = -1, 1000
	in := kmsg.NewProduceRequestTopic()
	in.Topic, in.TopicID = t.Name, t.ID
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = index, records
	in.Partitions = append(in.Partitions, p)
	q.Topics = append(q.Topics, in)
	return q
}

// produce appends n records and returns the base offset.
func (c *conn) produce(t *catalog.Topic, index int32, n int) int64 {
	c.t.Helper()
	resp := ask[*kmsg.ProduceResponse](c, 9, produceRequest(t, index, batch(c.t, n, record.Options{})))
	p := resp.Topics[0].Partitions[0]
	c.wantCode(p.ErrorCode, kerr.None)
	return p.BaseOffset
}

func (c *conn) wantCode(got int16, want kerr.Code) {
	c.t.Helper()
	if kerr.Code(got) != want {
		c.t.Fatalf("code %s, want %s", kerr.Code(got).Name(), want.Name())
	}
}

// fetchRequest asks for partitions 0 to n-1 of a topic from offset on.
func fetchRequest(t *catalog.Topic, n int32, offset int64) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.ReplicaID, q.MaxWaitMillis, q.MinBytes, q.MaxBytes = -1, 0, 1, 1<<20
	q.SessionID, q.SessionEpoch = 0, -1
	in := kmsg.NewFetchRequestTopic()
	in.Topic, in.TopicID = t.Name, t.ID
	for i := range n {
		in.Partitions = append(in.Partitions, fetchPartition(i, offset))
	}
	q.Topics = append(q.Topics, in)
	return q
}

func fetchPartition(index int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, offset, 1<<20
	p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
	return p
}

// offsets lists base and last offset of the batches in a run of records.
func offsets(t testing.TB, records []byte) (out []int64) {
	t.Helper()
	for len(records) > 0 {
		b, rest, err := record.Next(records)
		must(t, err)
		out = append(out, b.BaseOffset(), b.LastOffset())
		records = rest
	}
	return out
}
