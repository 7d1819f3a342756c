package api

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/wire"
)

func TestFetchEveryVersion(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 2, nil)
	c := e.dial()
	c.produce(tp, 1, 3)
	c.produce(tp, 1, 2)
	for version := wire.FetchMin; version <= wire.FetchMax; version++ {
		resp := ask[*kmsg.FetchResponse](c, version, fetchRequest(tp, 2, 0))
		out := resp.Topics[0]
		if version < 13 && out.Topic != "orders" || version >= 13 && out.TopicID != tp.ID {
			t.Errorf("v%d: topic %q %v", version, out.Topic, out.TopicID)
		}
		empty, full := out.Partitions[0], out.Partitions[1]
		if empty.ErrorCode != 0 || empty.HighWatermark != 0 || len(empty.RecordBatches) != 0 {
			t.Errorf("v%d: %+v", version, empty)
		}
		if full.ErrorCode != 0 || full.HighWatermark != 5 || full.LastStableOffset != 5 || version >= 5 && full.LogStartOffset != 0 ||
			version >= 11 && full.PreferredReadReplica != -1 || !slices.Equal(offsets(t, full.RecordBatches), []int64{0, 2, 3, 4}) {
			t.Errorf("v%d: %+v", version, full)
		}
	}
}

func TestIsolationLevels(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	c.produce(tp, 0, 1)
	for level, null := range map[int8]bool{0: true, 1: false} {
		q := fetchRequest(tp, 1, 0)
		q.IsolationLevel = level
		p := ask[*kmsg.FetchResponse](c, 12, q).Topics[0].Partitions[0]
		if (p.AbortedTransactions == nil) != null || len(p.RecordBatches) == 0 {
			t.Errorf("level %d: %+v", level, p)
		}
	}
}

// Gotcha 6: topics by id; a recreated topic is another one.
func TestGotcha06TopicIDs(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	c.produce(tp, 0, 1)
	must(t, e.catalog.DeleteTopic(t.Context(), tp.ID))
	again := e.create("orders", 1, nil)
	if tp.ID == again.ID {
		t.Fatal("same id")
	}
	c.wantCode(ask[*kmsg.FetchResponse](c, 13, fetchRequest(tp, 1, 0)).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicID)
	c.wantCode(ask[*kmsg.FetchResponse](c, 13, fetchRequest(again, 1, 0)).Topics[0].Partitions[0].ErrorCode, kerr.None)
	c.wantCode(ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 1, 0)).Topics[0].Partitions[0].ErrorCode, kerr.None)
	c.wantCode(ask[*kmsg.ProduceResponse](c, 13, produceRequest(tp, 0, batch(t, 1, record.Options{}))).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicID)
	m := kmsg.NewPtrMetadataRequest()
	for _, id := range [][16]byte{tp.ID, again.ID} {
		in := kmsg.NewMetadataRequestTopic()
		in.TopicID = id
		m.Topics = append(m.Topics, in)
	}
	resp := ask[*kmsg.MetadataResponse](c, 12, m)
	c.wantCode(resp.Topics[0].ErrorCode, kerr.UnknownTopicID)
	if resp.Topics[0].Topic != nil || resp.Topics[0].TopicID != tp.ID || *resp.Topics[1].Topic != "orders" {
		t.Errorf("%+v", resp.Topics)
	}
	c.wantCode(ask[*kmsg.MetadataResponse](c, 10, m).Topics[0].ErrorCode, kerr.InvalidRequest)
}

// A session that is asked for by id sees the deletion of its topic.
func TestGotcha06SessionOfADeletedTopic(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	q := fetchRequest(tp, 1, 0)
	q.SessionEpoch = 0
	first := ask[*kmsg.FetchResponse](c, 13, q)
	must(t, e.catalog.DeleteTopic(t.Context(), tp.ID))
	next := kmsg.NewPtrFetchRequest()
	next.SessionID, next.SessionEpoch, next.MaxBytes, next.MinBytes, next.MaxWaitMillis = first.SessionID, 1, 1<<20, 1, 60_000
	resp := ask[*kmsg.FetchResponse](c, 13, next)
	c.wantCode(resp.Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicID)
	byName := *next
	byName.SessionEpoch = 2
	c.wantCode(ask[*kmsg.FetchResponse](c, 12, &byName).ErrorCode, kerr.FetchSessionTopicIDError)
}

