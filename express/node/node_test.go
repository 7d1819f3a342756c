package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/engine"
	"millrace/express/node"
)

// env is a broker over a disk, a store and an etcd in memory; the sockets are real.
type env struct {
	t     *testing.T
	cfg   node.Config
	world node.World
}

func newEnv(t *testing.T) *env {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	return &env{
		t:   t,
		cfg: node.Config{ID: 1, Zone: "zone-a", Listen: address, Dir: "broker", Prefix: "clusters/c/"},
		world: node.World{
			KV: kv.NewMemory(), Objects: object.NewMemory(clock.System{}), FS: disk.NewMem(), Clock: clock.System{},
			Log: slog.New(slog.DiscardHandler),
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run starts the broker and waits until it answers; stop ends it and returns what Run did.
func (e *env) run() (stop func() error) {
	e.t.Helper()
	stop, _ = e.runWatched()
	return stop
}

// runWatched is run; ended also hears how the broker ended, if it does so by itself or not.
func (e *env) runWatched() (stop func() error, ended <-chan error) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, told := make(chan error, 1), make(chan error, 1)
	go func() {
		err := node.Run(ctx, e.cfg, e.world)
		told <- err
		done <- err
	}()
	stop = func() error {
		cancel()
		return <-done
	}
	probing, end := context.WithTimeout(context.Background(), 20*time.Second)
	defer end()
	for {
		attempt, cancelAttempt := context.WithTimeout(probing, time.Second)
		err := node.Engine{}.Probe(attempt, engine.NodeSpec{Listen: e.cfg.Listen})
		cancelAttempt()
		if err == nil {
			return stop, told
		}
		select {
		case err := <-done:
			e.t.Fatalf("the broker ended: %v", err)
		case <-probing.Done():
			e.t.Fatalf("the broker does not answer: %v", err)
		default:
		}
	}
}

func (e *env) client(opts ...kgo.Opt) *kgo.Client {
	e.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(e.cfg.Listen)}, opts...)...)
	must(e.t, err)
	e.t.Cleanup(c.Close)
	return c
}

func (e *env) admin() *kadm.Client { return kadm.NewClient(e.client()) }

// produce sends records numbered from from on and returns when all are acknowledged.
func (e *env) produce(topic string, from, n int) {
	e.t.Helper()
	c := e.client(kgo.DefaultProduceTopic(topic))
	var records []*kgo.Record
	for i := range n {
		records = append(records, kgo.StringRecord(fmt.Sprint(from+i)))
	}
	must(e.t, c.ProduceSync(context.Background(), records...).FirstErr())
}

// consume reads n records and checks that they are 0 to n-1.
func (e *env) consume(topic string, n int) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := e.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for got := 0; got < n; {
		fetches := c.PollFetches(ctx)
		must(e.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != fmt.Sprint(got) || r.Offset != int64(got) {
				e.t.Fatalf("record %d is %q at offset %d", got, r.Value, r.Offset)
			}
			got++
		})
	}
}

func TestBrokerKeepsEverythingOverRestarts(t *testing.T) {
	e := newEnv(t)
	ctx := context.Background()
	stop := e.run()
	_, err := e.admin().CreateTopic(ctx, 1, -1, nil, "t")
	must(t, err)
	for round := range 3 {
		e.produce("t", round*100, 100)
		e.consume("t", (round+1)*100)
		must(t, e.admin().CommitAllOffsets(ctx, "g", offsets("t", int64(round))))
		must(t, stop())
		stop = e.run()
		committed, err := e.admin().FetchOffsets(ctx, "g")
		must(t, err)
		if o, _ := committed.Lookup("t", 0); o.At != int64(round) {
			t.Fatalf("after restart %d the group stands at %d", round, o.At)
		}
		topics, err := e.admin().ListTopics(ctx)
		must(t, err)
		if epoch := topics["t"].Partitions[0].LeaderEpoch; epoch != int32(round+1) {
			t.Errorf("leader epoch %d after restart %d", epoch, round)
		}
	}
	must(t, stop())
}

func offsets(topic string, at int64) kadm.Offsets {
	o := kadm.Offsets{}
	o.AddOffset(topic, 0, at, -1)
	return o
}

func TestBrokerShowsWhatItIs(t *testing.T) {
	e := newEnv(t)
	stop := e.run()
	configs, err := e.admin().DescribeBrokerConfigs(context.Background(), 1)
	must(t, err)
	shown := map[string]string{}
	for _, c := range configs[0].Configs {
		shown[c.Key] = c.MaybeValue()
	}
	for key, want := range map[string]string{"broker.id": "1", "broker.rack": "zone-a", "listeners": "PLAINTEXT://" + e.cfg.Listen} {
		if shown[key] != want {
			t.Errorf("%s is shown as %q, want %q", key, shown[key], want)
		}
	}
	must(t, stop())
}

func TestDeletedTopicLeavesNothingAndMayComeBack(t *testing.T) {
	e := newEnv(t)
	ctx := context.Background()
	stop := e.run()
	for range 3 {
		_, err := e.admin().CreateTopic(ctx, 4, 1, nil, "t")
		must(t, err)
		e.produce("t", 0, 50)
		_, err = e.admin().DeleteTopics(ctx, "t")
		must(t, err)
	}
	must(t, stop())
	stop = e.run()
	items, _, err := e.world.KV.List(ctx, "clusters/c/manifests/")
	must(t, err)
	if len(items) != 0 {
		t.Errorf("%d manifests of deleted topics are left", len(items))
	}
	must(t, stop())
}

func TestSecondBrokerOnADirectoryIsRefused(t *testing.T) {
	e := newEnv(t)
	stop := e.run()
	other := e.cfg
	other.Listen = "127.0.0.1:0"
	if err := node.Run(context.Background(), other, e.world); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("error %v, want disk.ErrLocked", err)
	}
	must(t, stop())
}

func TestLostEtcdDoesNotTakeTheDataWithIt(t *testing.T) {
	e := newEnv(t)
	stop := e.run()
	must(t, stop())
	e.world.KV = kv.NewMemory()
	if err := node.Run(context.Background(), e.cfg, e.world); !errors.Is(err, node.ErrForeignStore) {
		t.Errorf("error %v, want node.ErrForeignStore", err)
	}
}

// A directory that only one host has passes for the cluster's store until something is handed over: it is refused at the start.
func TestStoreThatIsNotSharedIsRefused(t *testing.T) {
	e := newEnv(t)
	stop := e.run()
	other, own := e.cfg, e.world
	other.ID, other.Listen = 2, "127.0.0.1:0"
	own.Objects, own.FS = object.NewMemory(clock.System{}), disk.NewMem()
	limited, cancel := context.WithTimeout(context.Background(), 20*time.Second) // it would run on
	defer cancel()
	if err := node.Run(limited, other, own); !errors.Is(err, node.ErrNotShared) {
		t.Errorf("error %v, want node.ErrNotShared", err)
	}
	must(t, stop())
	stop = e.run()
	must(t, stop())
}

func TestProbeWantsAKafkaAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		_, _ = io.Copy(io.Discard, conn)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := (node.Engine{}).Probe(ctx, engine.NodeSpec{Listen: l.Addr().String()}); err == nil {
		t.Error("a web server passes for a broker")
	}
}
