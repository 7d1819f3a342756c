package node_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/base/object"
	"millrace/express/catalog"
	"millrace/express/objectlog"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// newObjectCluster is several brokers whose logs are in the object store.
func newObjectCluster(t *testing.T, brokers int) *cluster {
	t.Helper()
	return newClusterOf(t, catalog.LogObject, brokers, kv.NewMemory(), object.NewMemory(clock.System{}),
		func(int32) disk.FS { return disk.NewMem() })
}

// Grant notes the lease, so that a test can have it run out.
func (w *wire) Grant(ctx context.Context, ttl time.Duration) (kv.Lease, error) {
	w.still()
	l, err := w.KV.Grant(ctx, ttl)
	if err == nil {
		w.mu.Lock()
		w.lease = l
		l = &seeming{l, w}
		w.mu.Unlock()
	}
	return l, err
}

// expire ends the lease of a broker, as if its time were over.
func (c *cluster) expire(m *member) {
	m.wire.mu.Lock()
	lease := m.wire.lease
	m.wire.mu.Unlock()
	if mem, ok := c.kv.(*kv.Memory); ok {
		mem.ExpireLease(lease.ID())
		return
	}
	must(c.t, lease.Close(context.Background()))
}

// kill cuts a broker off for ever, and ends its process and its lease.
func (c *cluster) kill(id int32) {
	c.t.Helper()
	m := c.members[id]
	delete(c.members, id)
	c.dead = append(c.dead, m)
	m.wire.mu.Lock()
	m.wire.cut = true
	m.wire.mu.Unlock()
	c.expire(m)
	go func() { _ = m.stop() }() // it fails, as it must
}

// left waits until nothing of a topic is a broker's, or still to be imported.
func (c *cluster) left(t *catalog.Topic, from ...int32) {
	c.t.Helper()
	c.find(t.Name, func(now *catalog.Topic) bool {
		for _, p := range now.Partitions {
			for _, id := range from {
				if p.Owner == id {
					return false
				}
			}
			if p.Log != "" || p.Tail != "" {
				return false
			}
		}
		return true
	})
}

// TestDeadBrokerIsTakenOver kills the owner of everything under load: the others go on where it was, and nothing that was
// acknowledged is lost (N9).
func TestDeadBrokerIsTakenOver(t *testing.T) {
	c := newObjectCluster(t, 3)
	const partitions = 2 // so few that the controller lets them be
	tp := c.topic("t", partitions, 1)
	tr := c.produce("t", partitions, 300)
	for _, victim := range []int32{1, 2} {
		for i := range partitions {
			c.move(tp, i, victim)
		}
		tr.await(200)
		tr.takeGap()
		began := time.Now()
		c.kill(victim)
		c.left(tp, victim)
		t.Logf("taken over after %v", time.Since(began))
		tr.await(200)
		t.Logf("longest time without acks %v", tr.takeGap())
		c.restart(victim)
	}
	t.Logf("%d records", tr.end())
}

// TestBrokerComesBackWithAnEmptyDisk: its log is in the store, so it needs none of what was on the disk, nor others.
func TestBrokerComesBackWithAnEmptyDisk(t *testing.T) {
	c := newObjectCluster(t, 1)
	c.topic("t", 2, 1)
	tr := c.produce("t", 2, 300)
	for range 3 {
		tr.await(100)
		c.kill(1)
		c.restart(1)
	}
	t.Logf("%d records", tr.end())
}

// restart starts a broker that was killed, at its old address, on an empty disk.
func (c *cluster) restart(id int32) {
	c.t.Helper()
	at := slices.IndexFunc(c.dead, func(m *member) bool { return m.cfg.ID == id })
	old := c.dead[at]
	c.dead = slices.Delete(c.dead, at, at+1)
	_ = old.stop() // it fails, as it must; the address is free then
	c.members[id] = old
	c.start(id, disk.NewMem())
}

// TestTakeOverSurvivesCrashesOfTheHeir kills an owner, and its heir at each of the heir's writes after that, with the write
// done or not; and then whoever has it (N9). Nothing that was acknowledged is lost.
func TestTakeOverSurvivesCrashesOfTheHeir(t *testing.T) {
	for at := 1; at <= 12; at++ {
		after, next := at%2 == 0, int32(2+at/2%2*2) // who goes on: the heir itself, started anew, or another broker
		t.Run(fmt.Sprintf("done=%v,write=%d,next=%d", after, at, next), func(t *testing.T) {
			t.Parallel()
			c := newObjectCluster(t, 3)
			c.members[3].drain <- struct{}{} // clients find the others by it; it takes nothing
			tp := c.topic("t", 1, 1)
			tr := c.produce("t", 1, 300)
			c.move(tp, 0, 2)
			c.move(tp, 0, 1)
			tr.await(50)
			heir := c.members[2]
			fired := make(chan struct{})
			heir.wire.mu.Lock()
			heir.wire.at, heir.wire.after, heir.wire.fired = heir.wire.steps+at, after, sync.OnceFunc(func() { close(fired) })
			heir.wire.mu.Unlock()
			c.kill(1)
			<-fired
			if next == 2 {
				c.kill(2)
			}
			c.start(next, disk.NewMem())
			if next != 2 {
				c.kill(2)
			}
			c.left(tp, 1)
			tr.await(20)
			tr.end()
		})
	}
}

