package ecosystem

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

const (
	// waitLimit is how long anything that is waited for may take on a machine with other work. Nothing is said by it about speed.
	waitLimit = 90 * time.Second
	// defaultKills is how often an application is killed in an ordinary test run.
	defaultKills = 4
	// partitions is the number of partitions of every topic that a test makes.
	partitions = 3
)

// sideBySide is how many tests run at a time. They wait for other processes most of the time: for a JVM to start, a session to
// end, a heartbeat to be due.
const sideBySide = 6

// TestMain sets how many tests run at a time, unless the command line does.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == parallelFlag })
	if !given {
		if err := flag.Set(parallelFlag, strconv.Itoa(sideBySide)); err != nil {
			panic(err)
		}
	}
	m.Run()
}

const parallelFlag = "test.parallel"

// full says whether the long forms were asked for (E1).
func full() bool { return os.Getenv("MILLRACE_ECOSYSTEM") == "full" }

// kills returns how often the Streams application is killed.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("MILLRACE_STREAMS_KILLS")
	if text == "" {
		return defaultKills
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MILLRACE_STREAMS_KILLS=%q: want a number of at least 1", text)
	}
	return n
}

// A server is a cluster that can be killed and comes back.
type server struct {
	*harness.Cluster
	behind *harness.Cluster // Apache Kafka behind a gateway, which Cluster is then; nil: there is none
}

// engines runs one body on millrace, and on Apache Kafka too where the full form was asked for.
func engines(t *testing.T, body func(t *testing.T, s *server)) {
	harness.Require(t, harness.Java)
	t.Run(string(harness.Millrace), func(t *testing.T) {
		s := &server{Cluster: harness.StartMillrace(t, harness.MillraceOptions{})}
		t.Cleanup(func() { s.showBrokerLogs(t) })
		body(t, s)
	})
	if !full() {
		return
	}
	t.Run(string(harness.ApacheKafka), func(t *testing.T) {
		body(t, &server{Cluster: harness.StartKafka(t, kafkaOptions())})
	})
}

// kafkaOptions makes Apache Kafka look for transactions that took too long as often as the tests need it, and places it where
// millrace places its brokers unless told otherwise.
func kafkaOptions() harness.KafkaOptions {
	return harness.KafkaOptions{Properties: map[string]string{
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
		"broker.rack": "zone-a",
	}}
}

// killBroker kills the process that holds the partitions. Millrace starts it again by itself; Apache Kafka is started here.
func (s *server) killBroker(t *testing.T) {
	t.Helper()
	if s.Engine == harness.ApacheKafka {
		kafka := &s.Cluster
		if s.behind != nil {
			kafka = &s.behind
		}
		(*kafka).Process().Kill()
		options := kafkaOptions()
		options.Again = *kafka
		*kafka = harness.StartKafka(t, options)
		return
	}
	var pid int
	harness.Eventually(t, waitLimit, "a broker process", func(context.Context) (err error) {
		pid, err = s.BrokerPID()
		return err
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("kill broker %d: %v", pid, err)
	}
}

// showBrokerLogs prints the ends of the logs of millrace's brokers when the test has failed.
func (s *server) showBrokerLogs(t *testing.T) {
	if !t.Failed() {
		return
	}
	paths, err := filepath.Glob(filepath.Join(s.Dir, "logs", "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range paths {
		log, err := os.ReadFile(path)
		const shown = 8 << 10
		t.Logf("end of %s (%v):\n%s", filepath.Base(path), err, log[max(0, len(log)-shown):])
	}
}

// admin returns a client for set-up and for looking at offsets; it ends with the test.
func (s *server) admin(t *testing.T) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Bootstrap), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// createTopics makes topics of the usual number of partitions.
func (s *server) createTopics(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		s.createTopic(t, name, partitions)
	}
}

func (s *server) createTopic(t *testing.T, name string, partitions int32) {
	t.Helper()
	made, err := s.admin(t).CreateTopic(t.Context(), partitions, 1, nil, name)
	if err = errors.Join(err, made.Err); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
}
