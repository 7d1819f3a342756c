package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

var (
	rounds  = flag.Int("rounds", 1, "rounds of each measurement; medians are told")
	mb      = flag.Int("mb", 16, "MB of records of a round")
	samples = flag.Int("samples", 200, "records of a round of latency")
	rate    = flag.Int("rate", 500, "records per second of a round of latency")
)

const recordBytes = 1024

// way is one way to the cluster.
type way struct {
	name, bootstrap string

	produce, fetch     []float64 // MB/s
	produceCPU, getCPU []float64 // CPU seconds of the gateway for each GB
	latency            []time.Duration
	latencyP99         []time.Duration
}

func TestGateway(t *testing.T) {
	harness.Long(t, "make test-all")
	kafka := harness.StartKafka(t, harness.KafkaOptions{HeapMB: 1024})
	process, bootstrap := startGateway(t, kafka.Bootstrap)
	ways := []*way{{name: "direct", bootstrap: kafka.Bootstrap}, {name: "gateway", bootstrap: bootstrap}}
	admin := kadm.NewClient(client(t, kafka.Bootstrap))
	run := func(w *way, round int) {
		topic := fmt.Sprintf("%s-%d", w.name, round)
		if _, err := admin.CreateTopic(t.Context(), 3, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic+"-latency"); err != nil {
			t.Fatal(err)
		}
		before := cpuOf(t, process.PID())
		w.produce = append(w.produce, produce(t, w.bootstrap, topic))
		between := cpuOf(t, process.PID())
		w.fetch = append(w.fetch, fetch(t, w.bootstrap, topic))
		gb := float64(*mb) / 1000
		w.produceCPU = append(w.produceCPU, (between-before).Seconds()/gb)
		w.getCPU = append(w.getCPU, (cpuOf(t, process.PID())-between).Seconds()/gb)
		p50, p99 := latency(t, w.bootstrap, topic+"-latency")
		w.latency, w.latencyP99 = append(w.latency, p50), append(w.latencyP99, p99)
	}
	for _, w := range ways { // warm
		run(w, -1)
		*w = way{name: w.name, bootstrap: w.bootstrap}
	}
	for round := range *rounds {
		for _, w := range ways {
			run(w, round)
		}
	}
	t.Logf("%d rounds of %d MB, medians; latency of %d records at %d/s", *rounds, *mb, *samples, *rate)
	for _, w := range ways {
		t.Logf("%-8s produce %7.1f MB/s   fetch %7.1f MB/s   gateway CPU-s/GB %.2f, %.2f   p50 %v   p99 %v", w.name, median(w.produce), median(w.fetch),
			median(w.produceCPU), median(w.getCPU), median(w.latency), median(w.latencyP99))
	}
	t.Logf("peak memory of the gateway: %s", peak(t, process.PID()))
}

// startGateway runs the verb in front of a cluster.
func startGateway(t *testing.T, upstream string) (*harness.Process, string) {
	binary := harness.MillraceBinary(t)
	port := harness.FreePorts(t, 5)
	listen, health := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+4)
	command := exec.Command(binary, "gateway", "--upstream", upstream, "--listen", listen, "--health", health)
	process := harness.StartProcess(t, "millrace gateway", filepath.Join(t.TempDir(), "gateway.log"), command)
	harness.Eventually(t, time.Minute, "the gateway is ready", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+health+"/healthz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
	return process, listen
}

func client(t *testing.T, bootstrap string, options ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func produce(t *testing.T, bootstrap, topic string) float64 {
	c := client(t, bootstrap, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(20_000))
	defer c.Close()
	value := make([]byte, recordBytes)
	for i := range value {
		value[i] = byte(i * 31)
	}
	n := *mb * 1_000_000 / recordBytes
	failed := make(chan error, 1)
	begin := time.Now()
	for range n {
		c.Produce(t.Context(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	return float64(*mb) / time.Since(begin).Seconds()
}

func fetch(t *testing.T, bootstrap, topic string) float64 {
	c := client(t, bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	n := *mb * 1_000_000 / recordBytes
	begin := time.Now()
	for n > 0 {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n -= fetches.NumRecords()
	}
	return float64(*mb) / time.Since(begin).Seconds()
}

// latency sends records at a fixed rate and tells how long after they were due they were read.
func latency(t *testing.T, bootstrap, topic string) (p50, p99 time.Duration) {
	w := client(t, bootstrap, kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	r := client(t, bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer w.Close()
	defer r.Close()
	if err := w.ProduceSync(t.Context(), &kgo.Record{Value: make([]byte, 16)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for n := 0; n == 0; n = r.PollFetches(t.Context()).NumRecords() {
	}
	begin := time.Now()
	go func() {
		ticker := time.NewTicker(time.Second / time.Duration(*rate))
		defer ticker.Stop()
		for range *samples {
			<-ticker.C
			value := binary.BigEndian.AppendUint64(make([]byte, 0, recordBytes), uint64(time.Since(begin)))
			w.Produce(context.Background(), &kgo.Record{Value: value[:cap(value)][:recordBytes]}, nil)
		}
	}()
	var all []time.Duration
	for len(all) < *samples {
		fetches := r.PollFetches(t.Context())
		now := time.Since(begin)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(x *kgo.Record) {
			if len(x.Value) == recordBytes {
				all = append(all, now-time.Duration(binary.BigEndian.Uint64(x.Value)))
			}
		})
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

func median[T float64 | time.Duration](all []T) T {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// ticks is the unit of times below /proc, a hundredth of a second on every Linux that Go runs on.
const ticks = 100

// cpuOf returns the user and system time of a process.
func cpuOf(t *testing.T, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	total := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(string(field))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return time.Duration(total) * time.Second / ticks
}

func peak(t *testing.T, pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			return string(bytes.TrimSpace(rest))
		}
	}
	return "unknown"
}