// pause has a broker's process stand still, and its lease run out; resume lets it go on, as if nothing had been.
func (c *cluster) pause(id int32) (resume func()) {
	c.t.Helper()
	m := c.members[id]
	back := make(chan struct{})
	m.wire.mu.Lock()
	m.wire.back = back
	m.wire.mu.Unlock()
	c.expire(m)
	return sync.OnceFunc(func() {
		m.wire.mu.Lock()
		m.wire.back = nil
		m.wire.mu.Unlock()
		close(back)
	})
}

// TestPausedBrokerWakesUp has owners stand still at any moment, also in the middle of a write to the store, until others have
// taken over and gone on. When they go on, they acknowledge nothing that is not there, and end (N10).
func TestPausedBrokerWakesUp(t *testing.T) {
	for _, keepLease := range []bool{false, true} { // that it seems to be valid must not matter
		t.Run(fmt.Sprintf("valid lease=%v", keepLease), func(t *testing.T) {
			t.Parallel()
			c := newObjectCluster(t, 3)
			const partitions = 2
			tp := c.topic("t", partitions, 1)
			tr := c.produce("t", partitions, 300)
			for round, victim := range []int32{1, 2, 3, 1} {
				for i := range partitions {
					c.move(tp, i, victim)
				}
				tr.await(100 + 7*round)
				m := c.members[victim]
				m.wire.mu.Lock()
				m.wire.forever = keepLease
				m.wire.mu.Unlock()
				resume := c.pause(victim)
				t.Cleanup(resume)
				c.left(tp, victim)
				resume()
				if err := <-m.ended; err == nil {
					t.Error("the broker that was replaced ended without an error")
				} else if !errors.Is(err, objectlog.ErrSealed) {
					t.Error(err)
				}
				delete(c.members, victim)
				c.dead = append(c.dead, m)
				tr.await(100)
				c.restart(victim)
			}
			t.Logf("%d records", tr.end())
		})
	}
}

// TestReplacedBrokerDoesNotRegisterAgain has an owner stand still, on which nobody asks for anything, until another has taken over and
// sealed its log. When it goes on, it ends; it does not come back first, to be given partitions that it cannot serve (N10).
func TestReplacedBrokerDoesNotRegisterAgain(t *testing.T) {
	c := newObjectCluster(t, 2)
	tp := c.topic("t", 1, 1)
	tr := c.produce("t", 1, 300)
	tr.await(10)
	t.Logf("%d records", tr.end())
	m := c.members[1]
	resume := c.pause(1)
	t.Cleanup(resume)
	c.left(tp, 1)
	const key = "clusters/c/catalog/brokers/1"
	_, rev, err := c.kv.List(t.Context(), key)
	must(t, err)
	watching, stop := context.WithCancel(t.Context())
	events := c.kv.Watch(watching, key, rev+1)
	resume()
	select {
	case err = <-m.ended:
	case e := <-events:
		t.Errorf("it registers again, at revision %d", e.Item.ModRev)
		err = m.stop()
	}
	if !errors.Is(err, catalog.ErrReplaced) || !errors.Is(err, objectlog.ErrSealed) {
		t.Errorf("the broker that was replaced ends with %v", err)
	}
	stop()
	for e := range events { // until the watch has ended
		t.Errorf("it registers again, at revision %d", e.Item.ModRev)
	}
	delete(c.members, 1)
	c.dead = append(c.dead, m)
}

// TestReplacedOwnerTellsNoEnds has an owner stand still until its lease is over: from then on it says nothing of where its partitions
// end, which its heirs may have moved (N11), by no request that tells of it. Before, it does.
func TestReplacedOwnerTellsNoEnds(t *testing.T) {
	t.Parallel()
	c := newObjectCluster(t, 2)
	tp := c.topic("t", 1, 1)
	tr := c.produce("t", 1, 300, kgo.ProduceRequestTimeout(time.Second), kgo.RequestTimeoutOverhead(time.Second)) // what stands still does not answer
	tr.await(10)
	cl := c.client()
	defer cl.Close()
	for what, ask := range endsToldOf(t, tp.ID) {
		if code := ask(cl.Broker(1)); code != 0 && (what != "fetch beyond the end" || code != kerr.OffsetOutOfRange) {
			t.Fatalf("%s: the owner answers %v", what, code)
		}
	}
	m := c.members[1]
	resume := c.pause(1)
	t.Cleanup(resume)
	c.left(tp, 1)
	tr.await(10)
	for what, ask := range endsToldOf(t, tp.ID) {
		for until := time.Now().Add(20 * time.Second); ask(cl.Broker(1)) != kerr.NotLeaderOrFollower; {
			if time.Now().After(until) {
				t.Fatalf("%s: a replaced owner tells where its partition ends", what)
			}
		}
	}
	resume()
	<-m.ended
	delete(c.members, 1)
	c.dead = append(c.dead, m)
	tr.end()
}

