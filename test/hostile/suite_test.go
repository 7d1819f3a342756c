package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// patience is the deadline of everything that is polled; no test comes near it unless it fails.
const patience = 30 * time.Second

// cluster is a running cluster with what every test does to it.
type cluster struct {
	*harness.Cluster
	t testing.TB
}

func startMillrace(t testing.TB, args ...string) *cluster {
	t.Helper()
	return &cluster{harness.StartMillrace(t, harness.MillraceOptions{Args: args}), t}
}

func startKafka(t testing.TB) *cluster {
	t.Helper()
	return &cluster{harness.StartKafka(t, harness.KafkaOptions{}), t}
}

// client returns a client that ends with the test.
func (c *cluster) client(options ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Bootstrap)}, options...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// config is the configuration of a topic, as NAME=VALUE.
type config []string

func (c config) pointers() map[string]*string {
	values := make(map[string]*string)
	for _, pair := range c {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = &value
	}
	return values
}

// topic creates a topic.
func (c *cluster) topic(name string, partitions int32, configs ...string) {
	c.t.Helper()
	admin := kadm.NewClient(c.client())
	created, err := admin.CreateTopic(c.t.Context(), partitions, 1, config(configs).pointers(), name)
	if err = errors.Join(err, created.Err); err != nil {
		c.t.Fatalf("create topic %s: %v", name, err)
	}
}

// brokerLog returns the lines that the brokers of a millrace have printed.
func (c *cluster) brokerLog() []string {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.Dir, "logs", "*.log"))
	if err != nil || len(files) == 0 {
		c.t.Fatalf("no log of a broker: %v", err)
	}
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			c.t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(text)), "\n")...)
	}
	return lines
}

// count returns how many lines of the brokers' log have the message.
func (c *cluster) count(message string) (n int) {
	for _, line := range c.brokerLog() {
		if strings.Contains(line, `"msg":"`+message) {
			n++
		}
	}
	return n
}

// unharmed runs attack while a well-behaved client works, and then checks that the client noticed nothing, that the broker
// is the same process, and that its log has no line about a fault of its own.
func (c *cluster) unharmed(attack func()) {
	c.t.Helper()
	before, err := c.BrokerPID()
	if err != nil {
		c.t.Fatal(err)
	}
	client := c.work()
	attack()
	client.stop()
	if after, err := c.BrokerPID(); err != nil || after != before {
		c.t.Errorf("the broker was process %d and is %d: %v", before, after, err)
	}
	for _, line := range c.brokerLog() {
		var entry struct {
			Level string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "ERROR" {
			c.t.Errorf("in the broker's log: %.2000s", line)
		}
	}
}

// worker is a client that does nothing wrong: it produces record after record and reads them back.
type worker struct {
	t       testing.TB
	end     context.CancelFunc
	ended   sync.WaitGroup
	client  *kgo.Client
	sent    int
	slowest time.Duration
	err     error
}

const workTopic = "well-behaved"

// work starts a worker; it has done its first round when work returns.
func (c *cluster) work() *worker {
	c.t.Helper()
	c.topic(workTopic, 3)
	w := &worker{t: c.t}
	// Not one retry: an error that a client has to get over is an error here.
	w.client = c.client(kgo.DefaultProduceTopic(workTopic), kgo.ConsumeTopics(workTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RecordRetries(0), kgo.RequestRetries(0), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	ctx, cancel := context.WithCancel(c.t.Context())
	w.end = cancel
	w.round()
	w.ended.Go(func() {
		for ctx.Err() == nil && w.err == nil {
			w.round()
		}
	})
	return w
}

// round produces a few records and reads as many. It does not end with the worker, so that nothing is left half done.
func (w *worker) round() {
	const records = 30
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	began := time.Now()
	for n := range records {
		record := kgo.StringRecord(fmt.Sprint(w.sent + n))
		w.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			w.err = errors.Join(w.err, err)
		})
	}
	if err := errors.Join(w.client.Flush(ctx), w.err); err != nil {
		w.err = fmt.Errorf("produce: %w", err)
		return
	}
	w.sent += records
	seen := make(map[string]bool)
	for len(seen) < records {
		fetches := w.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.err = fmt.Errorf("consume: %w", err)
			return
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
	for n := range records {
		if name := fmt.Sprint(w.sent - records + n); !seen[name] {
			w.err = fmt.Errorf("record %s was not read back", name)
		}
	}
	w.slowest = max(w.slowest, time.Since(began))
}

// stop ends the worker and fails the test if it has seen an error.
func (w *worker) stop() {
	w.t.Helper()
	w.end()
	w.ended.Wait()
	if w.err != nil {
		w.t.Errorf("the well-behaved client after %d records: %v", w.sent, w.err)
	}
	w.t.Logf("the well-behaved client: %d records, slowest round %v", w.sent, w.slowest.Round(time.Millisecond))
}
