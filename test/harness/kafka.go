package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kafkaStartLimit is how long Apache Kafka may take to answer; it needs 3 s on two idle cores.
const kafkaStartLimit = 90 * time.Second

// kafkaPortCount is the number of ports of one node: for clients, and for the controller.
const kafkaPortCount = 2

// kafkaClusterID is a fixed, valid id (16 bytes in URL-safe base64), so that runs are alike.
const kafkaClusterID = "bWlsbHJhY2UtdGVzdHMtMQ"

// KafkaOptions says how Apache Kafka is started. The zero value is a good one.
type KafkaOptions struct {
	// Properties are added to the broker's properties, or replace those that the harness sets. In them {port} stands for the
	// port for clients, {controller} for the controller's.
	Properties map[string]string
	// Listeners are more listeners, by name; Properties have to say their protocols.
	Listeners map[string]string
	// HeapMB bounds the JVM's heap in MiB; 0 means 512.
	HeapMB int
	// Again is a cluster of Apache Kafka that has ended: the new one goes on with its folder and ports. Properties are set anew.
	Again *Cluster
}

// StartKafka starts Apache Kafka as one combined KRaft node on free loopback ports and waits until it answers. Its data is
// in the test's temporary folder.
func StartKafka(t testing.TB, options KafkaOptions) *Cluster {
	t.Helper()
	jars := Require(t, Java)
	if options.HeapMB == 0 {
		options.HeapMB = 512
	}
	dir, port := kafkaPlace(t, options.Again)
	properties := kafkaProperties(dir, port)
	for name, address := range options.Listeners {
		properties["listeners"] += "," + name + "://" + address
		properties["advertised.listeners"] += "," + name + "://" + address
	}
	for name, value := range options.Properties {
		properties[name] = strings.NewReplacer("{port}", strconv.Itoa(port), "{controller}", strconv.Itoa(port+1)).Replace(value)
	}
	config := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(config, []byte(renderProperties(properties)), 0o644); err != nil {
		t.Fatal(err)
	}
	if options.Again == nil {
		format := JavaArgs(jars, "kafka.tools.StorageTool", "format", "-t", kafkaClusterID, "-c", config)
		if _, err := run(dir, "java", format...); err != nil {
			t.Fatalf("format the storage of Apache Kafka: %v", err)
		}
	}
	command := exec.Command("java", fmt.Sprintf("-Xmx%dm", options.HeapMB), "-XX:+UseG1GC", "-cp", jars, "kafka.Kafka", config)
	command.Dir = dir
	process := StartProcess(t, "Apache Kafka", filepath.Join(dir, "kafka.log"), command)
	cluster := &Cluster{Engine: ApacheKafka, Bootstrap: loopback(port), Dir: dir, process: process}
	t.Cleanup(func() { cluster.Stop(t) })
	waitReady(t, process, kafkaStartLimit, func(ctx context.Context) error { return ready(ctx, cluster.Bootstrap) })
	return cluster
}

// kafkaPlace returns the folder and the first of two ports for a broker: those of again, or new ones.
func kafkaPlace(t testing.TB, again *Cluster) (dir string, port int) {
	t.Helper()
	if again == nil {
		return t.TempDir(), FreePorts(t, kafkaPortCount)
	}
	_, text, err := net.SplitHostPort(again.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(text); err != nil {
		t.Fatal(err)
	}
	return again.Dir, port
}

// waitReady polls check until it is nil; it fails the test at once when the process ends.
func waitReady(t testing.TB, process *Process, limit time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-process.Done():
			cancel()
		case <-ended:
		}
	}()
	if err := Poll(ctx, check); err != nil {
		if gone := process.running(); gone != nil {
			err = gone
		}
		t.Fatalf("%s does not answer: %v", process.name, err)
	}
}

func kafkaProperties(dir string, port int) map[string]string {
	return map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          "1",
		"controller.quorum.voters":                         "1@" + loopback(port+1),
		"listeners":                                        "PLAINTEXT://" + loopback(port) + ",CONTROLLER://" + loopback(port+1),
		"advertised.listeners":                             "PLAINTEXT://" + loopback(port),
		"controller.listener.names":                        "CONTROLLER",
		"listener.security.protocol.map":                   "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                                         filepath.Join(dir, "data"),
		"auto.create.topics.enable":                        "false",
		"group.initial.rebalance.delay.ms":                 "0",
		"offsets.topic.num.partitions":                     "4",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.num.partitions":             "4",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
	}
}

func renderProperties(properties map[string]string) string {
	lines := make([]string, 0, len(properties))
	for name, value := range properties {
		lines = append(lines, name+"="+value+"\n")
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}
