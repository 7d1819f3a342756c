package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// topics: create, refuse to create, describe, configure, grow, delete.
func topics(s *session) {
	topic := s.topic("main")
	create := func(step, name string, partitions int32, configs map[string]string) {
		s.try(step, request{Op: "create_topic", Topic: name, Partitions: partitions, Configs: configs})
	}
	create("create", topic, 3, map[string]string{"retention.ms": "3600000", "cleanup.policy": "compact"})
	s.awaitTopic(topic, 3)
	create("create again", topic, 3, nil)
	create("create: a name with a space", "a name", 1, nil)
	create("create: no partitions", s.topic("none"), 0, nil)
	create("create: bad config value", s.topic("bad"), 1, map[string]string{"retention.ms": "soon"})
	create("create: unknown config", s.topic("bad"), 1, map[string]string{"no.such.config": "1"})
	s.listed(topic, true)

	s.configs("configs", topic, "3600000")
	s.try("alter", request{Op: "alter_configs", Topic: topic, Configs: map[string]string{"retention.ms": "7200000"}})
	s.configs("configs after alter", topic, "7200000")
	s.try("alter: bad value", request{Op: "alter_configs", Topic: topic, Configs: map[string]string{"retention.ms": "soon"}})
	s.try("alter: unknown config", request{Op: "alter_configs", Topic: topic, Configs: map[string]string{"no.such.config": "1"}})

	if s.try("grow to 5", request{Op: "create_partitions", Topic: topic, Partitions: 5}) {
		s.awaitTopic(topic, 5)
		s.try("shrink to 2", request{Op: "create_partitions", Topic: topic, Partitions: 2})
	}
	if s.try("delete", request{Op: "delete_topic", Topic: topic}) {
		s.awaitGone(topic)
		s.try("delete again", request{Op: "delete_topic", Topic: topic})
	}
	s.try("describe: unknown topic", request{Op: "describe_topic", Topic: s.topic("nowhere")})
}

func (s *session) listed(topic string, want bool) {
	s.Helper()
	if !s.about.offers("list_topics") {
		return
	}
	var got struct{ Names []string }
	s.do(request{Op: "list_topics"}, &got)
	if slices.Contains(got.Names, topic) != want {
		s.Errorf("%s is listed: %v, want %v", topic, !want, want)
	}
}

// configs records some of a topic's configs, once it has the retention.ms that was asked for: brokers learn of it a little
// after the answer.
func (s *session) configs(step, topic, retention string) {
	s.Helper()
	if !s.about.offers("describe_configs") {
		s.answer(step, "not offered")
		return
	}
	names := []string{"cleanup.policy", "compression.type", "max.message.bytes", "message.timestamp.type", "retention.ms"}
	var got struct{ Configs map[string]string }
	s.await(step, func(context.Context) error {
		s.do(request{Op: "describe_configs", Topic: topic, Names: names}, &got)
		if got.Configs["retention.ms"] != retention {
			return fmt.Errorf("%v", got.Configs)
		}
		return nil
	})
	var list []string
	for _, name := range names {
		list = append(list, name+"="+got.Configs[name])
	}
	s.answer(step, strings.Join(list, " "))
}

func (s *session) awaitGone(topic string) {
	s.Helper()
	s.await(topic+" is gone", func(ctx context.Context) error {
		err := s.client.call(ctx, request{Op: "describe_topic", Topic: topic}, nil)
		var told *clientError
		if errors.As(err, &told) && (told.name() == "UNKNOWN_TOPIC_OR_PARTITION" || told.Code == localError) {
			return nil
		}
		return fmt.Errorf("describe answers %w", err)
	})
}

// compression: everything a client can write, with each codec that it has, comes back as it was.
func compression(s *session) {
	for _, codec := range s.about.Codecs {
		topic := codecTopic(s.about, codec)
		s.create(topic, 1)
		want := sample(s.about, sampleSize)
		s.write(request{Op: "produce", Topic: topic, Records: want, Compression: codec}, 0)
		s.written.Store(topic, true)
		var got struct{ Records []record }
		s.do(request{Op: "consume", Topics: []string{topic}, Count: len(want)}, &got)
		if err := compareLog(s.about, got.Records, want, 0); err != nil {
			s.Errorf("%s: %v", codec, err)
		}
		s.answer(codec, fmt.Sprintf("%d records read", len(got.Records)))
	}
}

// codecTopic is the topic that a client wrote with a codec; matrix_test.go reads it with all the others.
func codecTopic(about hello, codec string) string { return about.Client + ".compression." + codec }

