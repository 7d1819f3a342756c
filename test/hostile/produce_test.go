package hostile

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/test/harness"
)

// Topics of the tests with batches: the broker looks into a batch in some of them only.
const (
	plainTopic     = "plain"     // batches are kept as they come
	compactedTopic = "compacted" // every record needs a key
	lz4Topic       = "lz4"       // batches are compressed anew
	stampedTopic   = "stamped"   // LogAppendTime
)

// verdict is what a batch is answered with.
type verdict struct {
	name    string
	topic   string // empty: plainTopic
	version int16  // of Produce; 0: 9
	records []byte
	want    kerr.Code
	kafka   kerr.Code // what Apache Kafka says, where millrace differs on purpose
	why     string    // it differs; empty: it does not
}

// neverAnswered stands for Kafka's code where it does not answer at all; it is not asked then.
const neverAnswered = kerr.Code(-100)

// wrongBatches are batches that must be refused, and a few that only look as if.
func wrongBatches(t testing.TB) []verdict {
	cases := []verdict{
		{name: "right", records: good(3).encode()},
		{name: "null", records: nil, want: kerr.InvalidRecord, kafka: neverAnswered, why: "it does not expect null"},
		{name: "empty", records: []byte{}, want: kerr.InvalidRecord},
		{name: "wrong checksum", records: good(3).with(func(b *batch) { b.crc = func(c uint32) uint32 { return c ^ 1 } }).encode(), want: kerr.CorruptMessage},
		{name: "more records counted", records: good(3).with(func(b *batch) { b.NumRecords = 4; b.LastOffsetDelta = 3 }).encode(), want: kerr.InvalidRecord},
		{name: "fewer records counted", records: good(3).with(func(b *batch) { b.NumRecords = 2; b.LastOffsetDelta = 1 }).encode(), want: kerr.InvalidRecord},
		{name: "count and last offset differ", records: good(3).with(func(b *batch) { b.LastOffsetDelta = 7 }).encode(), want: kerr.InvalidRecord},
		{name: "two billion records", records: good(3).with(func(b *batch) { b.NumRecords = math.MaxInt32; b.LastOffsetDelta = math.MaxInt32 - 1 }).encode(), want: kerr.InvalidRecord},
		{name: "negative count", records: good(3).with(func(b *batch) { b.NumRecords = -3; b.LastOffsetDelta = -4 }).encode(), want: kerr.InvalidRecord},
		{name: "no records", records: good(0).encode(), want: kerr.InvalidRecord},
		{name: "message of magic 0", records: messageSet(0), want: kerr.InvalidRecord},
		{name: "message of magic 1", records: messageSet(1), want: kerr.InvalidRecord},
		{name: "magic 3", records: good(3).with(func(b *batch) { b.Magic = 3 }).encode(), want: kerr.CorruptMessage},
		{name: "magic -1", records: good(3).with(func(b *batch) { b.Magic = -1 }).encode(), want: kerr.CorruptMessage},
		{name: "control batch", records: good(1).with(func(b *batch) { b.Attributes = 1 << 5 }).encode(), want: kerr.InvalidRecord},
		{name: "unknown codec", records: good(1).with(func(b *batch) { b.Attributes = 5 }).encode(), want: kerr.UnsupportedCompressionType, kafka: kerr.UnknownServerError, why: "it has no better name for it"},
		{name: "log append time by a client", records: good(1).with(func(b *batch) { b.Attributes = 1 << 3 }).encode()},
		{name: "length negative", records: good(1).with(func(b *batch) { b.length = func(int32) int32 { return -1 } }).encode(), want: kerr.CorruptMessage},
		{name: "length too small", records: good(1).with(func(b *batch) { b.length = func(int32) int32 { return 20 } }).encode(), want: kerr.CorruptMessage},
		{name: "length beyond the bytes", records: good(1).with(func(b *batch) { b.length = func(n int32) int32 { return n + 1 } }).encode(), want: kerr.InvalidRecord},
		{name: "length two billion", records: good(1).with(func(b *batch) { b.length = func(int32) int32 { return math.MaxInt32 } }).encode(), want: kerr.CorruptMessage, kafka: kerr.UnknownServerError, why: "its sum overflows"},
		{name: "cut off in the header", records: good(1).encode()[:40], want: kerr.InvalidRecord},
		{name: "garbage", records: bytes.Repeat([]byte{0x5a}, 500), want: kerr.CorruptMessage},
		{name: "two batches", records: append(good(1).encode(), good(1).encode()...), want: kerr.InvalidRecord},
		{name: "base offset 5", records: good(1).with(func(b *batch) { b.FirstOffset = 5 }).encode(), want: kerr.InvalidRecord},
		{name: "an hour and more ahead", records: good(1).with(func(b *batch) {
			b.FirstTimestamp += 2 * time.Hour.Milliseconds()
			b.MaxTimestamp = b.FirstTimestamp
		}).encode(), want: kerr.InvalidTimestamp},
		{name: "too large", records: good(1).with(func(b *batch) { b.Records = oneRecord(0, nil, make([]byte, 1<<20)) }).encode(), want: kerr.MessageTooLarge},
		{name: "transactional without a producer", records: good(1).with(func(b *batch) { b.Attributes = 1 << 4 }).encode(), want: kerr.TransactionalIDAuthorizationFailed},
		{name: "sequence negative", records: good(1).with(func(b *batch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, 0, -5 }).encode(), want: kerr.InvalidRecord},
		{name: "no key in a compacted topic", topic: compactedTopic, records: good(1).with(func(b *batch) { b.Records = oneRecord(0, nil, []byte("v")) }).encode(), want: kerr.InvalidRecord},
		{name: "empty key in a compacted topic", topic: compactedTopic, records: good(1).with(func(b *batch) { b.Records = oneRecord(0, []byte{}, []byte("v")) }).encode()},
		{name: "record of a negative length", records: good(1).with(func(b *batch) { b.Records[0] = 0x01 }).encode(), want: kerr.InvalidRecord},
		{name: "record beyond the batch", records: good(1).with(func(b *batch) { b.Records[0] = 0x7e }).encode(), want: kerr.InvalidRecord},
		{name: "offsets that fall", records: good(2).with(func(b *batch) {
			b.Records = append(oneRecord(1, []byte("k"), nil), oneRecord(0, []byte("k"), nil)...)
		}).encode(), want: kerr.InvalidRecord, kafka: kerr.None, why: "it does not look"},
		{name: "zstd in version 6", version: 6, records: good(1).compressed(record.Zstd, codecs(t)[record.Zstd](good(1).Records)).encode(), want: kerr.UnsupportedCompressionType},
	}
	const better = "it has no better name for it"
	for codec, compress := range codecs(t) {
		for _, topic := range []string{compactedTopic, lz4Topic, stampedTopic} {
			name := func(what string) string { return fmt.Sprintf("%v in %s: %s", codec, topic, what) }
			payload := compress(good(3).Records)
			cases = append(cases, verdict{name: name("right"), topic: topic, records: good(3).compressed(codec, payload).encode()})
			if topic == stampedTopic || topic == lz4Topic && codec == record.LZ4 {
				continue // nobody looks into it
			}
			cases = append(cases,
				verdict{name: name("cut off"), topic: topic, records: good(3).compressed(codec, payload[:len(payload)-5]).encode(), want: kerr.InvalidRecord, kafka: kerr.UnknownServerError, why: better},
				verdict{name: name("garbage"), topic: topic, records: good(3).compressed(codec, bytes.Repeat([]byte{0x5a}, 100)).encode(), want: kerr.InvalidRecord, kafka: kerr.UnknownServerError, why: better},
			)
			empty := verdict{name: name("empty"), topic: topic, records: good(3).compressed(codec, nil).encode(), want: kerr.InvalidRecord}
			if codec != record.Zstd {
				empty.kafka, empty.why = kerr.UnknownServerError, better
			}
			cases = append(cases, empty)
		}
	}
	return cases
}

