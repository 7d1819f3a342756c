package hostile

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/node"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/test/harness"
)

// margin is how far the broker's resident memory may be beyond its budget: the budget is for what the broker keeps, and the
// kernel takes freed pages back late.
const margin = 1.3

// withinBudget runs the load and checks the broker's peak of resident memory.
func (c *cluster) withinBudget(t *testing.T, load func()) {
	t.Helper()
	pid, err := c.BrokerPID()
	if err != nil {
		t.Fatal(err)
	}
	before, _ := rss(t, pid)
	load()
	after, peak := rss(t, pid)
	const mib = 1 << 20
	t.Logf("resident memory: %d MiB before, %d at most so far, %d after; budget %d", before/mib, peak/mib, after/mib, node.DefaultMemory/mib)
	if float64(peak) > margin*node.DefaultMemory {
		t.Errorf("resident memory was up to %d MiB, the budget is %d", peak/mib, node.DefaultMemory/mib)
	}
}

// bombs are batches whose records claim to be, and are, 200 MiB of zeros behind less than max.message.bytes.
func bombs(t testing.TB) map[string][]byte {
	const inflated = 200 << 20
	plain := oneRecord(0, []byte("key"), make([]byte, inflated))
	found := make(map[string][]byte)
	for codec, compress := range codecs(t) {
		if codec == record.Snappy {
			plain := oneRecord(0, []byte("key"), make([]byte, 20<<20)) // as far as a megabyte of snappy goes
			found[codec.String()] = good(1).compressed(codec, compress(plain)).encode()
			continue
		}
		found[codec.String()] = good(1).compressed(codec, compress(plain)).encode()
	}
	return found
}

func TestBombs(t *testing.T) {
	harness.Long(t, "make suite SUITE=hostile")
	c := startMillrace(t)
	c.topic(compactedTopic, 1, "cleanup.policy=compact")
	c.topic("zipped", 1, "compression.type=gzip")
	c.topic(lz4Topic, 1, "compression.type=lz4")
	found := bombs(t)
	c.unharmed(func() {
		c.withinBudget(t, func() {
			var senders sync.WaitGroup
			for name, bytes := range found {
				t.Logf("%s: %d bytes", name, len(bytes))
				for _, topic := range []string{compactedTopic, "zipped", lz4Topic} {
					for range 4 {
						senders.Go(func() {
							switch got := answered(t, c, produceRequest(9, topic, 0, bytes)); got {
							case kerr.None, kerr.InvalidRecord, kerr.MessageTooLarge:
							default:
								t.Errorf("%s in %s: %v", name, topic, got)
							}
						})
					}
				}
			}
			senders.Wait()
		})
	})
}

// TestManyProducers: 200 connections, each with requests of a mebibyte in flight to many partitions.
func TestManyProducers(t *testing.T) {
	if testing.Short() {
		t.Skip("makes much memory busy: skipped with -short")
	}
	const connections, requests, partitions = 200, 3, 50
	c := startMillrace(t)
	c.topic("wide", partitions)
	value := make([]byte, 20<<10)
	_, _ = rand.Read(value)
	request := kmsg.NewPtrProduceRequest()
	request.Version, request.Acks, request.TimeoutMillis = 9, -1, 30_000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "wide"
	for index := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(index), good(1).with(func(b *batch) { b.Records = oneRecord(0, []byte("k"), value) }).encode()
		topic.Partitions = append(topic.Partitions, p)
	}
	request.Topics = append(request.Topics, topic)
	whole := frame(request.Key(), request.Version, request.AppendTo(nil))
	var acknowledged atomic.Int64
	c.unharmed(func() {
		c.withinBudget(t, func() {
			var producers sync.WaitGroup
			for range connections {
				producers.Go(func() { acknowledged.Add(produceAll(t, c.connect(t), whole, requests)) })
			}
			producers.Wait()
		})
	})
	ends, err := kadm.NewClient(c.client()).ListEndOffsets(t.Context(), "wide")
	if err != nil {
		t.Fatal(err)
	}
	var kept int64
	ends.Each(func(o kadm.ListedOffset) { kept += o.Offset })
	t.Logf("%d batches acknowledged, %d kept", acknowledged.Load(), kept)
	if kept != acknowledged.Load() || kept != connections*requests*partitions {
		t.Errorf("%d batches were acknowledged, %d are kept, %d were sent", acknowledged.Load(), kept, connections*requests*partitions)
	}
}

// produceAll sends a Produce request of version 9 some times at once, reads the replies, and returns how many batches were
// acknowledged.
func produceAll(t *testing.T, p *peer, whole []byte, times int) (acknowledged int64) {
	go func() {
		for range times {
			p.send(whole)
		}
	}()
	for range times {
		reply, err := p.read(2 * patience)
		if err != nil {
			t.Errorf("produce: %v", err)
			return acknowledged
		}
		response, err := decode(int16(kmsg.Produce), 9, reply)
		if err != nil {
			t.Errorf("produce: %v", err)
			return acknowledged
		}
		for _, part := range response.(*kmsg.ProduceResponse).Topics[0].Partitions {
			if part.ErrorCode == 0 {
				acknowledged++
			}
		}
	}
	return acknowledged
}