// endsToldOf are the requests whose answers tell where partition 0 of topic t ends, each as what asks a broker and returns the code.
func endsToldOf(t *testing.T, id topic.ID) map[string]func(*kgo.Broker) kerr.Code {
	send := func(b *kgo.Broker, q kmsg.Request) kmsg.Response {
		r, err := b.Request(t.Context(), q)
		must(t, err)
		return r
	}
	return map[string]func(*kgo.Broker) kerr.Code{
		"list offsets": func(b *kgo.Broker) kerr.Code {
			q := kmsg.NewPtrListOffsetsRequest()
			q.ReplicaID = -1
			in, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp = -1
			in.Topic, in.Partitions = "t", append(in.Partitions, p)
			q.Topics = append(q.Topics, in)
			return kerr.Code(send(b, q).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode)
		},
		"end of an epoch": func(b *kgo.Broker) kerr.Code {
			q := kmsg.NewPtrOffsetForLeaderEpochRequest()
			q.ReplicaID = -1
			in, p := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.CurrentLeaderEpoch, p.LeaderEpoch = -1, 1
			in.Topic, in.Partitions = "t", append(in.Partitions, p)
			q.Topics = append(q.Topics, in)
			return kerr.Code(send(b, q).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0].ErrorCode)
		},
		"fetch beyond the end": func(b *kgo.Broker) kerr.Code {
			q := kmsg.NewPtrFetchRequest()
			q.ReplicaID, q.MaxBytes = -1, 1<<20
			in, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
			p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<40, 1<<20, -1
			in.Topic, in.TopicID, in.Partitions = "t", id, append(in.Partitions, p)
			q.Topics = append(q.Topics, in)
			return kerr.Code(send(b, q).(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode)
		},
	}
}

// seeming is a lease that seems to hold on, where the test wants that.
type seeming struct {
	kv.Lease
	w *wire
}

func (l *seeming) Deadline() time.Time {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.forever {
		return time.Now().Add(time.Hour)
	}
	return l.Lease.Deadline()
}

// Close is not heard of a broker that is cut off: its lease runs out.
func (l *seeming) Close(ctx context.Context) error {
	if l.w.isCut() {
		return errCut
	}
	return l.Lease.Close(ctx)
}

// many is how many partitions TestManyPartitionsAreTakenOver has; 10,000 is the figure that is told.
var many = flag.Int("partitions", 300, "partitions that are taken over at once, over etcd and files")

// TestManyPartitionsAreTakenOver kills one of three brokers, which owns all, and logs how long it takes until they are imported,
// and until each has taken a record again.
func TestManyPartitionsAreTakenOver(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	e, err := etcd.StartEmbedded(ctx, etcd.EmbeddedConfig{Dir: filepath.Join(dir, "etcd")})
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	store, err := etcd.Dial(ctx, []string{e.Endpoint()}, etcd.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	objects, err := object.OpenFiles(ctx, disk.OS(dir), "store")
	must(t, err)
	t.Cleanup(func() { must(t, objects.Close()) })
	// The one that dies is alone when the topics are made.
	c := newClusterOf(t, catalog.LogObject, 1, store, objects, func(int32) disk.FS { return disk.NewMem() })
	const topics = 10
	cl := c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(*many+1))
	admin := kadm.NewClient(cl)
	for i := range topics {
		_, err := admin.CreateTopic(ctx, int32(*many/topics), 1, nil, fmt.Sprint("t", i))
		must(t, err)
	}
	write := func() {
		t.Helper()
		var all []*kgo.Record
		for i := range *many {
			all = append(all, &kgo.Record{Topic: fmt.Sprint("t", i%topics), Partition: int32(i / topics), Value: []byte("v")})
		}
		must(t, cl.ProduceSync(ctx, all...).FirstErr())
	}
	write()
	cl.Close()
	c.start(2, disk.NewMem())
	c.start(3, disk.NewMem())
	cl = c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(*many+1))
	t.Cleanup(cl.Close)
	admin = kadm.NewClient(cl)
	_, err = admin.ListEndOffsets(ctx) // so that it knows all brokers
	must(t, err)
	began := time.Now()
	c.kill(1)
	for i := range topics {
		c.left(c.find(fmt.Sprint("t", i), func(*catalog.Topic) bool { return true }), 1)
	}
	imported := time.Since(began)
	write()
	t.Logf("%d partitions: imported after %v, all written to after %v", *many, imported, time.Since(began))
	ends, err := admin.ListEndOffsets(ctx)
	must(t, err)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil || o.Offset != 2 && o.Topic[0] == 't' {
			t.Errorf("%+v", o)
		}
	})
}
