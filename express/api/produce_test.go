package api

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/wire"
)

func TestProduceEveryVersion(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 2, nil)
	c := e.dial()
	next := int64(0)
	for version := wire.ProduceMin; version <= wire.ProduceMax; version++ {
		for _, acks := range []int16{-1, 1} {
			q := produceRequest(tp, 1, batch(t, 3, record.Options{}))
			q.Acks = acks
			resp := ask[*kmsg.ProduceResponse](c, version, q)
			out := resp.Topics[0]
			if version < 13 && out.Topic != "orders" || version >= 13 && out.TopicID != tp.ID {
				t.Errorf("v%d: topic %q %v", version, out.Topic, out.TopicID)
			}
			p := out.Partitions[0]
			if p.ErrorCode != 0 || p.BaseOffset != next || p.Partition != 1 || p.LogAppendTime != -1 || version >= 5 && p.LogStartOffset != 0 {
				t.Errorf("v%d: %+v", version, p)
			}
			next += 3
		}
	}
}

// E7, A2: what is refused has offset -1 everywhere, and its own code.
func TestRefusedProduceHasNoOffset(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	e.create("compacted", 1, map[string]string{"cleanup.policy": "compact"})
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	c := e.dial()
	good := batch(t, 1, record.Options{})
	corrupt := slices.Clone(good)
	corrupt[len(corrupt)-1] ^= 1
	old := slices.Clone(good)
	old[16] = 1
	count := slices.Clone(good)
	binary.BigEndian.PutUint32(count[57:], 77)
	fixed := record.Batch(count)
	binary.BigEndian.PutUint32(count[17:], fixed.ComputeCRC())
	f := func(name string, want kerr.Code, change func(*kmsg.ProduceRequest)) {
		t.Helper()
		q := produceRequest(tp, 0, good)
		change(q)
		resp := ask[*kmsg.ProduceResponse](c, 9, q)
		p := resp.Topics[0].Partitions[0]
		if kerr.Code(p.ErrorCode) != want || p.BaseOffset != -1 || p.LogAppendTime != -1 {
			t.Errorf("%s: code %s, offset %d, time %d; want %s", name, kerr.Code(p.ErrorCode).Name(), p.BaseOffset, p.LogAppendTime, want.Name())
		}
	}
	records := func(b []byte) func(*kmsg.ProduceRequest) {
		return func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions[0].Records = b }
	}
	to := func(name string) func(*kmsg.ProduceRequest) {
		return func(q *kmsg.ProduceRequest) { q.Topics[0].Topic = name }
	}
	f("acks 2", kerr.InvalidRequiredAcks, func(q *kmsg.ProduceRequest) { q.Acks = 2 })
	f("acks -2", kerr.InvalidRequiredAcks, func(q *kmsg.ProduceRequest) { q.Acks = -2 })
	f("unknown topic", kerr.UnknownTopicOrPartition, to("nope"))
	f("empty name", kerr.UnknownTopicOrPartition, to(""))
	f("internal topic", kerr.InvalidTopicException, to("__consumer_offsets"))
	f("unknown partition", kerr.UnknownTopicOrPartition, func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions[0].Partition = 1 })
	f("negative partition", kerr.UnknownTopicOrPartition, func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions[0].Partition = -1 })
	f("null records", kerr.InvalidRecord, records(nil))
	f("empty records", kerr.InvalidRecord, records([]byte{}))
	f("two batches", kerr.InvalidRecord, records(append(slices.Clone(good), good...)))
	f("corrupt", kerr.CorruptMessage, records(corrupt))
	f("truncated", kerr.InvalidRecord, records(good[:len(good)-3]))
	f("old magic", kerr.InvalidRecord, records(old))
	f("wrong count", kerr.InvalidRecord, records(count))
	f("too large", kerr.MessageTooLarge, records(largeBatch(t, 1<<20+100)))
	f("transactional without an id", kerr.TransactionalIDAuthorizationFailed,
		records(batch(t, 1, record.Options{Transactional: true, Producer: &record.Producer{ID: 1}})))
	b := record.NewBuilder(record.Options{})
	must(t, b.Add(1, nil, []byte("v")))
	keyless, err := b.Build(nil)
	must(t, err)
	f("keyless to a compacted topic", kerr.InvalidRecord, func(q *kmsg.ProduceRequest) {
		to("compacted")(q)
		records(keyless)(q)
	})

	q := produceRequest(tp, 0, good)
	q.Topics[0].TopicID = [16]byte{1}
	p := ask[*kmsg.ProduceResponse](c, 13, q).Topics[0]
	if kerr.Code(p.Partitions[0].ErrorCode) != kerr.UnknownTopicID || p.TopicID != [16]byte{1} {
		t.Errorf("unknown id: %+v", p)
	}
	if base := c.produce(tp, 0, 1); base != 0 {
		t.Errorf("something refused was written: next offset is %d", base)
	}
}

