package mix

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/tape"
)

// The topics, in the order of their keys.
var topics = [...]string{"plain", "mixed"}

// Config says what load is made. The zero value of a field takes its default.
type Config struct {
	Bootstrap  string        // HOST:PORT of brokers, separated by commas; no default
	Partitions int           // of each topic; default 2
	Senders    int           // default 3
	Movers     int           // default 2
	Pollers    int           // default 2
	Pause      time.Duration // of a worker between two operations, on average; default 20ms
	Timeout    time.Duration // of transactions; default 3s
}

func (c Config) withDefaults() Config {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&c.Partitions, 2)
	set(&c.Senders, 3)
	set(&c.Movers, 2)
	set(&c.Pollers, 2)
	if c.Pause == 0 {
		c.Pause = 20 * time.Millisecond
	}
	if c.Timeout == 0 {
		c.Timeout = 3 * time.Second
	}
	return c
}

// Mix is a running load.
type Mix struct {
	config   Config
	tape     *tape.Tape
	noWork   context.Context // ends when no operation shall begin any more
	gone     context.Context // ends when none shall go on
	stopWork context.CancelFunc
	stop     context.CancelFunc
	workers  sync.WaitGroup
	done     []*atomic.Int64 // by worker: operations that have ended well

	mu     sync.Mutex // guards what follows
	faults []error
}

// Start makes the topics and begins the load. The load goes on until Drain or Stop, which the caller must call.
func Start(ctx context.Context, config Config) (*Mix, error) {
	m := &Mix{config: config.withDefaults(), tape: tape.New()}
	if err := m.createTopics(ctx); err != nil {
		return nil, err
	}
	m.gone, m.stop = context.WithCancel(ctx)
	m.noWork, m.stopWork = context.WithCancel(m.gone)
	for range m.config.Senders {
		m.employ(m.send)
	}
	for i := range m.config.Movers {
		m.employ(func(done *atomic.Int64) { m.move(fmt.Sprintf("mover-%d", i), done) })
	}
	for range m.config.Pollers {
		m.employ(m.poll)
	}
	m.employ(m.ask)
	return m, nil
}

func (m *Mix) employ(work func(done *atomic.Int64)) {
	done := new(atomic.Int64)
	m.done = append(m.done, done)
	m.workers.Go(func() { work(done) })
}

// client returns a client that finds a restarted broker quickly.
func (m *Mix) client(options ...kgo.Opt) (*kgo.Client, error) {
	common := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(m.config.Bootstrap, ",")...),
		kgo.WithContext(m.gone),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.AlwaysRetryEOF(), // a connection that ends at once is a kill's sign here, not a missing login's
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.UnknownTopicRetries(-1), // nobody deletes the topics
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
	}
	return kgo.NewClient(append(common, options...)...)
}

func (m *Mix) createTopics(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(m.config.Bootstrap, ",")...))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, topic := range topics {
		_, err = kadm.NewClient(client).CreateTopic(ctx, int32(m.config.Partitions), 1, nil, topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return nil
}

// keys is the number of keys.
func (m *Mix) keys() int { return len(topics) * m.config.Partitions }

// key is that of a record.
func (m *Mix) key(r *kgo.Record) int {
	for i, topic := range topics {
		if topic == r.Topic {
			return i*m.config.Partitions + int(r.Partition)
		}
	}
	return 0 // not reached: consumers read no other topic
}

// record makes a record for a key.
func (m *Mix) record(key int, value int64) *kgo.Record {
	return &kgo.Record{
		Topic: topics[key/m.config.Partitions], Partition: int32(key % m.config.Partitions),
		Value: binary.BigEndian.AppendUint64(nil, uint64(value)),
	}
}

// value is the name of a record; one that nobody has stands for bytes that nobody made.
func value(r *kgo.Record) int64 {
	const size = 8
	if len(r.Value) != size {
		return -1
	}
	return int64(binary.BigEndian.Uint64(r.Value))
}

// pause waits a little.
func (m *Mix) pause() {
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(2 * m.config.Pause))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.noWork.Done():
	}
}

func (m *Mix) isClosing() bool { return m.noWork.Err() != nil }

// fault notes something that no client of a correct cluster would have been told.
func (m *Mix) fault(err error) {
	if m.gone.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, err)
}

// Faults returns the errors that no client of a correct cluster would have been told.
func (m *Mix) Faults() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	const shown = 10
	return errors.Join(m.faults[:min(shown, len(m.faults))]...)
}

// Tape returns what was done so far.
func (m *Mix) Tape() *tape.Tape { return m.tape }

// Progress waits until each worker has ended so many operations more than now.
func (m *Mix) Progress(ctx context.Context, operations int64) error {
	before := make([]int64, len(m.done))
	for i, done := range m.done {
		before[i] = done.Load()
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		behind := 0
		for i, done := range m.done {
			if done.Load() < before[i]+operations {
				behind++
			}
		}
		if behind == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d workers do not go on: %w", behind, len(m.done), ctx.Err())
		case <-ticker.C:
		}
	}
}

// Drain ends the load; then every key is read from its beginning to its end.
func (m *Mix) Drain(ctx context.Context) error {
	defer m.Stop()
	defer context.AfterFunc(ctx, m.stop)()
	m.stopWork()
	m.workers.Wait()
	return m.readAll(ctx)
}

// Stop ends the load at once. It is safe after Drain.
func (m *Mix) Stop() {
	m.stop()
	m.workers.Wait()
}