// Gotcha 7: sessions (KIP-227), from the first full request to the last.
func TestGotcha07FetchSession(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 3, nil)
	c := e.dial()
	c.produce(tp, 0, 1)
	full := fetchRequest(tp, 3, 0)
	full.SessionEpoch = 0
	first := ask[*kmsg.FetchResponse](c, 12, full)
	if first.SessionID == 0 || len(first.Topics[0].Partitions) != 3 {
		t.Fatalf("session %d, %+v", first.SessionID, first.Topics)
	}
	epoch := int32(0)
	next := func(change func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
		t.Helper()
		epoch++
		q := kmsg.NewPtrFetchRequest()
		q.ReplicaID, q.MinBytes, q.MaxBytes, q.SessionID, q.SessionEpoch = -1, 1, 1<<20, first.SessionID, epoch
		change(q)
		resp := ask[*kmsg.FetchResponse](c, 12, q)
		c.wantCode(resp.ErrorCode, kerr.None)
		return resp
	}
	told := func(resp *kmsg.FetchResponse) (out []string) {
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				out = append(out, fmt.Sprintf("%d@%d", p.Partition, p.HighWatermark))
			}
		}
		return out
	}
	want := func(resp *kmsg.FetchResponse, parts ...string) {
		t.Helper()
		if got := told(resp); !slices.Equal(got, parts) || resp.SessionID != first.SessionID {
			t.Errorf("session %d, told %v, want %v", resp.SessionID, got, parts)
		}
	}
	add := func(parts ...kmsg.FetchRequestTopicPartition) func(*kmsg.FetchRequest) {
		return func(q *kmsg.FetchRequest) {
			q.Topics = []kmsg.FetchRequestTopic{{Topic: "orders", Partitions: parts}}
		}
	}
	want(next(func(*kmsg.FetchRequest) {}), "0@1") // its record again: the offset did not move
	want(next(add(fetchPartition(0, 1))))          // moved past it: nothing new anywhere
	c.produce(tp, 1, 2)
	want(next(func(*kmsg.FetchRequest) {}), "1@2")
	c.produce(tp, 0, 1)
	want(next(add(fetchPartition(0, 1), fetchPartition(1, 0))), "0@2", "1@2") // both have records
	// A partition that is forgotten is answered no more.
	want(next(func(q *kmsg.FetchRequest) {
		q.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "orders", Partitions: []int32{0, 7}}}
	}), "1@2")
	// An error is told each time, and its end too.
	want(next(add(fetchPartition(2, 99), fetchPartition(1, 2))), "2@-1")
	want(next(func(*kmsg.FetchRequest) {}), "2@-1")
	want(next(add(fetchPartition(2, 0))), "2@0")
	want(next(func(*kmsg.FetchRequest) {}))
	// Forgetting everything ends the session.
	epoch++
	q := kmsg.NewPtrFetchRequest()
	q.SessionID, q.SessionEpoch, q.MaxBytes = first.SessionID, epoch, 1
	q.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "orders", Partitions: []int32{1, 2}}}
	if resp := ask[*kmsg.FetchResponse](c, 12, q); resp.SessionID != 0 || resp.ErrorCode != 0 {
		t.Errorf("%+v", resp)
	}
	q.ForgottenTopics, q.SessionEpoch = nil, epoch+1
	c.wantCode(ask[*kmsg.FetchResponse](c, 12, q).ErrorCode, kerr.FetchSessionIDNotFound)
}