func largeBatch(t *testing.T, n int) []byte {
	t.Helper()
	b := record.NewBuilder(record.Options{})
	must(t, b.Add(1, []byte("k"), make([]byte, n)))
	out, err := b.Build(nil)
	must(t, err)
	return out
}

// zstd came with Produce 7 and Fetch 10 (KIP-110): older versions do not send it, but get it.
func TestZstdByVersion(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	packed := e.create("packed", 1, map[string]string{"compression.type": "zstd"})
	c := e.dial()
	q := produceRequest(tp, 0, batch(t, 1, record.Options{Codec: record.Zstd}))
	p := ask[*kmsg.ProduceResponse](c, 6, q).Topics[0].Partitions[0]
	if kerr.Code(p.ErrorCode) != kerr.UnsupportedCompressionType || p.BaseOffset != -1 {
		t.Errorf("%+v", p)
	}
	c.wantCode(ask[*kmsg.ProduceResponse](c, 7, q).Topics[0].Partitions[0].ErrorCode, kerr.None)
	c.wantCode(ask[*kmsg.FetchResponse](c, 9, fetchRequest(packed, 1, 0)).Topics[0].Partitions[0].ErrorCode, kerr.None)
	c.wantCode(ask[*kmsg.FetchResponse](c, 10, fetchRequest(packed, 1, 0)).Topics[0].Partitions[0].ErrorCode, kerr.None)
}

func TestProduceTellsWhatIsWrongWithRecords(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	p := ask[*kmsg.ProduceResponse](c, 8, produceRequest(tp, 0, nil)).Topics[0].Partitions[0]
	if p.ErrorMessage == nil || !strings.Contains(*p.ErrorMessage, "one batch: none") {
		t.Errorf("%+v", p)
	}
}

// KIP-467: from version 8 on each record in error is told; single ones are only where the batch itself is right.
func TestProduceListsTheRecordsInError(t *testing.T) {
	e := newEnv(t, options{})
	compacted := e.create("compacted", 1, map[string]string{"cleanup.policy": "compact"})
	c := e.dial()
	b := record.NewBuilder(record.Options{Codec: record.LZ4})
	for _, key := range [][]byte{[]byte("k"), nil, []byte("k"), nil} {
		must(t, b.Add(1, key, []byte("v")))
	}
	sent, err := b.Build(nil)
	must(t, err)
	for _, version := range []int16{7, 8, 13} {
		q := produceRequest(compacted, 0, sent)
		q.Topics[0].TopicID = compacted.ID
		p := ask[*kmsg.ProduceResponse](c, version, q).Topics[0].Partitions[0]
		c.wantCode(p.ErrorCode, kerr.InvalidRecord)
		if version < 8 {
			continue
		}
		if len(p.ErrorRecords) != 2 || p.ErrorRecords[0].RelativeOffset != 1 || p.ErrorRecords[1].RelativeOffset != 3 ||
			p.ErrorRecords[0].ErrorMessage == nil || !strings.Contains(*p.ErrorRecords[0].ErrorMessage, "key") || p.ErrorMessage == nil {
			t.Errorf("version %d: %+v", version, p)
		}
	}
	q := produceRequest(compacted, 0, sent[:len(sent)-1])
	if p := ask[*kmsg.ProduceResponse](c, 8, q).Topics[0].Partitions[0]; p.ErrorRecords != nil || kerr.Code(p.ErrorCode) != kerr.InvalidRecord {
		t.Errorf("half a batch: %+v", p)
	}
}

