package first

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// contender is a running engine with its processes.
type contender struct {
	*harness.Cluster
	broker int   // the process that holds the partitions
	others []int // serve, for millrace; Apache Kafka has none
}

// pids returns the processes, the broker first.
func (c *contender) pids() []int { return append([]int{c.broker}, c.others...) }

// begin starts an engine.
func begin(t testing.TB, engine harness.Engine, o Options) *contender {
	t.Helper()
	c := &contender{}
	if engine == harness.ApacheKafka {
		c.Cluster = harness.StartKafka(t, harness.KafkaOptions{HeapMB: o.KafkaHeapMB, Properties: map[string]string{"log.retention.check.interval.ms": "300000"}})
	} else {
		c.Cluster = harness.StartMillrace(t, harness.MillraceOptions{})
		c.others = []int{c.Process().PID()}
	}
	pid, err := c.BrokerPID()
	if err != nil {
		t.Fatal(err)
	}
	c.broker = pid
	return c
}

// startToFirstAck starts an engine on an empty folder, makes a topic and produces one record, and returns the time from
// the start of its (first) process to the ack. The harness looks every 20 ms whether the engine answers, and that much
// is in the figure of both.
func startToFirstAck(t testing.TB, engine harness.Engine, o Options) (time.Duration, error) {
	t.Helper()
	c := begin(t, engine, o)
	defer c.Stop(t)
	if err := createTopic(t.Context(), c.Bootstrap, "first", 1); err != nil {
		return 0, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap), kgo.DefaultProduceTopic("first"), kgo.ProducerLinger(0))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("first")).FirstErr(); err != nil {
		return 0, err
	}
	now, err := sinceBoot()
	if err != nil {
		return 0, err
	}
	process, err := usageOf(c.Process().PID())
	return now - process.sinceBoot, err
}

func createTopic(ctx context.Context, bootstrap, topic string, partitions int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(partitions), 1, nil, topic)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

func deleteTopic(ctx context.Context, bootstrap, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopic(ctx, topic)
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}