func TestGotcha07SessionErrors(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	open := func() int32 {
		q := fetchRequest(tp, 1, 0)
		q.SessionEpoch = 0
		return ask[*kmsg.FetchResponse](c, 12, q).SessionID
	}
	f := func(id, epoch int32, want kerr.Code) *kmsg.FetchResponse {
		t.Helper()
		q := kmsg.NewPtrFetchRequest()
		q.SessionID, q.SessionEpoch, q.MaxBytes = id, epoch, 1
		resp := ask[*kmsg.FetchResponse](c, 12, q)
		if kerr.Code(resp.ErrorCode) != want || want != kerr.None && (resp.SessionID != 0 || len(resp.Topics) != 0) {
			t.Errorf("session %d, epoch %d: %s, %+v", id, epoch, kerr.Code(resp.ErrorCode).Name(), resp)
		}
		return resp
	}
	id := open()
	f(id+1, 1, kerr.FetchSessionIDNotFound)
	f(id, 2, kerr.InvalidFetchSessionEpoch)
	f(id, 1, kerr.None)
	f(id, 1, kerr.InvalidFetchSessionEpoch)
	f(id, 2, kerr.None)
	f(0, 5, kerr.FetchSessionIDNotFound)
	f(id, -1, kerr.None) // ends it
	f(id, 3, kerr.FetchSessionIDNotFound)
	// A full request in place of a session opens another.
	id = open()
	q := fetchRequest(tp, 1, 0)
	q.SessionID, q.SessionEpoch = id, 0
	if again := ask[*kmsg.FetchResponse](c, 12, q).SessionID; again == id || again == 0 {
		t.Errorf("session %d after %d", again, id)
	}
	f(id, 1, kerr.FetchSessionIDNotFound)
}

// Gotcha 7: bytes are limited in request order, with one batch in any case, and never in parts.
func TestGotcha07SizeLimits(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 3, nil)
	c := e.dial()
	size := len(batch(t, 10, record.Options{}))
	for i := range int32(3) {
		for range 3 {
			c.produce(tp, i, 10)
		}
	}
	f := func(maxBytes, partMax int, order []int32, want ...int) {
		t.Helper()
		q := fetchRequest(tp, 0, 0)
		q.MaxBytes = int32(maxBytes)
		for _, i := range order {
			p := fetchPartition(i, 0)
			p.PartitionMaxBytes = int32(partMax)
			q.Topics[0].Partitions = append(q.Topics[0].Partitions, p)
		}
		resp := ask[*kmsg.FetchResponse](c, 12, q)
		var got []int
		for k, p := range resp.Topics[0].Partitions {
			if p.Partition != order[k] || p.ErrorCode != 0 || p.HighWatermark != 30 {
				t.Errorf("%+v", p)
			}
			got = append(got, len(offsets(t, p.RecordBatches))/2)
		}
		if !slices.Equal(got, want) {
			t.Errorf("max %d, %d per partition: batches %v, want %v", maxBytes, partMax, got, want)
		}
	}
	all := []int32{0, 1, 2}
	f(1<<20, 1<<20, all, 3, 3, 3)
	f(4*size, 1<<20, all, 3, 1, 0)
	f(4*size, 1<<20, []int32{2, 0, 1}, 3, 1, 0)
	f(1<<20, 2*size, all, 2, 2, 2)
	f(1<<20, size+size/2, all, 1, 1, 1)
	f(1, 1<<20, all, 1, 0, 0)
	f(0, 0, all, 1, 0, 0)
	f(-5, -5, all, 1, 0, 0)
	f(1<<20, 1, all, 1, 0, 0)
}