// Gotcha 3: librdkafka drops compression unless Produce v0 is listed; served it is not.
func TestGotcha03ProduceVersion0IsListedAndRefused(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for _, k := range ask[*kmsg.ApiVersionsResponse](c, 3, softwareRequest("kcat", "1.7.1")).ApiKeys {
		if k.ApiKey == 0 && (k.MinVersion != 0 || k.MaxVersion != 13) {
			t.Errorf("Produce is listed as %d-%d", k.MinVersion, k.MaxVersion)
		}
	}
	for version := range int16(3) {
		c := e.dial()
		c.send(0, version, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
		c.closed(0, version)
	}
}

// Gotcha 9: acks 0 gets no answer, and its error closes the connection.
func TestGotcha09Acks0IsNotAnswered(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	q := produceRequest(tp, 0, batch(t, 2, record.Options{}))
	q.Acks = 0
	q.SetVersion(9)
	c.send(0, 9, q.AppendTo(nil))
	// The next answer is that of the next request.
	if base := c.produce(tp, 0, 1); base != 2 {
		t.Errorf("base offset %d, want 2", base)
	}
	q.Topics[0].Topic = "nope"
	c.send(0, 9, q.AppendTo(nil))
	c.closed(0, 9)
}

// Gotcha 15: NOT_LEADER_OR_FOLLOWER comes with the leader and its address (KIP-951).
func TestGotcha15NotLeaderNamesTheLeader(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 3, nil)
	e.moveAway("orders", 1, 2, 9)
	e.moveAway("orders", 2, 2, 8)
	c := e.dial()
	q := produceRequest(tp, 1, batch(t, 1, record.Options{}))
	for _, index := range []int32{2, 0} {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = index, batch(t, 1, record.Options{})
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, p)
	}
	resp := ask[*kmsg.ProduceResponse](c, 10, q)
	parts := resp.Topics[0].Partitions
	c.wantCode(parts[0].ErrorCode, kerr.NotLeaderOrFollower)
	c.wantCode(parts[2].ErrorCode, kerr.None)
	if l := parts[0].CurrentLeader; l.LeaderID != 2 || l.LeaderEpoch != 9 {
		t.Errorf("leader %+v", l)
	}
	if l := parts[2].CurrentLeader; l.LeaderID != -1 {
		t.Errorf("leader of what went well: %+v", l)
	}
	if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != 2 || resp.Brokers[0].Host != "other" || resp.Brokers[0].Port != 9002 {
		t.Errorf("brokers %+v", resp.Brokers)
	}

	f := fetchRequest(tp, 3, 0)
	fr := ask[*kmsg.FetchResponse](c, 16, f)
	c.wantCode(fr.Topics[0].Partitions[1].ErrorCode, kerr.NotLeaderOrFollower)
	if l := fr.Topics[0].Partitions[1].CurrentLeader; l.LeaderID != 2 || l.LeaderEpoch != 9 || len(fr.Brokers) != 1 || fr.Brokers[0].Host != "other" {
		t.Errorf("fetch: %+v, %+v", l, fr.Brokers)
	}
}

