package differential

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/record"
)

// recordScripts lists the scripts about producing and reading.
func recordScripts() []script {
	return []script{
		{name: "records/versions", run: recordVersions},
		{name: "records/batches", run: recordBatches},
		{name: "records/settings", run: recordSettings},
		{name: "records/acks", run: recordAcks},
		{name: "records/sessions", run: fetchSessions},
		{name: "records/offsets", run: offsetsByTime},
		{name: "records/deletion", run: recordDeletion},
		{name: "records/idempotent", run: idempotent},
		{name: "records/limits", run: fetchLimits},
	}
}

// recordVersions produces at every version and reads at every version.
func recordVersions(r *run) {
	r.createTopic("rv", 1)
	for _, v := range r.plan.of(kmsg.Produce, 3) {
		ask[*kmsg.ProduceResponse](r, "produce", v, r.producing("rv", 0, batch(record.Options{}, int(v)*10, 3)))
	}
	for _, v := range r.plan.of(kmsg.Fetch, 4) {
		for _, offset := range []int64{0, 1, 4, 32, 33, 34, -1, 1 << 40} {
			ask[*kmsg.FetchResponse](r, fmt.Sprintf("from %d", offset), v, r.fetching("rv", 0, offset))
		}
		q := r.fetching("rv", 0, 33)
		q.MaxWaitMillis, q.MinBytes = 5, 1
		ask[*kmsg.FetchResponse](r, "waiting at the end", v, q)
		q = r.fetching("rv", 0, 0)
		q.IsolationLevel = 1
		ask[*kmsg.FetchResponse](r, "committed", v, q)
	}
}

// tampered is a good batch with a few bytes overwritten, signed again if it should be.
func tampered(at int, signed bool, bytes ...byte) []byte {
	b := batch(record.Options{}, 0, 2)
	copy(b[at:], bytes)
	if signed {
		sign(b)
	}
	return b
}

func sign(b []byte) {
	const crc = 17
	binary.BigEndian.PutUint32(b[crc:], record.Batch(b).ComputeCRC())
}

// Positions in a batch.
const (
	atBaseOffset = 0
	atLength     = 8
	atEpoch      = 12
	atMagic      = 16
	atAttributes = 21
	atLastDelta  = 23
	atBaseTime   = 27
	atMaxTime    = 35
	atProducer   = 43
	atProdEpoch  = 51
	atSequence   = 53
	atCount      = 57
	atRecords    = 61
)