// In a session the partitions that had records come last next time: nobody starves.
func TestGotcha07SessionRotates(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 3, nil)
	c := e.dial()
	for i := range int32(3) {
		c.produce(tp, i, 10)
	}
	q := fetchRequest(tp, 3, 0)
	q.SessionEpoch, q.MaxBytes = 0, 1
	resp := ask[*kmsg.FetchResponse](c, 12, q)
	seen := map[int32]bool{}
	for epoch := int32(1); epoch <= 3; epoch++ {
		next := kmsg.NewPtrFetchRequest()
		next.SessionID, next.SessionEpoch, next.MaxBytes, next.MinBytes = resp.SessionID, epoch, 1, 1
		for _, p := range ask[*kmsg.FetchResponse](c, 12, next).Topics[0].Partitions {
			if len(p.RecordBatches) > 0 {
				seen[p.Partition] = true
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("served only %v", seen)
	}
}

// Gotcha 7: a fetch waits for MinBytes or MaxWait, and is woken by an append.
func TestGotcha07LongPoll(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 2, nil)
	reader, writer := e.dial(), e.dial()
	q := fetchRequest(tp, 2, 0)
	q.MaxWaitMillis = 20_000
	q.SetVersion(12)
	start := time.Now()
	id := reader.send(1, 12, q.AppendTo(nil))
	e.eventually(func() bool { return len(e.api.parked) == 1 })
	writer.produce(tp, 1, 1)
	resp := receive[*kmsg.FetchResponse](reader, id, 12, q)
	if len(resp.Topics[0].Partitions[1].RecordBatches) == 0 || time.Since(start) > 10*time.Second {
		t.Errorf("%+v after %s", resp.Topics, time.Since(start))
	}

	// Too little for MinBytes: it comes when the time is up, with what there is.
	q = fetchRequest(tp, 2, 0)
	q.MaxWaitMillis, q.MinBytes = 300, 1<<20
	start = time.Now()
	resp = ask[*kmsg.FetchResponse](reader, 12, q)
	if d := time.Since(start); d < 250*time.Millisecond || len(resp.Topics[0].Partitions[1].RecordBatches) == 0 {
		t.Errorf("after %s: %+v", d, resp.Topics)
	}

	// Enough for MinBytes only after several appends.
	q.MaxWaitMillis = 20_000
	q.MinBytes = int32(3 * len(batch(t, 1, record.Options{})))
	id = reader.send(1, 12, q.AppendTo(nil))
	e.eventually(func() bool { return len(e.api.parked) == 1 })
	writer.produce(tp, 0, 1)
	writer.produce(tp, 1, 1)
	resp = receive[*kmsg.FetchResponse](reader, id, 12, q)
	n := len(resp.Topics[0].Partitions[0].RecordBatches) + len(resp.Topics[0].Partitions[1].RecordBatches)
	if n < int(q.MinBytes) {
		t.Errorf("%d bytes, want %d", n, q.MinBytes)
	}

	// An error ends the wait at once, MinBytes 0 never waits.
	q = fetchRequest(tp, 1, 99)
	q.MaxWaitMillis = 20_000
	reader.wantCode(ask[*kmsg.FetchResponse](reader, 12, q).Topics[0].Partitions[0].ErrorCode, kerr.OffsetOutOfRange)
	q = fetchRequest(tp, 1, 1)
	q.MaxWaitMillis, q.MinBytes = 20_000, 0
	ask[*kmsg.FetchResponse](reader, 12, q)
}

func fetchWaiting(name string, offset int64) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.Version, q.ReplicaID, q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.SessionEpoch = 12, -1, 30_000, 1, 1<<20, -1
	q.Topics = []kmsg.FetchRequestTopic{{Topic: name, Partitions: []kmsg.FetchRequestTopicPartition{fetchPartition(0, offset)}}}
	return q
}

// A fetch that waits at a partition which is deleted hears of it.
func TestLongPollEndsWithItsTopic(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	q := fetchWaiting("orders", 0)
	id := c.send(1, 12, q.AppendTo(nil))
	e.eventually(func() bool { return len(e.api.parked) == 1 })
	must(t, e.catalog.DeleteTopic(t.Context(), tp.ID))
	resp := receive[*kmsg.FetchResponse](c, id, 12, q)
	if code := kerr.Code(resp.Topics[0].Partitions[0].ErrorCode); code != kerr.UnknownTopicOrPartition && code != kerr.NotLeaderOrFollower {
		t.Errorf("%s", code.Name())
	}
}

// A5: beyond the bound of parked fetches a client is answered at once and throttled.
func TestParkedFetchesAreBounded(t *testing.T) {
	e := newEnv(t, options{config: Config{MaxParkedFetches: 1}})
	e.create("orders", 1, nil)
	first, second := e.dial(), e.dial()
	q := fetchWaiting("orders", 0)
	first.send(1, 12, q.AppendTo(nil))
	e.eventually(func() bool { return len(e.api.parked) == 1 })
	resp := ask[*kmsg.FetchResponse](second, 12, q)
	if resp.ThrottleMillis != int32(throttleUnparked.Milliseconds()) {
		t.Errorf("throttle %d", resp.ThrottleMillis)
	}
}