// settings: the broker compresses anew, puts its own time on records, and refuses what is too large.
func settings(s *session) {
	topic := s.topic("main")
	const limit = 40_000 // bytes: more than any record of the sample, less than tooLarge
	configs := map[string]string{
		"compression.type": "zstd", "message.timestamp.type": "LogAppendTime", "max.message.bytes": strconv.Itoa(limit),
	}
	s.do(request{Op: "create_topic", Topic: topic, Partitions: 1, Configs: configs}, nil)
	s.awaitTopic(topic, 1)
	// One record a request: the batch, not the record, is what is bounded.
	records := sample(s.about, 10)
	for i, one := range records {
		s.write(request{Op: "produce", Topic: topic, Records: []record{one}, Compression: "gzip"}, int64(i))
		records[i].Timestamp = 0 // the broker's, not the client's
	}
	var got struct{ Records []record }
	s.do(request{Op: "consume", Topics: []string{topic}, Count: len(records)}, &got)
	if err := compareLog(s.about, got.Records, records, 0); err != nil {
		s.Error(err)
	}
	appended := slices.IndexFunc(got.Records, func(one record) bool { return one.Timestamp < baseTime+sampleSize*timeStep }) < 0
	s.answer("times are the broker's", appended)
	tooLarge := record{Key: []byte("key"), Value: []byte(strings.Repeat("too large ", limit/5))}
	s.try("too large", request{Op: "produce", Topic: topic, Records: []record{tooLarge}})
	s.bounds("bounds", topic)
}

// idempotence: many small batches of one idempotent producer lie without a gap.
func idempotence(s *session) {
	if !s.about.has("idempotence") {
		s.answer("produce", "not offered")
		return
	}
	topic := s.topic("main")
	s.create(topic, 1)
	const rounds = 3
	want := sample(s.about, 300)
	for round := range rounds {
		s.write(request{Op: "produce", Topic: topic, Records: want, Idempotent: true}, int64(round*len(want)))
	}
	s.bounds("bounds", topic)
}

func (s *session) bounds(step, topic string) {
	s.Helper()
	var got struct{ Earliest, Latest int64 }
	s.do(request{Op: "list_offsets", Topic: topic}, &got)
	s.answer(step, fmt.Sprintf("%d to %d", got.Earliest, got.Latest))
}

// seekByTime: the first record that is as late as a time, or none.
func seekByTime(s *session) {
	topic := s.topic("main")
	s.create(topic, 1)
	records := sample(s.setUp.about(), sampleSize)
	// Two batches, so that the answer lies within a batch and past one.
	for _, half := range []int{0, 1} {
		part := records[half*sampleSize/2 : (half+1)*sampleSize/2]
		r := request{Op: "produce", Topic: topic, Records: part, Compression: "gzip"}
		if err := s.setUp.call(s.Context(), r, nil); err != nil {
			s.Fatal(err)
		}
	}
	for _, ask := range []struct {
		step string
		time int64
	}{
		{"long before the first", baseTime - 1_000_000},
		{"the first", baseTime},
		{"between the fifth and sixth", baseTime + 4*timeStep + 500},
		{"the first of the second batch", baseTime + sampleSize/2*timeStep},
		{"the last", baseTime + (sampleSize-1)*timeStep},
		{"later than all", baseTime + sampleSize*timeStep},
	} {
		var got struct{ Offset int64 }
		s.do(request{Op: "offset_for_time", Topic: topic, Timestamp: ask.time}, &got)
		s.answer(ask.step, got.Offset)
	}
}

// deleteRecords: the log begins later, reads begin there, and nothing else changes.
func deleteRecords(s *session) {
	topic := s.topic("main")
	s.create(topic, 1)
	about := s.writer()
	records := sample(about, sampleSize)
	s.produce(topic, 0, records, 0)

	const before = 25
	var got struct{ Offset int64 }
	s.do(request{Op: "delete_records", Topic: topic, Before: before}, &got)
	s.answer("begins at", got.Offset)
	s.bounds("bounds", topic)
	var read struct{ Records []record }
	s.do(request{Op: "consume", Topics: []string{topic}, Count: sampleSize - before}, &read)
	if err := compareLog(s.about, read.Records, records[before:], before); err != nil {
		s.Error(err)
	}
	s.try("before an offset deleted already", request{Op: "delete_records", Topic: topic, Before: 10})
	s.try("beyond the end", request{Op: "delete_records", Topic: topic, Before: sampleSize + 1})
	s.try("all", request{Op: "delete_records", Topic: topic, Before: sampleSize})
	s.bounds("bounds after all", topic)
	s.produce(topic, 0, records[:1], sampleSize)
	s.bounds("bounds after one more", topic)
}
