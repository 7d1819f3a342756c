package brokers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// many is a cluster with thousands of idle partitions.
type many struct {
	Brokers     int           `json:"brokers"`
	Partitions  int           `json:"partitions"`
	Created     time.Duration `json:"created"`      // making them
	BrokerBytes int64         `json:"broker_bytes"` // resident, more than without them, of all brokers together
	ServeBytes  int64         `json:"serve_bytes"`  // and of serve, which holds etcd
	Restart     time.Duration `json:"restart"`      // from SIGKILL of one broker until each partition has a leader and sampled ones take records
	Stopped     time.Duration `json:"stopped"`      // a stop in good order of everything
	Started     time.Duration `json:"started"`      // and a start on what it left, until records are taken
	Load        string        `json:"load_average"`
}

func (m many) String() string {
	per := int64(max(m.Partitions, 1))
	return fmt.Sprintf("%d brokers, %d partitions: made in %.1f s; %d bytes a partition in brokers and %d in serve with etcd; killed broker back in %.1f s; "+
		"stopped in %.1f s, started in %.1f s (load %s).", m.Brokers, m.Partitions, m.Created.Seconds(), m.BrokerBytes/per, m.ServeBytes/per,
		m.Restart.Seconds(), m.Stopped.Seconds(), m.Started.Seconds(), m.Load)
}

// perTopic is how many partitions a topic of a cluster with many has.
const perTopic = 1000

// resident is the memory of a process after it was told to rest: what is free in its heap counts, too.
func resident(t testing.TB, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no memory of process %d", pid)
	return 0
}

func (c express) memory(t testing.TB, brokers int) (of, serve int64) {
	t.Helper()
	for id := 1; id <= brokers; id++ {
		of += resident(t, c.pid(t, id))
	}
	return of, resident(t, c.Process().PID())
}

// measureMany makes partitions, looks what they cost, kills a broker, and stops and starts all.
func measureMany(t testing.TB, o options, brokers int) many {
	t.Helper()
	partitions := o.Many
	m := many{Brokers: brokers, Partitions: partitions, Load: loadAverage()}
	c := startExpress(t, o, brokers, brokers)
	rest(t.Context(), o.Warm)
	broker, serve := c.memory(t, brokers)
	began := time.Now()
	topics, err := c.makeMany(t.Context(), partitions)
	m.Created = time.Since(began)
	if err != nil {
		t.Fatalf("after %v and %d topics: %v", m.Created, len(topics), err)
	}
	t.Logf("%d partitions made in %v", partitions, m.Created)
	if err := c.takes(t.Context(), topics, partitions); err != nil {
		t.Fatal(err)
	}
	rest(t.Context(), o.Warm)
	afterBroker, afterServe := c.memory(t, brokers)
	m.BrokerBytes, m.ServeBytes = afterBroker-broker, afterServe-serve
	t.Logf("%d and %d bytes a partition", m.BrokerBytes/int64(partitions), m.ServeBytes/int64(partitions))
	began = time.Now()
	if err := syscall.Kill(c.pid(t, 1), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.led(t.Context(), topics), c.takes(t.Context(), topics, partitions)); err != nil {
		t.Fatal(err)
	}
	m.Restart = time.Since(began)
	t.Logf("restart: %v", m.Restart)
	began = time.Now()
	c.Stop(t)
	m.Stopped = time.Since(began)
	began = time.Now()
	c = c.again(t, o, brokers)
	if err := errors.Join(c.led(t.Context(), topics), c.takes(t.Context(), topics, partitions)); err != nil {
		t.Fatal(err)
	}
	m.Started = time.Since(began)
	c.Stop(t)
	return m
}

// again starts what was stopped, on its folder and ports.
func (c express) again(t testing.TB, o options, brokers int) express {
	t.Helper()
	_, text, err := net.SplitHostPort(c.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return express{harness.StartMillrace(t, harness.MillraceOptions{Brokers: brokers, Dir: c.Dir, KafkaPort: port, Args: o.Serve})}
}

// makeMany makes topics of perTopic partitions, as many as it takes.
func (c express) makeMany(ctx context.Context, partitions int) (topics []string, err error) {
	a, err := admin(c.bootstrap())
	if err != nil {
		return nil, err
	}
	defer a.Close()
	a.SetTimeoutMillis(60_000)
	for made := 0; made < partitions; made += perTopic {
		name := fmt.Sprintf("many-%d", made/perTopic)
		if _, err := a.CreateTopic(ctx, int32(min(perTopic, partitions-made)), -1, nil, name); err != nil {
			return topics, fmt.Errorf("create %s: %w", name, err)
		}
		topics = append(topics, name)
	}
	return topics, nil
}

// led waits until every partition has a leader.
func (c express) led(ctx context.Context, topics []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return well(ctx, c.bootstrap(), topics...)
}

// takes writes records to partitions of each topic: the first, and where there are so many, others.
func (c express) takes(ctx context.Context, topics []string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for i, topic := range topics {
		for _, p := range []int32{0, perTopic / 2, perTopic - 1} {
			if p > 0 && i*perTopic+int(p) >= partitions {
				continue
			}
			records = append(records, &kgo.Record{Topic: topic, Partition: p, Value: []byte(strings.Repeat("x", 10))})
		}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}