// A5: what is read and not yet written stays within the budget; the rest waits or comes smaller.
func TestFetchBytesAreBounded(t *testing.T) {
	e := newEnv(t, options{config: Config{FetchBytes: 1 << 20}})
	tp := e.create("orders", 8, map[string]string{"max.message.bytes": "10000000"})
	c := e.dial()
	for i := range int32(8) {
		ask[*kmsg.ProduceResponse](c, 9, produceRequest(tp, i, largeBatch(t, 200<<10)))
	}
	resp := ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 8, 0))
	total := 0
	for _, p := range resp.Topics[0].Partitions {
		total += len(p.RecordBatches)
	}
	if total == 0 || total > 1<<20 {
		t.Errorf("%d bytes", total)
	}
	// One batch larger than the whole budget still goes through.
	ask[*kmsg.ProduceResponse](c, 9, produceRequest(tp, 0, largeBatch(t, 3<<20)))
	q := fetchRequest(tp, 1, 1)
	q.MaxBytes = 1
	if p := ask[*kmsg.FetchResponse](c, 12, q).Topics[0].Partitions[0]; len(p.RecordBatches) < 3<<20 {
		t.Errorf("%d bytes", len(p.RecordBatches))
	}
	// While somebody else holds it all, a fetch comes back empty rather than hanging.
	must(t, e.api.budget.Acquire(t.Context(), 1<<20))
	empty := ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 8, 0)).Topics[0].Partitions[0]
	if len(empty.RecordBatches) != 0 || empty.ErrorCode != 0 || empty.HighWatermark != 2 {
		t.Errorf("%+v", empty)
	}
	e.api.budget.Release(1 << 20)
}

// Gotcha 8: whole batches come, beginning with the one that holds the offset; at the end nothing.
func TestGotcha08BatchesAreWhole(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	c.produce(tp, 0, 5)
	c.produce(tp, 0, 5)
	for offset, want := range map[int64][]int64{0: {0, 4, 5, 9}, 3: {0, 4, 5, 9}, 5: {5, 9}, 7: {5, 9}, 10: nil} {
		p := ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 1, offset)).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || !slices.Equal(offsets(t, p.RecordBatches), want) {
			t.Errorf("from %d: %v, want %v", offset, offsets(t, p.RecordBatches), want)
		}
	}
	for _, offset := range []int64{-1, -9, 11, 1 << 62} {
		p := ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 1, offset)).Topics[0].Partitions[0]
		c.wantCode(p.ErrorCode, kerr.OffsetOutOfRange)
		if p.HighWatermark != -1 || p.LastStableOffset != -1 || p.LogStartOffset != -1 {
			t.Errorf("%+v", p)
		}
	}
}

func TestLeaderEpochsInFetch(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	c.produce(tp, 0, 5)
	f := func(current, last int32, offset int64) kmsg.FetchResponseTopicPartition {
		q := fetchRequest(tp, 1, offset)
		p := &q.Topics[0].Partitions[0]
		p.CurrentLeaderEpoch, p.LastFetchedEpoch = current, last
		return ask[*kmsg.FetchResponse](c, 12, q).Topics[0].Partitions[0]
	}
	c.wantCode(f(0, -1, 0).ErrorCode, kerr.None)
	c.wantCode(f(1, -1, 0).ErrorCode, kerr.UnknownLeaderEpoch)
	c.wantCode(f(0, 0, 5).ErrorCode, kerr.None)
	c.wantCode(f(0, 3, 5).ErrorCode, kerr.OffsetOutOfRange)
	p := f(0, 0, 7) // the client has more than the epoch has
	if p.ErrorCode != 0 || p.DivergingEpoch.Epoch != 0 || p.DivergingEpoch.EndOffset != 5 || len(p.RecordBatches) != 0 {
		t.Errorf("%+v", p)
	}
}
