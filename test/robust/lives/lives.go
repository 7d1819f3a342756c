package lives

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topic      = "lives"
	partitions = 3
	records    = 20 // of each partition, in a life
)

// Lives is a running load.
type Lives struct {
	seeds    []string
	noWork   context.Context // ends when no life shall begin any more
	gone     context.Context // ends when nothing shall be asked any more
	stopWork context.CancelFunc
	stop     context.CancelFunc
	worker   sync.WaitGroup
	lived    atomic.Int64
	before   [16]byte // the topic's id in the life before; the worker's own

	mu     sync.Mutex // guards what follows
	faults []error
	found  []error
}

// Start begins the load on the cluster of these brokers (HOST:PORT, separated by commas). It goes on until Drain or Stop, which the caller
// must call.
func Start(ctx context.Context, bootstrap string) *Lives {
	l := &Lives{seeds: strings.Split(bootstrap, ",")}
	l.gone, l.stop = context.WithCancel(ctx)
	l.noWork, l.stopWork = context.WithCancel(l.gone)
	l.worker.Go(func() {
		for number := 1; l.noWork.Err() == nil; number++ {
			if err := l.live(number); err != nil {
				l.note(&l.faults, fmt.Errorf("life %d: %w", number, err))
				return
			}
			l.lived.Add(1)
		}
	})
	return l
}

// live is one life.
func (l *Lives) live(number int) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(l.seeds...),
		kgo.WithContext(l.gone),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(50*time.Millisecond),
		kgo.AlwaysRetryEOF(), // a connection that ends at once is a kill's sign here, not a missing login's
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.UnknownTopicRetries(-1), // another broker may hear of the topic later
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.StopProducerOnDataLossDetected(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(l.gone, client.Close)() // a record that may be on its way is not given up for less
	admin := kadm.NewClient(client)
	if err := l.insist(func() error {
		_, err := admin.CreateTopic(l.gone, partitions, 1, nil, topic)
		return except(err, kerr.TopicAlreadyExists) // by an attempt whose answer was lost
	}); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if err := l.insist(func() error { return l.known(client) }); err != nil {
		return fmt.Errorf("wait until all brokers know the topic: %w", err)
	}
	written := make([]*kgo.Record, 0, partitions*records)
	for i := range cap(written) {
		value := fmt.Appendf(nil, "%d of life %d", i, number)
		written = append(written, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: value})
	}
	if err := client.ProduceSync(l.gone, written...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if err := l.read(number, written); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := l.insist(func() error {
		_, err := admin.DeleteTopic(l.gone, topic)
		return except(err, kerr.UnknownTopicOrPartition)
	}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// known is nil once all brokers know the topic by the same id, another one than in the life before: a broker that does not hear of
// changes for a while shows, and serves, an earlier life, as it does in Kafka.
func (l *Lives) known(client *kgo.Client) error {
	var id [16]byte
	for i, broker := range client.SeedBrokers() {
		request := kmsg.NewPtrMetadataRequest()
		name := kmsg.NewMetadataRequestTopic()
		name.Topic = kmsg.StringPtr(topic)
		request.Topics = append(request.Topics, name)
		answer, err := broker.Request(l.gone, request)
		if err != nil {
			return err
		}
		topics := answer.(*kmsg.MetadataResponse).Topics
		switch {
		case len(topics) != 1 || topics[0].ErrorCode != 0:
			return fmt.Errorf("seed %d does not know it", i)
		case topics[0].TopicID == l.before || i > 0 && topics[0].TopicID != id:
			return fmt.Errorf("seed %d knows an earlier life", i)
		}
		id = topics[0].TopicID
	}
	l.before = id
	return nil
}

// read reads all of a life from its beginning, and compares.
func (l *Lives) read(number int, written []*kgo.Record) error {
	places := make(map[int32]kgo.Offset)
	want := make(map[int32][]string)
	for _, r := range written {
		places[r.Partition] = kgo.NewOffset().At(0)
		lane := want[r.Partition]
		if missing := int(r.Offset) + 1 - len(lane); missing > 0 {
			lane = append(lane, make([]string, missing)...)
		}
		lane[r.Offset] = string(r.Value)
		want[r.Partition] = lane
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(l.seeds...), kgo.WithContext(l.gone), kgo.AlwaysRetryEOF(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: places}), kgo.KeepRetryableFetchErrors(),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(50*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for left := len(written); left > 0; {
		fetches := client.PollFetches(l.gone)
		if err := l.gone.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			lane := want[r.Partition]
			if r.Offset >= int64(len(lane)) || lane[r.Offset] != string(r.Value) {
				l.note(&l.found, fmt.Errorf("wrong: life %d: %q at offset %d of partition %d", number, r.Value, r.Offset, r.Partition))
			}
		})
	}
	return nil
}

// insist calls do until it is nil, as an administrator would while brokers are away.
func (l *Lives) insist(do func() error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-l.gone.Done():
			return errors.Join(err, l.gone.Err())
		case <-ticker.C:
		}
	}
}

// except makes nothing of one error.
func except(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

func (l *Lives) note(into *[]error, err error) {
	if l.gone.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	*into = append(*into, err)
}

// Faults returns the errors that no client of a correct cluster would have been told.
func (l *Lives) Faults() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.faults...)
}

// Verify returns what readers saw that they should not have seen, and how many lives there were.
func (l *Lives) Verify() (found []error, lived int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found, l.lived.Load()
}

// Progress waits until so many lives more have ended.
func (l *Lives) Progress(ctx context.Context, lives int64) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for before := l.lived.Load(); l.lived.Load() < before+lives; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the topic's life does not go on: %w", ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}

// Drain waits for the end of the life that has begun.
func (l *Lives) Drain(ctx context.Context) error {
	defer l.Stop()
	defer context.AfterFunc(ctx, l.stop)()
	l.stopWork()
	l.worker.Wait()
	return ctx.Err()
}

// Stop ends the load at once. It is safe after Drain.
func (l *Lives) Stop() {
	l.stop()
	l.worker.Wait()
}
