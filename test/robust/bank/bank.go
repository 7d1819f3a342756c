package bank

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"millrace/test/harness"
	"millrace/test/robust/ledger"
)

// The topics of a bank; the first three are indexed by ledger.Leg.
var legTopics = [ledger.Topics]string{"debits", "credits", "entries"}

const (
	ordersTopic = "orders"
	clerksGroup = "clerks"
	accounts    = 20
)

// Config says what load is made. The zero value of a field takes its default.
type Config struct {
	Bootstrap  string        // HOST:PORT of brokers, separated by commas; no default
	Partitions int           // of each topic that transfers go to; default 3
	Tellers    int           // default 4
	Clerks     int           // default 4
	Orders     int           // per second; default 100
	Timeout    time.Duration // of transactions; default 3s
	Session    time.Duration // of clerks; default 6s, the least that Kafka takes by default
	Python     string        // interpreter with confluent-kafka, for one teller more; empty means none
	Logs       string        // folder for the logs of the workers' clients; empty means none
}

func (c Config) withDefaults() Config {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&c.Partitions, 3)
	set(&c.Tellers, 4)
	set(&c.Clerks, 4)
	set(&c.Orders, 100)
	if c.Timeout == 0 {
		c.Timeout = 3 * time.Second
	}
	if c.Session == 0 {
		c.Session = 6 * time.Second
	}
	return c
}

// Bank is a running load.
type Bank struct {
	config   Config
	book     *ledger.Book
	workers  []*worker
	people   sync.WaitGroup // workers
	customer sync.WaitGroup
	watchers sync.WaitGroup // readers and the watcher
	// Closing time comes in steps: no more orders, nothing untoward any more, no more transactions, no more requests.
	noOrders, calm, noWork, gone context.Context
	stopOrders, stopFun          context.CancelFunc
	stopWork, stop               context.CancelFunc

	watching sync.Mutex // one asks for offsets at a time
	mu       sync.Mutex // guards what follows
	told     map[string]int
	faults   []error
}

// Start makes the topics and begins the load. The load goes on until Drain or Stop, which the caller must call.
func Start(ctx context.Context, config Config) (*Bank, error) {
	config = config.withDefaults()
	b := &Bank{config: config, book: ledger.New(config.Partitions), told: make(map[string]int)}
	if err := b.createTopics(ctx); err != nil {
		return nil, err
	}
	b.gone, b.stop = context.WithCancel(ctx)
	b.noWork, b.stopWork = context.WithCancel(b.gone)
	b.calm, b.stopFun = context.WithCancel(b.noWork)
	b.noOrders, b.stopOrders = context.WithCancel(b.noWork)
	for i := range config.Tellers {
		b.employ(fmt.Sprintf("teller-%d", i), i, b.tell)
	}
	for i := range config.Clerks {
		b.employ(fmt.Sprintf("clerk-%d", i), i, b.serve)
	}
	if config.Python != "" {
		b.employ("foreigner", 1, b.tellForeign)
	}
	b.customer.Go(b.order)
	for range 2 {
		b.watchers.Go(b.browse)
	}
	b.watchers.Go(b.follow)
	b.watchers.Go(b.watch)
	return b, nil
}

// employ starts a worker; the odd ones speak the first version of the transaction protocol.
func (b *Bank) employ(id string, number int, work func(*worker)) {
	w := &worker{bank: b, id: id, now: id, old: number%2 == 1}
	b.workers = append(b.workers, w)
	b.people.Go(func() { work(w) })
}

// options returns the options of a client that finds a restarted broker quickly.
func (b *Bank) options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(b.config.Bootstrap, ",")...),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.AlwaysRetryEOF(), // a connection that ends at once is a kill's sign here, not a missing login's
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.UnknownTopicRetries(-1), // nobody deletes the topics
	}, more...)
}

// transactional returns the options of a worker's client.
func (b *Bank) transactional(id string, old bool, more ...kgo.Opt) []kgo.Opt {
	more = append(more,
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(b.config.Timeout),
		kgo.WithContext(b.gone),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
	)
	if b.config.Logs != "" {
		more = append(more, kgo.WithLogger(harness.ClientLog(b.config.Logs, id)))
	}
	if old {
		more = append(more, kgo.MaxVersions(kversion.V3_9_0()))
	}
	return b.options(more...)
}