// produceRequest asks to append records to partition 0 of a topic.
func produceRequest(version int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	request := kmsg.NewPtrProduceRequest()
	request.Version, request.Acks, request.TimeoutMillis = version, -1, 10_000
	t, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	t.Topic, p.Partition, p.Records = topic, partition, records
	t.Partitions = append(t.Partitions, p)
	request.Topics = append(request.Topics, t)
	return request
}

// batches sends every wrong batch and compares the answers.
func batches(t *testing.T, c *cluster) {
	c.topic(plainTopic, 1)
	c.topic(compactedTopic, 1, "cleanup.policy=compact")
	c.topic(lz4Topic, 1, "compression.type=lz4")
	c.topic(stampedTopic, 1, "message.timestamp.type=LogAppendTime")
	for _, v := range wrongBatches(t) {
		if v.topic == "" {
			v.topic = plainTopic
		}
		if v.version == 0 {
			v.version = 9
		}
		want := v.want
		if c.Engine == harness.ApacheKafka && v.why != "" {
			want = v.kafka
		}
		if want == neverAnswered {
			continue
		}
		got := answered(t, c, produceRequest(v.version, v.topic, 0, v.records))
		if got != want {
			t.Errorf("%s: answered with %v, want %v", v.name, got, want)
		}
	}
}

// answered sends a Produce request for one partition and returns its error code.
func answered(t testing.TB, c *cluster, request *kmsg.ProduceRequest) kerr.Code {
	t.Helper()
	response, err := ask[*kmsg.ProduceResponse](c.connect(t), request)
	if err != nil {
		t.Errorf("produce to %s: %v", request.Topics[0].Topic, err)
		return -1
	}
	return kerr.Code(response.Topics[0].Partitions[0].ErrorCode)
}

func TestBatches(t *testing.T) {
	c := startMillrace(t)
	c.unharmed(func() { batches(t, c) })
}