// badBatches are batches with one thing wrong each.
func badBatches() map[string][]byte {
	good := batch(record.Options{}, 0, 2)
	bad := map[string][]byte{
		"good":                   good,
		"wrong checksum":         tampered(atRecords, false, 0x7f),
		"base offset 7":          tampered(atBaseOffset, true, 0, 0, 0, 0, 0, 0, 0, 7),
		"base offset -1":         tampered(atBaseOffset, true, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"leader epoch 9":         tampered(atEpoch, true, 0, 0, 0, 9),
		"length too long":        tampered(atLength, true, 0, 0, 1, 0),
		"length too short":       tampered(atLength, true, 0, 0, 0, 49),
		"length negative":        tampered(atLength, true, 0xff, 0xff, 0xff, 0xff),
		"length zero":            tampered(atLength, true, 0, 0, 0, 0),
		"magic 0":                tampered(atMagic, true, 0),
		"magic 1":                tampered(atMagic, true, 1),
		"magic 3":                tampered(atMagic, true, 3),
		"magic -1":               tampered(atMagic, true, 0xff),
		"codec 5":                tampered(atAttributes, true, 0, 5),
		"codec 7":                tampered(atAttributes, true, 0, 7),
		"log append time":        tampered(atAttributes, true, 0, 8),
		"transactional":          tampered(atAttributes, true, 0, 16),
		"control":                tampered(atAttributes, true, 0, 32),
		"delete horizon":         tampered(atAttributes, true, 0, 64),
		"unused attributes":      tampered(atAttributes, true, 0x7f, 0x80),
		"gzip that is none":      tampered(atAttributes, true, 0, 1),
		"snappy that is none":    tampered(atAttributes, true, 0, 2),
		"lz4 that is none":       tampered(atAttributes, true, 0, 3),
		"zstd that is none":      tampered(atAttributes, true, 0, 4),
		"last delta too high":    tampered(atLastDelta, true, 0, 0, 0, 9),
		"last delta too low":     tampered(atLastDelta, true, 0, 0, 0, 0),
		"last delta negative":    tampered(atLastDelta, true, 0xff, 0xff, 0xff, 0xff),
		"no base time":           tampered(atBaseTime, true, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"max time too high":      tampered(atMaxTime, true, 0, 0, 2),
		"max time too low":       tampered(atMaxTime, true, 0, 0, 0),
		"producer without epoch": tampered(atProducer, true, 0, 0, 1, 0, 0, 0, 0, 0x11),
		"epoch without producer": tampered(atProdEpoch, true, 0, 1),
		"sequence of nobody":     tampered(atSequence, true, 0, 0, 0, 1),
		"count too high":         tampered(atCount, true, 0, 0, 0, 3),
		"count too low":          tampered(atCount, true, 0, 0, 0, 1),
		"count zero":             tampered(atCount, true, 0, 0, 0, 0),
		"count negative":         tampered(atCount, true, 0xff, 0xff, 0xff, 0xff),
		"record length":          tampered(atRecords, true, 0x7e),
		"record delta":           tampered(atRecords+3, true, 8),
		"half":                   good[:len(good)/2],
		"header only":            good[:atRecords],
		"trailing byte":          append(slices.Clone(good), 0),
		"two batches":            append(slices.Clone(good), good...),
		"three batches, one bad": append(append(slices.Clone(good), tampered(atRecords, false, 0x7f)...), good...),
		"large":                  largeBatch(),
	}
	for codec := record.Codec(1); codec <= 4; codec++ {
		good := batch(record.Options{Codec: codec}, 0, 5)
		name := fmt.Sprintf("codec %d", int(codec))
		bad[name+" good"] = good
		cut := slices.Clone(good[:len(good)-6])
		binary.BigEndian.PutUint32(cut[atLength:], uint32(len(cut)-atEpoch))
		sign(cut)
		bad[name+" cut off"] = cut
		high := slices.Clone(good)
		high[atMaxTime+2] = 2
		sign(high)
		bad[name+" max time too high"] = high
		low := slices.Clone(good)
		low[atMaxTime+2] = 0
		sign(low)
		bad[name+" max time too low"] = low
		fewer := slices.Clone(good)
		fewer[atCount+3], fewer[atLastDelta+3] = 4, 3
		sign(fewer)
		bad[name+" one record too many"] = fewer
	}
	return bad
}

func largeBatch() []byte {
	b := record.NewBuilder(record.Options{})
	must(b.Add(began, []byte("large"), []byte(strings.Repeat("x", 1<<20))))
	built, err := b.Build(nil)
	must(err)
	return built
}

// recordBatches sends batches with one thing wrong each, at three versions, each to a partition of its own, and reads what
// came of it.
func recordBatches(r *run) {
	all := badBatches()
	r.createTopic("rb", int32(len(all)))
	for n, name := range sorted(all) {
		for _, v := range []int16{3, 9, 13} {
			ask[*kmsg.ProduceResponse](r, name, v, r.producing("rb", int32(n), all[name]))
		}
		ask[*kmsg.FetchResponse](r, name, 17, r.fetching("rb", int32(n), 0))
	}
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// recordSettings produces to topics whose settings change what is stored or refused.
func recordSettings(r *run) {
	topics := map[string][]string{
		"rs-compact":  {"cleanup.policy", "compact"},
		"rs-append":   {"message.timestamp.type", "LogAppendTime"},
		"rs-gzip":     {"compression.type", "gzip"},
		"rs-plain":    {"compression.type", "uncompressed"},
		"rs-zstd":     {"compression.type", "zstd"},
		"rs-small":    {"max.message.bytes", "100"},
		"rs-before":   {"message.timestamp.before.max.ms", "1000"},
		"rs-hour":     {"message.timestamp.before.max.ms", "3600000"},
		"rs-after":    {"message.timestamp.after.max.ms", "1000"},
		"rs-segments": {"segment.bytes", "1048576"},
	}
	keyless := record.NewBuilder(record.Options{})
	must(keyless.Add(began, nil, []byte("without a key")))
	future := record.NewBuilder(record.Options{})
	must(future.Add(1<<45, []byte("k"), []byte("from the future")))
	timeless := record.NewBuilder(record.Options{})
	must(timeless.Add(record.None, []byte("k"), []byte("without a time")))
	// The clock of the test: what is old or not is so by a wide margin.
	mixed := func(o record.Options) []byte {
		b := record.NewBuilder(o)
		now := time.Now().UnixMilli()
		for _, at := range []int64{now, began, now + 1, record.None, now + 1<<40} {
			must(b.Add(at, []byte("k"), []byte("v")))
		}
		built, err := b.Build(nil)
		must(err)
		return built
	}
	kinds := map[string][]byte{
		"plain":      batch(record.Options{}, 0, 3),
		"lz4":        batch(record.Options{Codec: 3}, 0, 3),
		"many":       batch(record.Options{}, 0, 120),
		"mixed":      mixed(record.Options{}),
		"mixed zstd": mixed(record.Options{Codec: 4}),
		"lz4 that says log append time": func() []byte {
			b := batch(record.Options{Codec: 3}, 0, 3)
			b[atAttributes+1] |= 8
			sign(b)
			return b
		}(),
		"log append time":         tampered(atAttributes, true, 0, 8),
		"log append time of none": timelessAppend(),
	}
	for name, b := range map[string]*record.Builder{"keyless": keyless, "future": future, "timeless": timeless} {
		built, err := b.Build(nil)
		must(err)
		kinds[name] = built
	}
	for _, topic := range sorted(topics) {
		r.createTopic(topic, 1, topics[topic]...)
		for _, kind := range sorted(kinds) {
			for _, v := range []int16{3, 6, 7, 8, 13} {
				ask[*kmsg.ProduceResponse](r, topic+"/"+kind, v, r.producing(topic, 0, kinds[kind]))
			}
		}
		ask[*kmsg.FetchResponse](r, topic, 17, r.fetching(topic, 0, 0))
		ask[*kmsg.FetchResponse](r, topic, 4, r.fetching(topic, 0, 0))
	}
}

// timelessAppend is a batch that says that the broker has set its time, which is none.
func timelessAppend() []byte {
	b := tampered(atAttributes, false, 0, 8)
	copy(b[atMaxTime:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	sign(b)
	return b
}

// recordAcks produces with all values of acks; nothing comes back for 0, so the request after it gets the next answer.
func recordAcks(r *run) {
	r.createTopic("ra", 1)
	for _, v := range r.plan.of(kmsg.Produce, 3) {
		for _, acks := range []int16{-1, 1, 2, -2} {
			q := r.producing("ra", 0, batch(record.Options{}, 0, 1))
			q.Acks = acks
			ask[*kmsg.ProduceResponse](r, fmt.Sprintf("acks %d", acks), v, q)
		}
		for _, topic := range []string{"ra", "no-such-topic"} {
			q := r.producing(topic, 0, batch(record.Options{}, 0, 1))
			q.Acks, q.Version = 0, v
			p := r.peer("no acks")
			p.post(q)
			// Kafka closes the connection when a produce without acks fails.
			askOn[*kmsg.MetadataResponse](r, "no acks", "after one without acks to "+topic+fmt.Sprint(" at v", v), 9, metadataOf("ra"))
		}
	}
	ask[*kmsg.FetchResponse](r, "all", 17, r.fetching("ra", 0, 0))
}

func metadataOf(topics ...string) *kmsg.MetadataRequest {
	q := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = ptr(name)
		q.Topics = append(q.Topics, t)
	}
	return q
}

// fetchSessions walks through incremental fetch sessions.
func fetchSessions(r *run) {
	r.createTopic("fs", 3)
	for _, v := range r.plan.of(kmsg.Fetch, 7) {
		r.produce("fs", 0, 0, 1)
		r.produce("fs", 1, 0, 1)
		session := func(label string, id, epoch int32, q *kmsg.FetchRequest) int32 {
			q.SessionID, q.SessionEpoch = id, epoch
			return ask[*kmsg.FetchResponse](r, label, v, q).SessionID
		}
		whole := func() *kmsg.FetchRequest {
			q := r.fetching("fs", 0, 0)
			for n := range int32(2) {
				p := kmsg.NewFetchRequestTopicPartition()
				p.Partition, p.PartitionMaxBytes = n+1, 1<<20
				q.Topics[0].Partitions = append(q.Topics[0].Partitions, p)
			}
			return q
		}
		nothing := func() *kmsg.FetchRequest {
			q := whole()
			q.Topics = nil
			return q
		}
		id := session("new session", 0, 0, whole())
		session("nothing new", id, 1, nothing())
		r.produce("fs", 2, 0, 1)
		session("one new", id, 2, nothing())
		session("again", id, 3, nothing())
		session("wrong epoch", id, 3, nothing())
		session("next epoch", id, 4, nothing())
		q := nothing()
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID, f.Partitions = "fs", r.id("fs"), []int32{0, 7}
		q.ForgottenTopics = append(q.ForgottenTopics, f)
		session("forget", id, 5, q)
		q = whole()
		q.Topics[0].Partitions = q.Topics[0].Partitions[:1]
		q.Topics[0].Partitions[0].FetchOffset = 1 << 30
		session("beyond the end", id, 6, q)
		q = whole()
		q.Topics[0].Topic, q.Topics[0].TopicID = "no-such-topic", [16]byte{9}
		session("unknown topic", id, 7, q)
		session("after an unknown topic", id, 8, nothing())
		session("unknown session", 12345, 1, nothing())
		session("close", id, -1, nothing())
		session("after the close", id, 9, nothing())
		session("unknown session, first epoch", 12345, 0, whole())
		session("no session, second epoch", 0, 1, whole())
		session("no session, strange epoch", 0, -2, whole())
	}
}

// asking makes a request for the offset of one timestamp.
func asking(topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	q := kmsg.NewPtrListOffsetsRequest()
	q.ReplicaID, q.TimeoutMillis = -1, 1000
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, timestamp, -1
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// offsetsByTime asks for offsets by all special and many plain timestamps, before and after records were deleted.
func offsetsByTime(r *run) {
	r.createTopic("ro", 2)
	for n, first := range []int{0, 5, 2, 9} {
		ask[*kmsg.ProduceResponse](r, "produce", 9, r.producing("ro", 0, batch(record.Options{Codec: record.Codec(n)}, first, 3)))
	}
	times := []int64{-7, -6, -5, -4, -3, -2, -1, 0, began - 1, began, began + 1, began + 2500, began + 6000, began + 7000,
		began + 9000, began + 11000, began + 11001, 1 << 50}
	all := func(when string) {
		for _, v := range r.plan.of(kmsg.ListOffsets, 1) {
			for _, at := range times {
				ask[*kmsg.ListOffsetsResponse](r, fmt.Sprintf("%s at %d", when, at), v, asking("ro", 0, at))
				if at < 1 {
					ask[*kmsg.ListOffsetsResponse](r, fmt.Sprintf("empty at %d", at), v, asking("ro", 1, at))
				}
			}
		}
	}
	all("whole")
	r.deleteRecords("ro", 0, 4, 2)
	all("cut")
	for _, v := range r.plan.of(kmsg.OffsetForLeaderEpoch, 2) {
		for _, epoch := range []int32{-2, -1, 0, 1, 5} {
			for _, current := range []int32{-1, 0, 1} {
				q := kmsg.NewPtrOffsetForLeaderEpochRequest()
				q.ReplicaID = -1
				t := kmsg.NewOffsetForLeaderEpochRequestTopic()
				t.Topic = "ro"
				for _, n := range []int32{0, 1, 2} {
					p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
					p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = n, epoch, current
					t.Partitions = append(t.Partitions, p)
				}
				q.Topics = append(q.Topics, t)
				ask[*kmsg.OffsetForLeaderEpochResponse](r, fmt.Sprintf("epoch %d, current %d", epoch, current), v, q)
			}
		}
	}
}

func (r *run) deleteRecords(topic string, partition int32, offset int64, version int16) {
	q := kmsg.NewPtrDeleteRecordsRequest()
	q.TimeoutMillis = 1000
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = topic
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	ask[*kmsg.DeleteRecordsResponse](r, fmt.Sprintf("delete up to %d", offset), version, q)
}

// recordDeletion deletes records bit by bit and looks at what is left.
func recordDeletion(r *run) {
	r.createTopic("rd", 2)
	r.createTopic("rd-compact", 1, "cleanup.policy", "compact")
	r.createTopic("rd-both", 1, "cleanup.policy", "compact,delete")
	for _, topic := range []string{"rd", "rd-compact", "rd-both"} {
		for n := range 5 {
			r.produce(topic, 0, 2*n, 2)
		}
		for _, v := range r.plan.of(kmsg.DeleteRecords, 0) {
			for _, offset := range []int64{0, 1 + int64(v), 11, -2, int64(2 + 3*v), 1} {
				r.deleteRecords(topic, 0, offset, v)
				ask[*kmsg.FetchResponse](r, "from 0", 12, r.fetching(topic, 0, 0))
				ask[*kmsg.FetchResponse](r, "from 3", 12, r.fetching(topic, 0, 3))
				ask[*kmsg.ListOffsetsResponse](r, "first", 7, asking(topic, 0, -2))
			}
		}
		r.deleteRecords(topic, 0, -1, 2)
		r.deleteRecords(topic, 5, -1, 2)
		r.deleteRecords(topic+"-none", 0, -1, 2)
		ask[*kmsg.FetchResponse](r, "emptied", 12, r.fetching(topic, 0, 10))
		r.produce(topic, 0, 0, 1)
		ask[*kmsg.FetchResponse](r, "filled", 12, r.fetching(topic, 0, 10))
	}
}

// idempotent produces with sequence numbers, right and wrong.
func idempotent(r *run) {
	r.createTopic("ri", 2)
	for _, v := range []int16{3, 5, 8, 11, 12, 13} {
		init := kmsg.NewPtrInitProducerIDRequest()
		init.TransactionTimeoutMillis = 60_000
		got := ask[*kmsg.InitProducerIDResponse](r, fmt.Sprint("init for v", v), min(5, v/3), init)
		send := func(label string, epoch int16, sequence int32, records int) {
			o := record.Options{Producer: &record.Producer{ID: got.ProducerID, Epoch: epoch, Sequence: sequence}}
			ask[*kmsg.ProduceResponse](r, label, v, r.producing("ri", 0, batch(o, int(max(sequence, 0)), records)))
		}
		send("first", 0, 0, 3)
		send("second", 0, 3, 2)
		send("duplicate of the first", 0, 0, 3)
		send("duplicate of the second", 0, 3, 2)
		send("overlap", 0, 4, 2)
		send("gap", 0, 9, 1)
		send("third", 0, 5, 1)
		send("negative sequence", 0, -1, 1)
		for n := range int32(6) {
			send(fmt.Sprint("more ", n), 0, 6+n, 1)
		}
		send("old duplicate", 0, 0, 3)
		send("last duplicate", 0, 11, 1)
		send("new epoch, wrong sequence", 1, 12, 1)
		send("new epoch", 1, 0, 1)
		send("old epoch", 0, 12, 1)
		send("negative epoch", -1, 0, 1)
		send("epoch far ahead", 30000, 0, 1)
		unknown := record.Options{Producer: &record.Producer{ID: invented + int64(v), Epoch: 3, Sequence: 7}}
		ask[*kmsg.ProduceResponse](r, "unknown producer in the middle", v, r.producing("ri", 1, batch(unknown, 0, 1)))
		unknown.Producer.Sequence = 8
		ask[*kmsg.ProduceResponse](r, "unknown producer goes on", v, r.producing("ri", 1, batch(unknown, 0, 1)))
		unknown.Producer.Epoch = 2
		ask[*kmsg.ProduceResponse](r, "unknown producer, epoch back", v, r.producing("ri", 1, batch(unknown, 0, 1)))
		describe := kmsg.NewPtrDescribeProducersRequest()
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic, t.Partitions = "ri", []int32{0, 1, 2}
		describe.Topics = append(describe.Topics, t)
		ask[*kmsg.DescribeProducersResponse](r, fmt.Sprint("producers after v", v), 0, describe)
	}
	ask[*kmsg.FetchResponse](r, "all", 17, r.fetching("ri", 0, 0))
	ask[*kmsg.FetchResponse](r, "all", 17, r.fetching("ri", 1, 0))
}

// fetchLimits reads with bounds of bytes around the sizes of batches.
func fetchLimits(r *run) {
	r.createTopic("fl", 2)
	for n := range 4 {
		r.produce("fl", 0, 3*n, 3)
		r.produce("fl", 1, 3*n, 3)
	}
	size := int32(len(batch(record.Options{}, 0, 3)))
	for _, v := range []int16{4, 9, 13, 18} {
		for _, most := range []int32{-1, 0, 1, size - 1, size, size + 1, 2*size + 1, 3 * size} {
			q := r.fetching("fl", 0, 0)
			second := q.Topics[0].Partitions[0]
			second.Partition = 1
			q.Topics[0].Partitions = append(q.Topics[0].Partitions, second)
			q.MaxBytes = most
			ask[*kmsg.FetchResponse](r, fmt.Sprintf("at most %d in all", most), v, q)
			q.MaxBytes = 1 << 20
			q.Topics[0].Partitions[0].PartitionMaxBytes = most
			q.Topics[0].Partitions[1].PartitionMaxBytes = most
			ask[*kmsg.FetchResponse](r, fmt.Sprintf("at most %d of each", most), v, q)
		}
	}
}
