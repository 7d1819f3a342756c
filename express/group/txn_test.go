package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// logged is a durable append, as a replay finds it.
type logged struct {
	records []machine.Record
	tx      *machine.Producer
	marker  *machine.Marker
}

// bench is a machine whose appends are settled one at a time.
type bench struct {
	t       *rapid.T
	m       *Machine
	now     time.Time
	ticket  Ticket
	queue   []machine.Append
	log     []logged
	answers map[Ticket]kerr.Code
}

func newBench(t *rapid.T) *bench {
	return &bench{
		t: t, m: New(DefaultLimits(), func(p string) string { return p }, nil), now: time.UnixMilli(1_700_000_000_000),
		answers: map[Ticket]kerr.Code{},
	}
}

func (b *bench) effects(e Effects) {
	b.queue = append(b.queue, e.Appends...)
	for _, r := range e.Replies {
		code := kerr.None
		switch r := r.Response.(type) {
		case *kmsg.TxnOffsetCommitResponse:
			code = kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
		case *kmsg.OffsetCommitResponse:
			code = kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
		case *kmsg.EndTxnResponse:
			code = kerr.Code(r.ErrorCode)
		case *kmsg.DeleteGroupsResponse:
			code = kerr.Code(r.Groups[0].ErrorCode)
		}
		b.answers[r.Ticket] = code
	}
}

// settle gives the oldest append its outcome.
func (b *bench) settle(code kerr.Code) {
	a := b.queue[0]
	b.queue = b.queue[1:]
	if code == kerr.None {
		b.log = append(b.log, logged{a.Records, a.Transaction, a.Marker})
	}
	b.effects(b.m.Appended(b.now, a.ID, code))
}

func (b *bench) settleAll() {
	for len(b.queue) > 0 {
		b.settle(kerr.None)
	}
}

func (b *bench) txnCommit(group string, producer int64, partition int32, offset int64) {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Group, req.ProducerID, req.Generation = group, producer, -1
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = "t"
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	b.ticket++
	b.effects(b.m.TxnOffsetCommit(b.now, b.ticket, req))
}

func (b *bench) commit(group string, partition int32, offset int64) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = "t"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	b.ticket++
	b.effects(b.m.OffsetCommit(b.now, b.ticket, req))
}

func (b *bench) end(producer int64, commit bool) {
	b.ticket++
	b.effects(b.m.EndTransaction(b.now, b.ticket, machine.Marker{Producer: machine.Producer{ID: producer}, Commit: commit}))
}

func (b *bench) deleteGroup(group string) {
	b.ticket++
	b.effects(b.m.DeleteGroups(b.now, b.ticket, []string{group}))
}

// text is all that can be asked about offsets.
func text(m *Machine) string {
	var out string
	for _, g := range []string{"g", "h"} {
		for p := range int32(3) {
			tp := TopicPartition{Topic: "t", Partition: p}
			o, ok := m.Offset(g, tp)
			out += fmt.Sprintln(g, p, o.Offset, ok, m.Unstable(g, tp))
		}
	}
	return out
}

// offsetModel keeps the durable log and works everything out from its beginning.
func offsetModel(log []logged) string {
	type place struct {
		group     string
		partition int32
	}
	type value struct {
		offset int64
		order  int
	}
	committed, pending := map[place]value{}, map[int64]map[place]value{}
	for order, l := range log {
		if l.marker != nil {
			for at, v := range pending[l.marker.ID] {
				if now, ok := committed[at]; l.marker.Commit && (!ok || now.order < v.order) {
					committed[at] = v
				}
			}
			delete(pending, l.marker.ID)
			continue
		}
		for _, r := range l.records {
			var k kmsg.OffsetCommitKey
			if r.Key[1] != offsetKey || k.ReadFrom(r.Key) != nil {
				continue
			}
			at := place{k.Group, k.Partition}
			var v kmsg.OffsetCommitValue
			switch {
			case r.Value == nil:
				delete(committed, at)
				for _, places := range pending {
					delete(places, at)
				}
			case v.ReadFrom(r.Value) != nil:
			case l.tx == nil:
				committed[at] = value{v.Offset, order}
			default:
				if pending[l.tx.ID] == nil {
					pending[l.tx.ID] = map[place]value{}
				}
				pending[l.tx.ID][at] = value{v.Offset, order}
			}
		}
	}
	var out string
	for _, g := range []string{"g", "h"} {
		for p := range int32(3) {
			v, ok := committed[place{g, p}]
			unstable := slices.ContainsFunc([]int64{1, 2, 3}, func(id int64) bool { _, held := pending[id][place{g, p}]; return held })
			out += fmt.Sprintln(g, p, v.offset, ok, unstable)
		}
	}
	return out
}

// TestTransactionalOffsets: whatever mix of commits, transactions, deletions and failures of the log, the machine says
// what its durable records say, and so does one that replays them.
func TestTransactionalOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(t)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			group := rapid.SampledFrom([]string{"g", "g", "h"}).Draw(t, "group")
			partition, producer := rapid.Int32Range(0, 2).Draw(t, "partition"), rapid.Int64Range(1, 3).Draw(t, "producer")
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0, 1, 2:
				b.txnCommit(group, producer, partition, int64(i+1))
			case 3, 4:
				b.commit(group, partition, int64(i+1))
			case 5, 6:
				b.end(producer, rapid.Bool().Draw(t, "commit"))
			case 7:
				b.deleteGroup(group)
			default:
				if len(b.queue) > 0 {
					b.settle(rapid.SampledFrom([]kerr.Code{kerr.None, kerr.None, kerr.KafkaStorageError}).Draw(t, "outcome"))
				}
			}
			if got, want := text(b.m), offsetModel(b.log); got != want {
				// A group that is being deleted shows nothing until that is durable or has failed.
				if !slices.ContainsFunc([]string{"g", "h"}, func(g string) bool { return b.m.groups[g] != nil && b.m.groups[g].state == Dead }) {
					t.Fatalf("machine\n%s\nlog\n%s", got, want)
				}
			}
		}
		b.settleAll()
		want := offsetModel(b.log)
		if got := text(b.m); got != want {
			t.Fatalf("machine\n%s\nlog\n%s", got, want)
		}
		again := newBench(t)
		for _, l := range b.log {
			if l.marker != nil {
				again.m.ReplayMarker(*l.marker)
			}
			for _, r := range l.records {
				if err := again.m.Replay(r, l.tx); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := text(again.m); got != want {
			t.Fatalf("replayed\n%s\nlog\n%s", got, want)
		}
		if len(b.answers) != int(b.ticket) {
			t.Fatalf("%d of %d requests answered", len(b.answers), b.ticket)
		}
	})
}
