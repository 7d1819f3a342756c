package traffic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/history"
)

// Config says what load is made. The zero value of a field takes its default.
type Config struct {
	Bootstrap  string // HOST:PORT of brokers, separated by commas; no default
	Topic      string // made by Start; default "history"
	Partitions int    // default 3
	Producers  int    // producers at any time; default 4
	Rate       int    // records per second of each producer; default 4,000
	ValueSize  int    // bytes; values have up to twice that; default 100
}

func (c Config) withDefaults() Config {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	if c.Topic == "" {
		c.Topic = "history"
	}
	set(&c.Partitions, 3)
	set(&c.Producers, 4)
	set(&c.Rate, 4000)
	set(&c.ValueSize, 100)
	return c
}

// Traffic is a running load.
type Traffic struct {
	config    Config
	history   *history.History
	producers []*producer
	stopRead  context.CancelFunc
	readers   sync.WaitGroup

	mu     sync.Mutex
	faults []error
}

// Start makes the topic and begins the load. The load goes on until Drain or Stop, which the caller must call.
func Start(ctx context.Context, config Config) (*Traffic, error) {
	config = config.withDefaults()
	t := &Traffic{config: config, history: history.New(config.Partitions, config.ValueSize)}
	if err := t.createTopic(ctx); err != nil {
		return nil, err
	}
	readContext, stopRead := context.WithCancel(ctx)
	t.stopRead = stopRead
	for range config.Producers {
		p, err := t.startProducer(ctx)
		if err != nil {
			t.Stop()
			return nil, err
		}
		t.producers = append(t.producers, p)
	}
	t.readers.Go(func() { t.read(readContext) })
	t.readers.Go(func() { t.watch(readContext) })
	return t, nil
}

// client returns a client of the cluster that finds a restarted broker quickly.
func (t *Traffic) client(options ...kgo.Opt) (*kgo.Client, error) {
	common := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(t.config.Bootstrap, ",")...),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.AlwaysRetryEOF(), // a connection that ends at once is a kill's sign here, not a missing login's
	}
	return kgo.NewClient(append(common, options...)...)
}

func (t *Traffic) createTopic(ctx context.Context) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(t.config.Partitions), 1, nil, t.config.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", t.config.Topic, err)
	}
	return nil
}

// History returns what was done and seen so far.
func (t *Traffic) History() *history.History { return t.history }

// fault notes something that no client of a correct cluster would have been told.
func (t *Traffic) fault(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, err)
}

// Faults returns the errors that clients handed to their users: none, on a correct cluster.
func (t *Traffic) Faults() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	const shown = 10
	return errors.Join(t.faults[:min(shown, len(t.faults))]...)
}

// Progress waits until each partition has acknowledged at least so many records more than now.
func (t *Traffic) Progress(ctx context.Context, records int64) error {
	before := t.history.Acks()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		reached := true
		for i, acks := range t.history.Acks() {
			reached = reached && acks >= before[i]+records
		}
		if reached {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("acks by partition were %v and are %v: %w", before, t.history.Acks(), ctx.Err())
		case <-ticker.C:
		}
	}
}

// ReplaceProducer ends a producer in the middle of its work, as a crashed application would, and starts another.
func (t *Traffic) ReplaceProducer(ctx context.Context) error {
	t.producers[0].abandon()
	p, err := t.startProducer(ctx)
	if err != nil {
		return err
	}
	t.producers = append(t.producers[1:], p)
	return nil
}

// Drain ends the load: producers send nothing more and wait for the acks of what they sent; then readers end.
func (t *Traffic) Drain(ctx context.Context) error {
	defer t.Stop()
	for _, p := range t.producers {
		if err := p.finish(ctx); err != nil {
			return fmt.Errorf("wait for outstanding acks: %w", err)
		}
	}
	return nil
}

// Stop ends the load at once. It is safe after Drain.
func (t *Traffic) Stop() {
	for _, p := range t.producers {
		p.abandon()
	}
	t.producers = nil
	t.stopRead()
	t.readers.Wait()
}
