package first

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"millrace/test/harness"
)

// Options is the size of a comparison.
type Options struct {
	Records         int    `json:"records"`     // sent and read per round
	RecordSize      int    `json:"record_size"` // bytes of each value
	Rounds          int    `json:"rounds"`
	Starts          int    `json:"starts"` // starts of each engine, for start to first ack
	Partitions      int    `json:"partitions"`
	LingerMs        int    `json:"linger_ms"`  // -1: the Java client's default
	BatchSize       int    `json:"batch_size"` // bytes; 0: the Java client's default
	Compression     string `json:"compression"`
	Rate            int    `json:"rate"` // records per second of the latency part
	LatencySeconds  int    `json:"latency_seconds"`
	KafkaHeapMB     int    `json:"kafka_heap_mb"`
	PatienceSeconds int    `json:"patience_seconds"` // longest wait for an engine to come to rest
}

// patience is how long an engine may take to come to rest.
func (o Options) patience() time.Duration { return time.Duration(o.PatienceSeconds) * time.Second }

// The figures of one turn, by name; report.go says what each means and in which unit.
type figures map[string]float64

// comparison is a whole run.
type comparison struct {
	Options Options                      `json:"options"`
	Machine machine                      `json:"machine"`
	Engines map[harness.Engine][]figures `json:"engines"` // one entry per round, start, or idle look
}

// engines returns the contenders, the mark first.
func engines() []harness.Engine { return []harness.Engine{harness.ApacheKafka, harness.Millrace} }

// compare does the whole run.
func compare(t testing.TB, o Options) (*comparison, error) {
	t.Helper()
	result := &comparison{Options: o, Machine: thisMachine(t), Engines: make(map[harness.Engine][]figures)}
	note := func(engine harness.Engine, f figures) {
		result.Engines[engine] = append(result.Engines[engine], f)
	}
	for range o.Starts {
		for _, engine := range engines() {
			took, err := startToFirstAck(t, engine, o)
			if err != nil {
				return nil, fmt.Errorf("%s: start to first ack: %w", engine, err)
			}
			note(engine, figures{"start": took.Seconds()})
		}
	}
	running := make(map[harness.Engine]*contender)
	for _, engine := range engines() {
		c := begin(t, engine, o)
		running[engine] = c
		idle, err := settle(t.Context(), c.pids(), o.patience())
		if err != nil {
			return nil, err
		}
		note(engine, figures{"rss_idle": megabytes(idle[0].rss), "rss_idle_all": megabytes(sum(idle, func(u usage) int64 { return u.rss }))})
	}
	for _, engine := range engines() {
		t.Logf("warm-up of %s", engine)
		if _, err := turn(t, running[engine], "warmup", o); err != nil {
			return nil, fmt.Errorf("%s: %w", engine, err)
		}
	}
	order := engines()
	for round := range o.Rounds {
		for _, engine := range order {
			f, err := turn(t, running[engine], fmt.Sprintf("round-%d", round), o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", engine, err)
			}
			t.Logf("round %d of %d: %s: %.0f MB/s produced, %.0f MB/s consumed", round+1, o.Rounds, engine, f["produce"], f["consume"])
			note(engine, f)
		}
		slices.Reverse(order)
	}
	return result, nil
}

// turn is one engine's part of a round.
func turn(t testing.TB, c *contender, topic string, o Options) (figures, error) {
	t.Helper()
	ctx := t.Context()
	lag := topic + "-latency"
	if err := errors.Join(createTopic(ctx, c.Bootstrap, topic, o.Partitions), createTopic(ctx, c.Bootstrap, lag, 1)); err != nil {
		return nil, err
	}
	f := figures{}
	megabytesMoved := float64(o.Records) * float64(o.RecordSize) / 1e6
	throughput := func(name string, work func() (recordsPerSecond float64, err error)) error {
		before, err := settle(ctx, c.pids(), o.patience())
		if err != nil {
			return err
		}
		perSecond, err := work()
		if err != nil {
			return err
		}
		after, err := settle(ctx, c.pids(), o.patience())
		if err != nil {
			return err
		}
		f[name] = perSecond * float64(o.RecordSize) / 1e6
		f[name+"_cpu"] = (after[0].cpu - before[0].cpu).Seconds() / megabytesMoved * 1e3
		cpu := func(u usage) time.Duration { return u.cpu }
		f[name+"_cpu_all"] = (sum(after, cpu) - sum(before, cpu)).Seconds() / megabytesMoved * 1e3
		return nil
	}
	if err := throughput("produce", func() (float64, error) { return produce(t, c.Bootstrap, topic, o) }); err != nil {
		return nil, err
	}
	if err := throughput("consume", func() (float64, error) { return consume(t, c.Bootstrap, topic, o) }); err != nil {
		return nil, err
	}
	late, err := latencies(ctx, c.Bootstrap, lag, o)
	if err != nil {
		return nil, err
	}
	for _, percent := range []float64{50, 99, 99.9} {
		f[fmt.Sprintf("latency_p%v", percent)] = percentile(late, percent).Seconds() * 1e3
	}
	end, err := settle(ctx, c.pids(), o.patience())
	if err != nil {
		return nil, err
	}
	f["rss_peak"] = megabytes(end[0].rssPeak)
	f["rss_peak_all"] = megabytes(sum(end, func(u usage) int64 { return u.rssPeak }))
	return f, errors.Join(deleteTopic(ctx, c.Bootstrap, topic), deleteTopic(ctx, c.Bootstrap, lag))
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

func sum[T int64 | time.Duration](all []usage, of func(usage) T) (total T) {
	for _, u := range all {
		total += of(u)
	}
	return total
}
