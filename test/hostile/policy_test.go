package hostile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// hurry makes the broker look for work in the background all the time. These keys are dynamic: no restart.
func (c *cluster) hurry(t *testing.T) *kadm.Client {
	t.Helper()
	admin := kadm.NewClient(c.client())
	alter(t, admin.AlterBrokerConfigs, "log.retention.check.interval.ms=100", "log.cleaner.backoff.ms=100")
	return admin
}

func alter[N any](t *testing.T, how func(context.Context, []kadm.AlterConfig, ...N) (kadm.AlterConfigsResponses, error), configs ...string) {
	t.Helper()
	var changes []kadm.AlterConfig
	for name, value := range config(configs).pointers() {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
	}
	responses, err := how(t.Context(), changes)
	for _, response := range responses {
		err = errors.Join(err, response.Err)
	}
	if err != nil {
		t.Fatalf("alter %v: %v", configs, err)
	}
}

// write produces records with the keys given, in order, each with its number as value; a key with a minus gets a tombstone.
func (c *cluster) write(t *testing.T, topic string, size int, keys ...string) {
	t.Helper()
	client := c.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	var records []*kgo.Record
	for n, key := range keys {
		name, dead := strings.CutSuffix(key, "-")
		record := &kgo.Record{Key: []byte(name)}
		if !dead {
			record.Value = append([]byte(fmt.Sprintf("%d.", n)), make([]byte, size)...)
		}
		records = append(records, record)
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
}

// offsets returns the earliest and the end offset of partition 0.
func offsets(ctx context.Context, admin *kadm.Client, topic string) (start, end int64, err error) {
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	first, _ := starts.Lookup(topic, 0)
	last, _ := ends.Lookup(topic, 0)
	return first.Offset, last.Offset, errors.Join(first.Err, last.Err)
}

// content reads partition 0 from the earliest offset to the end: KEY=NUMBER or KEY- of each record.
func (c *cluster) content(ctx context.Context, topic string) (found []string, err error) {
	admin := kadm.NewClient(c.client())
	_, end, err := offsets(ctx, admin, topic)
	if err != nil {
		return nil, err
	}
	client := c.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}), kgo.FetchMaxWait(200*time.Millisecond), kgo.KeepRetryableFetchErrors())
	defer client.Close()
	for next := int64(-1); next < end; {
		poll, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		fetches := client.PollFetches(poll)
		cancel()
		if fetches.NumRecords() == 0 && poll.Err() != nil && ctx.Err() == nil {
			return found, nil // what is left up to the end has been compacted away
		}
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			number, _, _ := strings.Cut(string(r.Value), ".")
			if r.Value == nil {
				found = append(found, string(r.Key)+"-")
				return
			}
			found = append(found, string(r.Key)+"="+number)
		})
	}
	return found, nil
}

func TestRetention(t *testing.T) {
	c := startMillrace(t)
	admin := c.hurry(t)
	const size, count = 300 << 10, 4
	keys := strings.Split(strings.Repeat("k ", count-1)+"k", " ")

	t.Run("by size", func(t *testing.T) {
		c.topic("sized", 1, "retention.bytes=1500000", "segment.bytes=1048576")
		harness.Eventually(t, patience, "the log start moves", func(ctx context.Context) error {
			c.write(t, "sized", size, keys...)
			start, end, err := offsets(ctx, admin, "sized")
			if err != nil || start == 0 {
				return fmt.Errorf("offsets %d to %d: %w", start, end, err)
			}
			return nil
		})
		start, end, err := offsets(t.Context(), admin, "sized")
		found, readErr := c.content(t.Context(), "sized")
		if err := errors.Join(err, readErr); err != nil || int64(len(found)) < end-start {
			t.Errorf("%d records from %d to %d: %v", len(found), start, end, err)
		}
		if kept := (end - start) * size; kept < 1500000 {
			t.Errorf("only %d bytes are kept of the 1500000 that retention.bytes keeps at least", kept)
		}
	})

	t.Run("by time", func(t *testing.T) {
		c.topic("timed", 1)
		c.write(t, "timed", 10, "a", "b", "c")
		alter(t, func(ctx context.Context, a []kadm.AlterConfig, topics ...string) (kadm.AlterConfigsResponses, error) {
			return admin.AlterTopicConfigs(ctx, a, "timed")
		}, "retention.ms=1")
		harness.Eventually(t, patience, "everything has gone", func(ctx context.Context) error {
			start, end, err := offsets(ctx, admin, "timed")
			if err != nil || start != 3 || end != 3 {
				return fmt.Errorf("offsets %d to %d: %w", start, end, err)
			}
			return nil
		})
		// What has gone is out of range, and offsets go on where they were.
		request := fetchRequest("timed", 0, 1, 100)
		reply, err := askFetch(c.connect(t), request)
		if err != nil || reply != "OFFSET_OUT_OF_RANGE" {
			t.Errorf("fetch below the log start: %s, %v", reply, err)
		}
		c.write(t, "timed", 10, "d")
		if _, end, err := offsets(t.Context(), admin, "timed"); err != nil || end != 4 {
			t.Errorf("end offset %d: %v", end, err)
		}
	})
}

