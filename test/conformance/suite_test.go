package conformance

import (
	"flag"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"millrace/test/harness"
)

var (
	only  = flag.String("clients", "", "the clients to run, separated by commas; empty means all")
	again = flag.Bool("again", false, "run against Apache Kafka also what has passed before and has not changed since")
)

// TestConformance runs every client against millrace and compares the answers with Apache Kafka's. A plain `go test` does so briefly
// (scenario.brief); `make conformance` has everything.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs foreign clients")
	}
	suite(t, harness.StartMillrace(t, harness.MillraceOptions{}), *only)
}

// TestApacheKafka runs the same against Apache Kafka: the recorded answers are what it says, and the scenarios are right.
func TestApacheKafka(t *testing.T) {
	harness.Long(t, "make conformance")
	unlessKnown(t, "conformance-apache-kafka", func() { suite(t, harness.StartKafka(t, harness.KafkaOptions{}), *only) })
}

// maker makes a client of a cluster with a toolchain.
type maker struct {
	name string
	tool harness.Tool
	make func(*testing.T, *harness.Cluster) client
}

// makers lists the clients, the slowest first, so that two at a time end together.
func makers() []maker {
	return []maker{
		{"console", harness.Java, newConsole},
		{"java", harness.Java, newJava},
		{"kafka-python", harness.Python, python("kafka-python")},
		{"aiokafka", harness.Python, python("aiokafka")},
		{"kafkajs", harness.Node, newNode},
		{"confluent-kafka", harness.Python, python("confluent-kafka")},
		{"sarama", harness.Go, goClient("sarama")},
		{"kafka-go", harness.Go, goClient("kafka-go")},
		{"kcat", harness.Kcat, newKcat},
		{"franz-go", harness.Go, goClient("franz-go")},
	}
}

// suite is the one body of these tests and of TestGateway. wanted are the clients, with commas between; empty means all.
func suite(t *testing.T, cluster *harness.Cluster, wanted string) {
	all := startClients(t, cluster, wanted)
	var written sync.Map
	t.Run("scenarios", func(t *testing.T) {
		for _, one := range all {
			t.Run(one.about().Client, func(t *testing.T) {
				t.Parallel()
				// A set-up client of its own: one call at a time goes to each.
				setUp := goClient("franz-go")(t, cluster)
				runScenarios(t, one, setUp, &written).compare(t, one.about().Client, cluster.Engine == harness.ApacheKafka)
			})
		}
	})
	if !harness.Everything() {
		return
	}
	t.Run("matrix", func(t *testing.T) { matrix(t, all, &written) })
	for _, one := range all {
		if one.about().offers("streams_start") {
			t.Run("streams", func(t *testing.T) { streams(t, one) })
		}
	}
}

// startClients starts the clients that are wanted and whose toolchain is there.
func startClients(t *testing.T, cluster *harness.Cluster, wanted string) []client {
	t.Helper()
	var all []client
	for _, m := range makers() {
		if wanted != "" && !strings.Contains(","+wanted+",", ","+m.name+",") {
			continue
		}
		if harness.Has(t, m.tool) {
			all = append(all, m.make(t, cluster))
		}
	}
	return all
}

func clientsDir(t *testing.T, language string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "test", "conformance", "clients", language)
}

func newJava(t *testing.T, cluster *harness.Cluster) client {
	classPath := harness.Javac(t, clientsDir(t, "java"))
	return startProgram(t, "java", nil, "java", harness.JavaArgs(classPath, "Client", cluster.Bootstrap)...)
}

func newNode(t *testing.T, cluster *harness.Cluster) client {
	modules := harness.Require(t, harness.Node)
	program := filepath.Join(clientsDir(t, "node"), "client.js")
	return startProgram(t, "kafkajs", []string{"NODE_PATH=" + modules}, "node", program, cluster.Bootstrap)
}

func python(library string) func(*testing.T, *harness.Cluster) client {
	return func(t *testing.T, cluster *harness.Cluster) client {
		program := filepath.Join(clientsDir(t, "python"), "client.py")
		interpreter := harness.Require(t, harness.Python)
		return startProgram(t, library, []string{"PYTHONDONTWRITEBYTECODE=1"}, interpreter, program, library, cluster.Bootstrap)
	}
}

func goClient(library string) func(*testing.T, *harness.Cluster) client {
	return func(t *testing.T, cluster *harness.Cluster) client {
		return startProgram(t, library, nil, harness.GoBuild(t, clientsDir(t, "go")), library, cluster.Bootstrap)
	}
}
