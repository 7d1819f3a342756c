package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// kafkaTool runs one of Apache Kafka's own tools and returns what it printed.
func kafkaTool(t *testing.T, class string, args ...string) string {
	t.Helper()
	out, err := runKafkaTool(harness.Require(t, harness.Java), class, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// runKafkaTool is kafkaTool for goroutines that are not the test's.
func runKafkaTool(classPath, class string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "java", harness.JavaArgs(classPath, class, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", class, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// waits adds up what a client is told to wait.
type waits struct {
	times, millis atomic.Int64
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (w *waits) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) {
	w.times.Add(1)
	w.millis.Add(d.Milliseconds())
}

func newClient(t *testing.T, cluster *harness.Cluster, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(cluster.Bootstrap))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func createTopic(t *testing.T, cluster *harness.Cluster, name string) {
	t.Helper()
	if _, err := kadm.NewClient(newClient(t, cluster)).CreateTopic(t.Context(), 1, 1, nil, name); err != nil {
		t.Fatal(err)
	}
}

// TestQuotasOfKafkaConfigsHoldClientsBack sets quotas with Kafka's tool. A client may send and read the first ten seconds' worth
// at once, and is told to wait then.
func TestQuotasOfKafkaConfigsHoldClientsBack(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const (
		perSecond = 200_000
		batch     = 20 // records of 1,000 bytes
		most      = 5_000
	)
	cluster := harness.StartMillrace(t, harness.MillraceOptions{})
	config := func(args ...string) string {
		return kafkaTool(t, "kafka.admin.ConfigCommand", append([]string{"--bootstrap-server", cluster.Bootstrap}, args...)...)
	}
	config("--alter", "--add-config", fmt.Sprintf("producer_byte_rate=%d,consumer_byte_rate=%[1]d", perSecond), "--entity-type", "clients", "--entity-name", "held")
	if out := config("--describe", "--entity-type", "clients"); !strings.Contains(out, "client-id 'held'") || !strings.Contains(out, "producer_byte_rate=200000") {
		t.Errorf("described: %s", out)
	}
	createTopic(t, cluster, "t")
	var told waits
	writer := newClient(t, cluster, kgo.ClientID("held"), kgo.DefaultProduceTopic("t"), kgo.WithHooks(&told), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DisableClientMetrics())
	written := 0
	for ; written < most && told.times.Load() == 0; written += batch {
		records := make([]*kgo.Record, batch)
		for i := range records {
			records[i] = &kgo.Record{Value: make([]byte, 1000)}
		}
		if err := writer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	held := func(who string, records int) {
		if told.times.Load() == 0 || told.millis.Load() == 0 || records*1000 < perSecond*9 {
			t.Errorf("the %s was told to wait %d times, %d ms, after %d records; want it at about %d", who, told.times.Load(), told.millis.Load(), records, perSecond*10/1000)
		}
	}
	held("writer", written)
	free := newClient(t, cluster, kgo.ClientID("free"), kgo.DefaultProduceTopic("t"), kgo.DisableClientMetrics())
	for range most / 100 {
		records := make([]*kgo.Record, 100)
		for i := range records {
			records[i] = &kgo.Record{Value: make([]byte, 1000)}
		}
		if err := free.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	told = waits{}
	reader := newClient(t, cluster, kgo.ClientID("held"), kgo.ConsumeTopics("t"), kgo.WithHooks(&told), kgo.FetchMaxBytes(100_000),
		kgo.FetchMaxPartitionBytes(100_000), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics())
	read := 0
	for read < most && told.times.Load() == 0 {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		read += fetches.NumRecords()
	}
	held("reader", read)
	config("--alter", "--delete-config", "producer_byte_rate,consumer_byte_rate", "--entity-type", "clients", "--entity-name", "held")
	if out := config("--describe", "--entity-type", "clients"); strings.Contains(out, "held") {
		t.Errorf("described after its deletion: %s", out)
	}
}

// TestClientsPushTheirMetrics: the Java client and franz-go push what a subscription made with Kafka's tool asks for, and the
// page of metrics shows it beside the broker's own figures.
func TestClientsPushTheirMetrics(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	page := "127.0.0.1:" + strconv.Itoa(harness.FreePorts(t, 1))
	cluster := harness.StartMillrace(t, harness.MillraceOptions{Args: []string{"--metrics", page}})
	createTopic(t, cluster, "t")
	kafkaTool(t, "org.apache.kafka.tools.ClientMetricsCommand", "--bootstrap-server", cluster.Bootstrap,
		"--alter", "--name", "everything", "--metrics", "org.apache.kafka.", "--interval", "200") // not "*", which franz-go takes for a name
	if out := kafkaTool(t, "org.apache.kafka.tools.ClientMetricsCommand", "--bootstrap-server", cluster.Bootstrap, "--describe"); !strings.Contains(out, "everything") {
		t.Errorf("described: %s", out)
	}
	// It lives for fifty intervals: a Java client that is closed does not always push once more.
	kafkaTool(t, "org.apache.kafka.tools.ProducerPerformance", "--topic", "t", "--num-records", "1000", "--throughput", "100", "--record-size", "100",
		"--producer-props", "bootstrap.servers="+cluster.Bootstrap, "client.id=java")
	writer := newClient(t, cluster, kgo.ClientID("franz"), kgo.DefaultProduceTopic("t"))
	if err := writer.ProduceSync(t.Context(), &kgo.Record{Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	wanted := []string{
		`kafka_client_org_apache_kafka_producer_`, `client_id="java"`, `client_id="franz"`, `millrace_requests_total{api="Produce"}`,
		`millrace_produced_records_total 1001`, `millrace_produce_seconds_bucket`, `millrace_partitions 1`,
	}
	shown := ""
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := harness.Poll(ctx, func(context.Context) error {
		_, shown = get(t, "http://"+page+"/metrics")
		for _, w := range wanted {
			if !strings.Contains(shown, w) {
				return errors.New("the page lacks " + w)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%v:\n%s", err, shown)
	}
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), writer)
	if err != nil {
		t.Fatal(err)
	}
	pushed := false
	for _, k := range resp.ApiKeys {
		pushed = pushed || kmsg.Key(k.ApiKey) == kmsg.PushTelemetry
	}
	if !pushed {
		t.Error("PushTelemetry is not listed")
	}
}
