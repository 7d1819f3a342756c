package brokers

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// brokerCount is how many brokers both engines have.
const brokerCount = 3

// cluster is an engine with several brokers, to which things are done.
type cluster interface {
	bootstrap() []string
	// kill ends a broker with SIGKILL and returns when somebody has begun to start it again.
	kill(t testing.TB, id int)
	// hang stops a broker with SIGSTOP; the function ends that, if it still matters.
	hang(t testing.TB, id int) (wake func())
	// roll restarts every broker in good order.
	roll(t testing.TB)
	// well waits until every partition of a topic has a leader, and every replica is in sync.
	well(ctx context.Context, topic string) error
}

// express is millrace with a serve and its brokers.
type express struct{ *harness.Cluster }

func startExpress(t testing.TB, o options, brokers, most int) express {
	t.Helper()
	return express{harness.StartMillrace(t, harness.MillraceOptions{Brokers: brokers, MostBrokers: most, Args: o.Serve})}
}

func (c express) bootstrap() []string { return []string{c.Bootstrap} }

func (c express) pid(t testing.TB, id int) int {
	t.Helper()
	pid, err := c.BrokerPIDOf(id)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func (c express) kill(t testing.TB, id int) {
	t.Helper()
	if err := syscall.Kill(c.pid(t, id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// hang: the agent kills what hangs, so there is nothing to wake.
func (c express) hang(t testing.TB, id int) (wake func()) {
	t.Helper()
	pid := c.pid(t, id)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}

func (c express) roll(t testing.TB) { c.operate(t, "roll") }

// operate runs an operation to its end and gives the time that it took.
func (c express) operate(t testing.TB, args ...string) time.Duration {
	t.Helper()
	began := time.Now()
	args = append(append([]string{"cluster"}, args...), "--api", "http://"+c.API)
	if out, err := exec.CommandContext(t.Context(), c.Binary(), args...).CombinedOutput(); err != nil {
		t.Fatalf("millrace %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return time.Since(began)
}

func (c express) well(ctx context.Context, topic string) error {
	return well(ctx, c.bootstrap(), topic)
}

// kafka is Apache Kafka.
type kafka struct{ *harness.Kafkas }

func (c kafka) bootstrap() []string { return strings.Split(c.Bootstrap, ",") }

func (c kafka) kill(t testing.TB, id int) {
	t.Helper()
	c.Kill(id)
	go c.Up(t, id) // the round is over later than this
}

func (c kafka) hang(t testing.TB, id int) (wake func()) {
	t.Helper()
	pid := c.PID(id)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}

func (c kafka) roll(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for id := 1; id <= brokerCount; id++ {
		c.Down(t, id)
		c.Up(t, id)
		if err := c.well(ctx, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := elect(ctx, c.bootstrap()); err != nil {
		t.Fatal(err)
	}
}

func (c kafka) well(ctx context.Context, topic string) error { return well(ctx, c.bootstrap(), topic) }

func admin(bootstrap []string) (*kadm.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...))
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

// elect has the preferred leaders lead.
func elect(ctx context.Context, bootstrap []string) error {
	a, err := admin(bootstrap)
	if err != nil {
		return err
	}
	defer a.Close()
	_, err = a.ElectLeaders(ctx, kadm.ElectPreferredReplica, nil)
	return err
}

var errNotWell = errors.New("not well")

// well asks until the cluster is well; without a topic, all topics.
func well(ctx context.Context, bootstrap []string, topics ...string) error {
	a, err := admin(bootstrap)
	if err != nil {
		return err
	}
	defer a.Close()
	if len(topics) == 1 && topics[0] == "" {
		topics = nil
	}
	err = harness.Poll(ctx, func(ctx context.Context) error {
		all, err := a.ListTopics(ctx, topics...)
		if err != nil {
			return err
		}
		for _, t := range all {
			for _, p := range t.Partitions {
				if p.Err != nil || p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					return fmt.Errorf("%w: %s-%d: leader %d, in sync %v of %v", errNotWell, t.Topic, p.Partition, p.Leader, p.ISR, p.Replicas)
				}
			}
		}
		return nil
	})
	return err
}

// leaders gives the brokers of a topic's leaders with how many each has.
func leaders(ctx context.Context, bootstrap []string, topic string) (string, error) {
	a, err := admin(bootstrap)
	if err != nil {
		return "", err
	}
	defer a.Close()
	all, err := a.ListTopics(ctx, topic)
	if err != nil {
		return "", err
	}
	counts := map[int32]int{}
	for _, p := range all[topic].Partitions {
		counts[p.Leader]++
	}
	var each []string
	for id := range int32(32) {
		if n := counts[id]; n > 0 {
			each = append(each, strconv.Itoa(n))
		}
	}
	return strings.Join(each, "+"), nil
}