func (b *Bank) createTopics(ctx context.Context) error {
	client, err := kgo.NewClient(b.options()...)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, topic := range append(legTopics[:], ordersTopic) {
		partitions := b.config.Partitions
		if topic == ordersTopic {
			partitions = 3 * b.config.Clerks // so that each clerk has some
		}
		_, err = kadm.NewClient(client).CreateTopic(ctx, int32(partitions), 1, nil, topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll(ctx, func() error { // a broker may hear of its topics a little later
		made, err := kadm.NewClient(client).ListTopics(ctx, append(legTopics[:], ordersTopic)...)
		return errors.Join(err, made.Error())
	})
}

// Book returns what was done and seen so far.
func (b *Bank) Book() *ledger.Book { return b.book }

// note counts an error that a worker was told; a correct cluster may tell it, since workers misbehave and brokers die.
func (b *Bank) note(what string, err error) {
	if b.gone.Err() != nil {
		return
	}
	text := "another error"
	var answer *kerr.Error
	switch {
	case errors.As(err, &answer):
		text = answer.Message
	case err != nil:
		text = err.Error()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told[what+": "+text]++
	if errors.Is(err, kerr.UnknownServerError) {
		b.faults = append(b.faults, fmt.Errorf("%s: %w", what, err))
	}
}

// Told returns, sorted, the errors that workers were told, with how often.
func (b *Bank) Told() (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(b.told)) {
		lines = append(lines, fmt.Sprintf("%5d %s", b.told[what], what))
	}
	return lines
}

// fault notes something that no client of a correct cluster would have been told.
func (b *Bank) fault(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, err)
}

// Faults returns the errors that no client of a correct cluster would have been told.
func (b *Bank) Faults() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	const shown = 10
	return errors.Join(b.faults[:min(shown, len(b.faults))]...)
}

// Progress waits until each worker has committed at least so many transactions more than now.
func (b *Bank) Progress(ctx context.Context, transactions int64) error {
	before := b.done()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		var behind []string
		for i, done := range b.done() {
			if done < before[i]+transactions {
				behind = append(behind, b.workers[i].id)
			}
		}
		if len(behind) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no progress of %v: %w", behind, ctx.Err())
		case <-ticker.C:
		}
	}
}

// done returns, by worker, how many transactions it was told to be committed.
func (b *Bank) done() []int64 {
	done := make([]int64, len(b.workers))
	for i, w := range b.workers {
		done[i] = w.done.Load()
	}
	return done
}

// Drain ends the load: no new orders; those that were accepted are fulfilled; every transaction ends, the abandoned ones by
// their timeouts. It returns how long these took after the last worker had gone.
func (b *Bank) Drain(ctx context.Context) (settled time.Duration, err error) {
	defer b.Stop()
	defer context.AfterFunc(ctx, b.stop)()
	b.stopFun()
	b.stopOrders()
	b.customer.Wait()
	if err := b.served(ctx); err != nil {
		return 0, fmt.Errorf("wait until all orders are fulfilled: %w", err)
	}
	b.stopWork()
	b.people.Wait()
	begin := time.Now()
	if err := b.settle(ctx); err != nil {
		return 0, fmt.Errorf("wait until all transactions have ended: %w", err)
	}
	return time.Since(begin), nil
}

// Stop ends the load at once. It is safe after Drain.
func (b *Bank) Stop() {
	b.stop()
	b.customer.Wait()
	b.people.Wait()
	b.watchers.Wait()
}

// transfer returns a random transfer.
func (b *Bank) transfer() ledger.Transfer {
	t := ledger.Transfer{Order: ledger.NoOrder, From: rand.Int32N(accounts), To: rand.Int32N(accounts - 1), Amount: 1 + rand.Int64N(100)}
	if t.To >= t.From {
		t.To++
	}
	for leg := range t.Partition {
		t.Partition[leg] = rand.Int32N(int32(b.config.Partitions))
	}
	return t
}