func TestCompaction(t *testing.T) {
	c := startMillrace(t)
	c.hurry(t)
	quick := []string{"cleanup.policy=compact", "segment.ms=100", "min.cleanable.dirty.ratio=0", "delete.retention.ms=100"}
	c.topic("latest", 1, quick...)
	c.topic("lagging", 1, append(quick, "min.compaction.lag.ms=3600000")...)
	for _, topic := range []string{"latest", "lagging"} {
		c.write(t, topic, 10, "a", "b", "a", "c", "b-", "a")
	}
	harness.Eventually(t, patience, "only the last record of each key, and no tombstone, is left", func(ctx context.Context) error {
		// Compaction leaves the newest part of the log alone, so it is kept moving.
		c.write(t, "latest", 10, "last")
		found, err := c.content(ctx, "latest")
		if text := strings.Join(found, " "); err != nil || !strings.HasPrefix(text, "c=3 a=5 last") {
			return fmt.Errorf("found %.300s: %w", text, err)
		}
		return nil
	})
	found, err := c.content(t.Context(), "lagging")
	if text := strings.Join(found, " "); err != nil || text != "a=0 b=1 a=2 c=3 b- a=5" {
		t.Errorf("before min.compaction.lag.ms: %s, %v", text, err)
	}
}

func TestLogAppendTime(t *testing.T) {
	c := startMillrace(t)
	c.topic("stamped", 1, "message.timestamp.type=LogAppendTime")
	client := c.client(kgo.DefaultProduceTopic("stamped"), kgo.ConsumeTopics("stamped"))
	before := time.Now().Add(-time.Second)
	record := kgo.StringRecord("x")
	record.Timestamp = time.UnixMilli(1000)
	if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	fetches := client.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	for r := range fetches.RecordsAll() {
		if r.Timestamp.Before(before) || r.Attrs.TimestampType() != 1 {
			t.Errorf("timestamp %v of type %d", r.Timestamp, r.Attrs.TimestampType())
		}
	}
	found, err := kadm.NewClient(client).ListOffsetsAfterMilli(ctx, before.UnixMilli(), "stamped")
	if o, _ := found.Lookup("stamped", 0); err != nil || o.Offset != 0 {
		t.Errorf("offset by time: %+v, %v", o, err)
	}
}

// TestRecompression: a topic's codec wins over the producer's, for each pair of codecs.
func TestRecompression(t *testing.T) {
	c := startMillrace(t)
	sent := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for number, name := range []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		topic := "kept-" + name
		c.topic(topic, 1, "compression.type="+name)
		text := strings.Repeat("all work and no play ", 500)
		for _, codec := range sent {
			producer := c.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec))
			if err := producer.ProduceSync(t.Context(), kgo.StringRecord(text)).FirstErr(); err != nil {
				t.Fatalf("%s: %v", topic, err)
			}
		}
		client := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for got := 0; got < len(sent); {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("%s: %v", topic, err)
			}
			for r := range fetches.RecordsAll() {
				got++
				if string(r.Value) != text || int(r.Attrs.CompressionType()) != number {
					t.Errorf("%s: record %d has codec %d and %d bytes", topic, r.Offset, r.Attrs.CompressionType(), len(r.Value))
				}
			}
		}
	}
}

func TestMaxMessageBytes(t *testing.T) {
	c := startMillrace(t)
	c.topic("small", 1, "max.message.bytes=1000")
	client := c.client(kgo.DefaultProduceTopic("small"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	send := func(size int) error {
		return client.ProduceSync(t.Context(), &kgo.Record{Value: make([]byte, size)}).FirstErr()
	}
	if err := send(1000); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a record beyond the limit: %v", err)
	}
	if err := send(900); err != nil {
		t.Errorf("a record within the limit: %v", err)
	}
}

// TestConfigErrorsSayWhatIsWrong: the message names the key, and the bounds or choices.
func TestConfigErrorsSayWhatIsWrong(t *testing.T) {
	c := startMillrace(t)
	admin := kadm.NewClient(c.client())
	for _, fault := range []struct {
		config string
		words  []string
	}{
		{"no.such.key=1", []string{"no.such.key"}},
		{"retention.ms=soon", []string{"retention.ms", "soon"}},
		{"retention.ms=-2", []string{"retention.ms", "-2", "-1"}},
		{"segment.bytes=1000", []string{"segment.bytes", "1000", "1048576"}},
		{"segment.bytes=99999999999", []string{"segment.bytes", "99999999999", "2147483647"}},
		{"min.cleanable.dirty.ratio=1.5", []string{"min.cleanable.dirty.ratio", "1.5"}},
		{"cleanup.policy=shred", []string{"cleanup.policy", "shred", "compact", "delete"}},
		{"compression.type=rar", []string{"compression.type", "rar", "zstd"}},
		{"message.timestamp.type=Never", []string{"message.timestamp.type", "LogAppendTime"}},
		{"max.message.bytes=-1", []string{"max.message.bytes", "-1", "0"}},
		{"preallocate=maybe", []string{"preallocate", "maybe"}},
	} {
		created, err := admin.CreateTopic(t.Context(), 1, 1, config{fault.config}.pointers(), "never")
		err = errors.Join(err, created.Err)
		if !errors.Is(err, kerr.InvalidConfig) {
			t.Errorf("%s: %v", fault.config, err)
		}
		for _, word := range fault.words {
			if !strings.Contains(created.ErrMessage, word) {
				t.Errorf("%s: the message lacks %q: %s", fault.config, word, created.ErrMessage)
			}
		}
	}
}
