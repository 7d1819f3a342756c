package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An Engine is what serves the Kafka protocol in a Cluster.
type Engine string

const (
	// ApacheKafka is Apache Kafka itself, one KRaft node.
	ApacheKafka Engine = "apache-kafka"
	// Millrace is `millrace serve` with its default cluster of one express broker.
	Millrace Engine = "millrace"
)

// A Cluster is a running cluster that a test talks to. It ends with the test that started it.
type Cluster struct {
	Engine    Engine
	Bootstrap string // HOST:PORT of the first broker
	API       string // HOST:PORT of millrace's API; empty for Apache Kafka
	Host      Host   // on which millrace serve runs
	Dir       string // data folder; survives Stop, so that a test may start again on it

	process *Process
	binary  string
}

// Process returns the process that was started: `millrace serve`, or Apache Kafka's JVM.
func (c *Cluster) Process() *Process { return c.process }

// Binary returns the path of the millrace program that serves; it is empty for Apache Kafka.
func (c *Cluster) Binary() string { return c.binary }

// Verb is a command of millrace on serve's host, which may tell the control plane to do something.
func (c *Cluster) Verb(args ...string) *exec.Cmd {
	_, port, err := net.SplitHostPort(c.API)
	if err != nil {
		port = c.API // it is told so
	}
	command := c.Host.Command(c.binary, args...)
	command.Env = append(os.Environ(), "MILLRACE_API=http://"+net.JoinHostPort("127.0.0.1", port), "MILLRACE_BOOTSTRAP="+c.Bootstrap)
	return command
}

// BrokerPID returns the id of the process that holds the partitions: the `millrace broker` child of `millrace serve`, or
// Apache Kafka's JVM. It changes when a crashed broker is started anew. Of several brokers it is any.
func (c *Cluster) BrokerPID() (int, error) {
	if c.Engine == ApacheKafka {
		return c.process.PID(), nil
	}
	return FindChild(c.process.PID(), "broker")
}

// BrokerPIDOf returns the id of the process of one broker of millrace, by broker id.
func (c *Cluster) BrokerPIDOf(id int) (int, error) {
	if c.Engine == ApacheKafka {
		return 0, errors.ErrUnsupported
	}
	return findChild(c.process.PID(), "broker", "--id", strconv.Itoa(id))
}

// Stop ends the cluster in good order and checks the exit code. Tests need it only to stop before their own end.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if c.process.expected.Load() {
		return
	}
	code := c.process.Stop(t)
	// A JVM that ends by a signal answers 128+signal, whatever its shutdown hooks did.
	const javaTerminated = 128 + 15
	if code == 0 || (c.Engine == ApacheKafka && code == javaTerminated) {
		return
	}
	t.Errorf("%s stopped with exit code %d", c.Engine, code)
}

// ready asks the broker for its metadata, on a connection of its own; it is nil when the answer names a controller.
func ready(ctx context.Context, bootstrap string) error { return shows(ctx, bootstrap, 1) }

// shows is ready where the answer must name so many brokers, too.
func shows(ctx context.Context, bootstrap string, brokers int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	response, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if len(response.Brokers) < brokers || response.ControllerID < 0 {
		return fmt.Errorf("metadata of %s: %d brokers, controller %d", bootstrap, len(response.Brokers), response.ControllerID)
	}
	return nil
}
