package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

// kafkaStartLimit is how long Apache Kafka may take to answer; it needs 3 s on two idle cores.
const kafkaStartLimit = 90 * time.Second

// kafkaClusterID is a fixed, valid id (16 bytes in URL-safe base64), so that runs are alike.
const kafkaClusterID = "bWlsbHJhY2UtdGVzdHMtMQ"

// KafkaOptions says how Apache Kafka is started. The zero value is a good one.
type KafkaOptions struct {
	// Properties are added to the broker's properties, or replace those that the harness sets.
	Properties map[string]string
	// HeapMB bounds the JVM's heap in MiB; 0 means 512.
	HeapMB int
}

// StartKafka starts Apache Kafka as one combined KRaft node on free loopback ports and waits until it answers. Its data is
// in the test's temporary folder.
func StartKafka(t testing.TB, options KafkaOptions) *Cluster {
	t.Helper()
	jars := Require(t, Java)
	if options.HeapMB == 0 {
		options.HeapMB = 512
	}
	dir := t.TempDir()
	port := FreePorts(t, 2)
	properties := kafkaProperties(dir, port)
	for name, value := range options.Properties {
		properties[name] = value
	}
	config := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(config, []byte(renderProperties(properties)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := run(dir, "java", JavaArgs(jars, "kafka.tools.StorageTool", "format", "-t", kafkaClusterID, "-c", config)...); err != nil {
		t.Fatalf("format the storage of Apache Kafka: %v", err)
	}
	command := exec.Command("java", fmt.Sprintf("-Xmx%dm", options.HeapMB), "-XX:+UseG1GC", "-cp", jars, "kafka.Kafka", config)
	command.Dir = dir
	process := startProcess(t, "Apache Kafka", filepath.Join(dir, "kafka.log"), command)
	cluster := &Cluster{Engine: ApacheKafka, Bootstrap: loopback(port), Dir: dir, process: process}
	t.Cleanup(func() { cluster.Stop(t) })
	waitReady(t, process, kafkaStartLimit, func(ctx context.Context) error { return ready(ctx, cluster.Bootstrap) })
	return cluster
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
