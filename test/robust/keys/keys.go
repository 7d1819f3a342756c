package keys

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const topic = "keys"

// Config says what load is made. The zero value of a field takes its default.
type Config struct {
	Bootstrap  string        // HOST:PORT of brokers, separated by commas; no default
	Partitions int           // default 2
	Keys       int           // default 20
	Writers    int           // default 2
	Pause      time.Duration // of a writer between two records, on average; default 5ms
}

func (c Config) withDefaults() Config {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&c.Partitions, 2)
	set(&c.Keys, 20)
	set(&c.Writers, 2)
	if c.Pause == 0 {
		c.Pause = 5 * time.Millisecond
	}
	return c
}

// Keys is a running load.
type Keys struct {
	config   Config
	table    *Table
	noWork   context.Context // ends when nothing shall be written any more
	gone     context.Context // ends when nothing shall be asked any more
	stopWork context.CancelFunc
	stop     context.CancelFunc
	workers  sync.WaitGroup
	done     []*atomic.Int64 // by writer

	mu     sync.Mutex // guards what follows
	faults []error
}

// Start makes the topic and begins the load. The load goes on until Drain or Stop, which the caller must call.
func Start(ctx context.Context, config Config) (*Keys, error) {
	k := &Keys{config: config.withDefaults()}
	k.table = NewTable(k.config.Keys)
	k.gone, k.stop = context.WithCancel(ctx)
	k.noWork, k.stopWork = context.WithCancel(k.gone)
	if err := k.createTopic(ctx); err != nil {
		k.stop()
		return nil, err
	}
	for i := range k.config.Writers {
		k.done = append(k.done, new(atomic.Int64))
		k.workers.Go(func() { k.write(i) })
	}
	k.workers.Go(k.readOver)
	return k, nil
}

func (k *Keys) client(options ...kgo.Opt) (*kgo.Client, error) {
	common := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(k.config.Bootstrap, ",")...),
		kgo.WithContext(k.gone),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.AlwaysRetryEOF(), // a connection that ends at once is a kill's sign here, not a missing login's
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.UnknownTopicRetries(-1), // nobody deletes the topic
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
	}
	return kgo.NewClient(append(common, options...)...)
}

// createTopic makes a topic that is compacted all the time, and whose deletions go soon.
func (k *Keys) createTopic(ctx context.Context) error {
	client, err := k.client()
	if err != nil {
		return err
	}
	defer client.Close()
	configs := make(map[string]*string)
	for name, value := range map[string]string{
		"cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "10000",
	} {
		configs[name] = &value
	}
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(k.config.Partitions), 1, configs, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

// write writes and deletes the writer's keys until work ends.
func (k *Keys) write(writer int) {
	const deletions = 10 // one in so many
	client, err := k.client(kgo.StopProducerOnDataLossDetected())
	if err != nil {
		k.fault(err)
		return
	}
	defer client.Close()
	defer context.AfterFunc(k.gone, client.Close)() // a record that may be on its way is not given up for less
	own := make([]int, 0, k.config.Keys)
	for key := writer; key < k.config.Keys; key += k.config.Writers {
		own = append(own, key)
	}
	for k.noWork.Err() == nil {
		k.pause()
		if !k.writeOne(client, own[rand.IntN(len(own))], rand.IntN(deletions) == 0) {
			return
		}
		k.done[writer].Add(1)
	}
	for _, key := range own { // so that no deletion is the last record of a partition, and goes while its end is waited for
		if !k.writeOne(client, key, false) {
			return
		}
	}
}

// writeOne writes or deletes a key; false: there is nothing more to do.
func (k *Keys) writeOne(client *kgo.Client, key int, deletion bool) bool {
	number := k.table.Write(key, deletion)
	text := []byte(strconv.Itoa(number))
	record := &kgo.Record{
		Topic: topic, Partition: int32(key % k.config.Partitions), Key: []byte(strconv.Itoa(key)),
		Headers: []kgo.RecordHeader{{Key: "number", Value: text}},
	}
	if !deletion {
		record.Value = text
	}
	if err := client.ProduceSync(k.gone, record).FirstErr(); err != nil {
		k.fault(fmt.Errorf("write: %w", err))
		return false
	}
	k.table.Stands(key, number)
	return true
}

// pause waits a little.
func (k *Keys) pause() {
	timer := time.NewTimer(rand.N(2 * k.config.Pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.noWork.Done():
	}
}

// readOver reads from the beginning to the end until work ends.
func (k *Keys) readOver() {
	for k.noWork.Err() == nil {
		if err := k.read(k.gone); err != nil && k.gone.Err() == nil {
			k.fault(fmt.Errorf("read: %w", err))
			return
		}
	}
}

// read reads once from the beginning to the end. It asks for the ends after the pass has begun.
func (k *Keys) read(ctx context.Context) error {
	pass := k.table.Begin()
	client, err := k.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepRetryableFetchErrors())
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := k.ends(ctx, client)
	if err != nil {
		return err
	}
	for len(ends) > 0 {
		fetches := client.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), readError(fetches)); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key, number := parse(r)
			pass.See(key, number, r.Value == nil)
			if r.Offset+1 >= ends[r.Partition] {
				delete(ends, r.Partition)
			}
		})
	}
	pass.End()
	return nil
}

