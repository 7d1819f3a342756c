package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Kafkas is Apache Kafka as several combined KRaft nodes, numbered from 1, with the replication factor and the
// min.insync.replicas that are usual for so many. It ends with the test that started it.
type Kafkas struct {
	Bootstrap string // HOST:PORT of each node, separated by commas

	heapMB int
	jars   string
	nodes  []*kafkaNode
}

// kafkaNode is one node, which may be down.
type kafkaNode struct {
	dir, config, address string
	process              *Process
}

// kafkaStopLimit is how long a node has to stop.
const kafkaStopLimit = 2 * time.Minute

// usualReplicas is the replication factor where there are enough brokers.
const usualReplicas = 3

// StartKafkas starts n nodes on free loopback ports and waits until each knows all. Options.Again is not looked at.
func StartKafkas(t testing.TB, n int, options KafkaOptions) *Kafkas {
	t.Helper()
	k := &Kafkas{heapMB: options.HeapMB, jars: Require(t, Java)}
	if k.heapMB == 0 {
		k.heapMB = 512
	}
	first := FreePorts(t, n*kafkaPortCount)
	var voters, addresses []string
	for id := range n {
		k.nodes = append(k.nodes, &kafkaNode{dir: t.TempDir(), address: loopback(first + id*kafkaPortCount)})
		voters = append(voters, fmt.Sprintf("%d@%s", id+1, loopback(first+id*kafkaPortCount+1)))
		addresses = append(addresses, k.nodes[id].address)
	}
	k.Bootstrap = strings.Join(addresses, ",")
	replicas := strconv.Itoa(min(n, usualReplicas))
	inSync := strconv.Itoa(max(min(n, usualReplicas)-1, 1))
	for id, node := range k.nodes {
		properties := kafkaProperties(node.dir, first+id*kafkaPortCount)
		properties["node.id"] = strconv.Itoa(id + 1)
		properties["controller.quorum.voters"] = strings.Join(voters, ",")
		for _, name := range []string{"default.replication.factor", "offsets.topic.replication.factor",
			"transaction.state.log.replication.factor", "share.coordinator.state.topic.replication.factor"} {
			properties[name] = replicas
		}
		for _, name := range []string{"min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"} {
			properties[name] = inSync
		}
		for name, value := range options.Properties {
			properties[name] = value
		}
		k.format(t, node, properties)
	}
	t.Cleanup(func() { k.Stop(t) })
	for id := range k.nodes {
		k.launch(t, id+1)
	}
	for id := range k.nodes {
		k.await(t, id+1)
	}
	return k
}

func (k *Kafkas) format(t testing.TB, node *kafkaNode, properties map[string]string) {
	t.Helper()
	node.config = filepath.Join(node.dir, "server.properties")
	if err := os.WriteFile(node.config, []byte(renderProperties(properties)), 0o644); err != nil {
		t.Fatal(err)
	}
	format := JavaArgs(k.jars, "kafka.tools.StorageTool", "format", "-t", kafkaClusterID, "-c", node.config)
	if _, err := run(node.dir, "java", format...); err != nil {
		t.Fatalf("format the storage of Apache Kafka: %v", err)
	}
}

func (k *Kafkas) launch(t testing.TB, id int) {
	t.Helper()
	node := k.nodes[id-1]
	command := exec.Command("java", fmt.Sprintf("-Xmx%dm", k.heapMB), "-XX:+UseG1GC", "-cp", k.jars, "kafka.Kafka", node.config)
	command.Dir = node.dir
	node.process = StartProcess(t, fmt.Sprintf("Apache Kafka %d", id), filepath.Join(node.dir, "kafka.log"), command)
}

// await waits until a node answers and shows all that run.
func (k *Kafkas) await(t testing.TB, id int) {
	t.Helper()
	node, running := k.nodes[id-1], 0
	for _, other := range k.nodes {
		if other.process != nil && other.process.running() == nil {
			running++
		}
	}
	waitReady(t, node.process, kafkaStartLimit, func(ctx context.Context) error { return shows(ctx, node.address, running) })
}

// PID returns the process of a node.
func (k *Kafkas) PID(id int) int { return k.nodes[id-1].process.PID() }

// Kill ends a node with SIGKILL.
func (k *Kafkas) Kill(id int) { k.nodes[id-1].process.Kill() }

// Down stops a node in good order, which has it give its leaders away. On a busy machine that takes longer than a Process has.
func (k *Kafkas) Down(t testing.TB, id int) {
	t.Helper()
	p := k.nodes[id-1].process
	p.expected.Store(true)
	_ = p.command.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(kafkaStopLimit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		t.Fatalf("%s did not stop within %v of SIGTERM", p.name, kafkaStopLimit)
	}
}

// Up starts a node that was stopped or killed, and waits until it is one of the cluster again.
func (k *Kafkas) Up(t testing.TB, id int) {
	t.Helper()
	k.launch(t, id)
	k.await(t, id)
}

// Stop ends all nodes; their controllers need one another for a stop in good order, so they are killed.
func (k *Kafkas) Stop(testing.TB) {
	for _, node := range k.nodes {
		if node.process != nil && node.process.running() == nil {
			node.process.Kill()
		}
	}
}