// Gotcha 15: a full disk is KAFKA_STORAGE_ERROR, which clients retry, and goes over when room returns.
func TestGotcha15DiskFullIsRetriable(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	c.produce(tp, 0, 1)
	e.full.Store(true)
	p := ask[*kmsg.ProduceResponse](c, 9, produceRequest(tp, 0, batch(t, 1, record.Options{}))).Topics[0].Partitions[0]
	c.wantCode(p.ErrorCode, kerr.KafkaStorageError)
	if p.BaseOffset != -1 || !kerr.KafkaStorageError.Retriable() {
		t.Errorf("%+v", p)
	}
	if f := ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 1, 0)); len(f.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Error("reads do not go on")
	}
	e.full.Store(false)
	if base := c.produce(tp, 0, 1); base != 1 {
		t.Errorf("base offset %d, want 1", base)
	}
}

// Many requests on one connection are worked on together and answered in order.
func TestProduceIsPipelinedInOrder(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 4, nil)
	c := e.dial()
	q := produceRequest(tp, 0, nil)
	q.SetVersion(9)
	const n = 200
	var ids []int32
	for i := range n {
		q.Topics[0].Partitions[0].Partition = int32(i % 4)
		q.Topics[0].Partitions[0].Records = batch(t, 2, record.Options{})
		ids = append(ids, c.send(0, 9, q.AppendTo(nil)))
	}
	for i := range n {
		p := receive[*kmsg.ProduceResponse](c, ids[i], 9, q).Topics[0].Partitions[0]
		if want := int64(i / 4 * 2); p.Partition != int32(i%4) || p.BaseOffset != want {
			t.Fatalf("request %d: partition %d, offset %d, want %d", i, p.Partition, p.BaseOffset, want)
		}
	}
}

// E7: a producer's retry is answered with the first offset; a gap is refused.
func TestIdempotentProduce(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	id := ask[*kmsg.InitProducerIDResponse](c, 5, kmsg.NewPtrInitProducerIDRequest())
	c.wantCode(id.ErrorCode, kerr.None)
	send := func(sequence int32) kmsg.ProduceResponseTopicPartition {
		o := record.Options{Producer: &record.Producer{ID: id.ProducerID, Epoch: id.ProducerEpoch, Sequence: sequence}}
		return ask[*kmsg.ProduceResponse](c, 9, produceRequest(tp, 0, batch(t, 2, o))).Topics[0].Partitions[0]
	}
	for _, f := range []struct {
		sequence int32
		base     int64
		code     kerr.Code
	}{{0, 0, kerr.None}, {2, 2, kerr.None}, {0, 0, kerr.None}, {6, -1, kerr.OutOfOrderSequenceNumber}, {4, 4, kerr.None}} {
		if p := send(f.sequence); p.BaseOffset != f.base || kerr.Code(p.ErrorCode) != f.code {
			t.Errorf("sequence %d: offset %d, %s", f.sequence, p.BaseOffset, kerr.Code(p.ErrorCode).Name())
		}
	}
}

func TestLogAppendTimeIsAnswered(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	c := e.dial()
	p := ask[*kmsg.ProduceResponse](c, 9, produceRequest(tp, 0, batch(t, 1, record.Options{}))).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.LogAppendTime <= 0 {
		t.Errorf("%+v", p)
	}
}

// A request may name topics and partitions many times; each mention is answered at its place.
func TestProduceAnswersEachMention(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	q := produceRequest(tp, 0, batch(t, 1, record.Options{}))
	q.Topics[0].Partitions = append(q.Topics[0].Partitions, q.Topics[0].Partitions[0])
	q.Topics = append(q.Topics, q.Topics[0])
	resp := ask[*kmsg.ProduceResponse](c, 9, q)
	var got []int64
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			got = append(got, p.BaseOffset)
		}
	}
	if !slices.Equal(got, []int64{0, 1, 2, 3}) {
		t.Errorf("offsets %v", got)
	}
	if empty := ask[*kmsg.ProduceResponse](c, 9, &kmsg.ProduceRequest{Acks: -1}); len(empty.Topics) != 0 {
		t.Errorf("%+v", empty)
	}
}