// ends returns the ends of those partitions that have records. The last record of a partition is never compacted away while writers write.
func (k *Keys) ends(ctx context.Context, client *kgo.Client) (map[int32]int64, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		listed, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
		if err = errors.Join(err, listed.Error()); err == nil {
			ends := make(map[int32]int64)
			listed.Each(func(o kadm.ListedOffset) {
				if o.Offset > 0 {
					ends[o.Partition] = o.Offset
				}
			})
			return ends, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// parse returns the key and the number of a record; bytes that nobody made are key -1.
func parse(r *kgo.Record) (key, number int) {
	key, err := strconv.Atoi(string(r.Key))
	if err != nil || len(r.Headers) != 1 {
		return -1, 0
	}
	if number, err = strconv.Atoi(string(r.Headers[0].Value)); err != nil {
		return -1, 0
	}
	if r.Value != nil && string(r.Value) != strconv.Itoa(number) {
		return -1, 0
	}
	return key, number
}

// readError returns an answer that no reader should be given. Lost connections and answers that ask for a retry are a restart's signs.
func readError(fetches kgo.Fetches) (wrong error) {
	fetches.EachError(func(_ string, partition int32, err error) {
		var answer *kerr.Error
		if errors.As(err, &answer) && !answer.Retriable || errors.Is(err, kerr.OffsetOutOfRange) {
			wrong = fmt.Errorf("partition %d: %w", partition, err)
		}
	})
	return wrong
}

// fault notes something that no client of a correct cluster would have been told.
func (k *Keys) fault(err error) {
	if k.gone.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults = append(k.faults, err)
}

// Faults returns the errors that no client of a correct cluster would have been told.
func (k *Keys) Faults() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(k.faults...)
}

// Table returns what was written and seen.
func (k *Keys) Table() *Table { return k.table }

// Progress waits until each writer has written so many records more than now.
func (k *Keys) Progress(ctx context.Context, records int64) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for i, done := range k.done {
		for before := done.Load(); done.Load() < before+records; {
			select {
			case <-ctx.Done():
				return fmt.Errorf("writer %d does not go on: %w", i, ctx.Err())
			case <-ticker.C:
			}
		}
	}
	return nil
}

// Drain ends the load and reads once more.
func (k *Keys) Drain(ctx context.Context) error {
	defer k.Stop()
	defer context.AfterFunc(ctx, k.stop)()
	k.stopWork()
	k.workers.Wait()
	return k.read(ctx)
}

// Stop ends the load at once. It is safe after Drain.
func (k *Keys) Stop() {
	k.stop()
	k.workers.Wait()
}