// full makes a topic with about that many MiB, one batch each.
func (c *cluster) full(name string, mebibytes int) {
	c.t.Helper()
	c.topic(name, 1)
	value := make([]byte, 900<<10)
	_, _ = rand.Read(value)
	client := c.client(kgo.DefaultProduceTopic(name), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range mebibytes {
		client.Produce(c.t.Context(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				c.t.Error(err)
			}
		})
	}
	if err := client.Flush(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func fetchRequest(topic string, offset int64, minBytes, wait int32) *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.Version, request.MinBytes, request.MaxWaitMillis, request.MaxBytes, request.SessionEpoch = 11, minBytes, wait, 50<<20, -1
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	t.Topic, p.FetchOffset, p.PartitionMaxBytes = topic, offset, 50<<20
	t.Partitions = append(t.Partitions, p)
	request.Topics = append(request.Topics, t)
	return request
}

// TestSlowReaders: clients that ask for all there is, again and again, and never read an answer.
func TestSlowReaders(t *testing.T) {
	harness.Long(t, "make suite SUITE=hostile")
	c := startMillrace(t)
	c.full("full", 60)
	var many []byte
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 9
	for n := range 2000 {
		topic := kmsg.NewMetadataRequestTopic()
		name := "nowhere-to-be-found-" + strconv.Itoa(n)
		topic.Topic = &name
		metadata.Topics = append(metadata.Topics, topic)
	}
	for range 20 {
		many = append(many, frame(metadata.Key(), metadata.Version, metadata.AppendTo(nil))...)
	}
	fetch := fetchRequest("full", 0, 1, 500)
	one := frame(fetch.Key(), fetch.Version, fetch.AppendTo(nil))
	c.withinBudget(t, func() {
		for range 150 {
			p := c.connect(t)
			for range 5 {
				p.send(one)
			}
			p = c.connect(t)
			go p.send(many)
		}
		// They hang on until their writes time out; an honest reader waits for them, and then gets everything.
		client := c.client(kgo.ConsumeTopics("full"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
		defer cancel()
		began := time.Now()
		for got := 0; got < 60; {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("an honest reader after %d records: %v", got, err)
			}
			got += fetches.NumRecords()
		}
		t.Logf("an honest reader got everything after %v", time.Since(began))
	})
}

// TestHalfFrames: clients that claim a large frame and send a part of it. They may make others wait, for no longer than a
// frame may take, but not fail.
func TestHalfFrames(t *testing.T) {
	c := startMillrace(t)
	c.withinBudget(t, func() {
		for range 300 {
			p := c.connect(t)
			p.send(frame(int16(kmsg.Produce), 9, make([]byte, 900<<10))[:100])
		}
		c.topic("late", 1)
		client := c.client(kgo.DefaultProduceTopic("late"))
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		began := time.Now()
		if err := client.ProduceSync(ctx, kgo.StringRecord("late")).FirstErr(); err != nil {
			t.Errorf("produce beside half frames: %v", err)
		}
		t.Logf("produced after %v", time.Since(began))
	})
}

// TestParkedFetches: 500 fetches wait for data and get it.
func TestParkedFetches(t *testing.T) {
	const parked = 500
	c := startMillrace(t)
	c.topic("quiet", 1)
	request := fetchRequest("quiet", 0, 1, int32(patience.Milliseconds()))
	one := frame(request.Key(), request.Version, request.AppendTo(nil))
	c.unharmed(func() {
		c.withinBudget(t, func() {
			var peers []*peer
			for range parked {
				p := c.connect(t)
				p.send(one)
				peers = append(peers, p)
			}
			if got := answered(t, c, produceRequest(9, "quiet", 0, good(1).encode())); got != kerr.None {
				t.Errorf("produce: %v", got)
			}
			for n, p := range peers {
				if err := gotRecords(p, request); err != nil {
					t.Fatalf("fetch %d: %v", n, err)
				}
			}
		})
	})
}

func gotRecords(p *peer, request *kmsg.FetchRequest) error {
	reply, err := p.read(patience)
	if err != nil {
		return err
	}
	response, err := decode(request.Key(), request.Version, reply)
	if err != nil {
		return err
	}
	part := response.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if part.ErrorCode != 0 || len(part.RecordBatches) == 0 {
		return fmt.Errorf("%d bytes: %w", len(part.RecordBatches), kerr.Code(part.ErrorCode))
	}
	return nil
}

// TestIdleConnections: a few thousand connections that say hello and nothing more.
func TestIdleConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("opens thousands of connections: skipped with -short")
	}
	const connections = 3000
	c := startMillrace(t)
	c.unharmed(func() {
		c.withinBudget(t, func() {
			hello := kmsg.NewPtrApiVersionsRequest()
			for n := range connections {
				if _, err := ask[*kmsg.ApiVersionsResponse](c.connect(t), hello); err != nil {
					t.Fatalf("connection %d: %v", n, err)
				}
			}
		})
	})
}

// askFetch returns the name of the error that a fetch of one partition is answered with.
func askFetch(p *peer, request *kmsg.FetchRequest) (string, error) {
	response, err := ask[*kmsg.FetchResponse](p, request)
	if err != nil {
		return "", err
	}
	return kerr.Code(response.Topics[0].Partitions[0].ErrorCode).Name(), nil
}
