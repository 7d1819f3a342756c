package robust

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
	"millrace/test/robust/bank"
)

// server chooses what the tests of transactions and of groups run against. Apache Kafka shows that the tests are right.
var server = flag.String("server", string(harness.Millrace), "what the bank and group tests run against: millrace or apache-kafka")

// kafkaProperties make Apache Kafka quick at what the tests wait for.
var kafkaProperties = map[string]string{
	"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
	minSession:                                 "2000",
	"group.consumer.min.session.timeout.ms":    "6000",
	"group.consumer.session.timeout.ms":        "6000",
	"group.consumer.min.heartbeat.interval.ms": "300",
	"group.consumer.heartbeat.interval.ms":     "300",
}

// minSession is the configuration that says what the least session is that a member of a classic group may have.
const minSession = "group.min.session.timeout.ms"

// allowShortSessions makes millrace take sessions of the bank's length.
func allowShortSessions(t *testing.T, cluster *harness.Cluster) {
	t.Helper()
	if cluster.Engine != harness.Millrace {
		return // it was told at its start
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), returnLimit)
	defer cancel()
	least := strconv.FormatInt(bankSession.Milliseconds(), 10)
	altered, err := kadm.NewClient(client).AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: minSession, Value: &least}})
	if err == nil && len(altered) > 0 {
		err = altered[0].Err
	}
	if err != nil {
		t.Fatalf("set %s: %v", minSession, err)
	}
}

// startServer starts what the flag names.
func startServer(t *testing.T) *harness.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts clusters: skipped with -short")
	}
	switch harness.Engine(*server) {
	case harness.Millrace:
		return harness.StartMillrace(t, harness.MillraceOptions{})
	case harness.ApacheKafka:
		return harness.StartKafka(t, harness.KafkaOptions{Properties: kafkaProperties})
	}
	t.Fatalf("-server=%s: want %s or %s", *server, harness.Millrace, harness.ApacheKafka)
	return nil
}

// length returns how long a test goes on: what the environment variable says, or so long that an ordinary run stays short.
func length(t *testing.T, variable string, ordinary time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return ordinary
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s=%q: want a duration, as 5m", variable, text)
	}
	return d
}

const (
	// logsVariable is the environment variable that names a folder for the logs of clients.
	logsVariable = "MILLRACE_CLIENT_LOGS"
	// bankVariable is the environment variable that says how long the bank goes on.
	bankVariable = "MILLRACE_BANK"
	// bankLength is how long an ordinary run of the bank goes on.
	bankLength = 8 * time.Second
	// bankTimeout is that of the bank's transactions.
	bankTimeout = 3 * time.Second
	// bankSession is that of its clerks: longer than a short pause, and no longer than it takes to be, since the group waits for it
	// when a clerk vanishes while the broker is away.
	bankSession = 2 * time.Second
)

// TestBank kills and pauses the broker under transactional load, and judges what was shown.
func TestBank(t *testing.T) {
	harness.Long(t, "make soak")
	r := &run{t: t, cluster: startServer(t)} // before others run, so that no two take the same ports
	t.Parallel()                             // most of its time is waiting
	t.Cleanup(r.showBrokerLogs)
	allowShortSessions(t, r.cluster)
	config := bank.Config{Bootstrap: r.cluster.Bootstrap, Timeout: bankTimeout, Session: bankSession, Logs: os.Getenv(logsVariable)}
	if harness.Has(t, harness.Python) {
		config.Python = harness.Require(t, harness.Python)
	}
	load, err := bank.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(load.Stop)
	b := &bankRun{run: r, load: load}
	faults := []func(){b.kill, b.pauseShortly, b.kill, b.killAgain, b.pauseLong}
	if r.cluster.Engine == harness.ApacheKafka { // which nobody would start again
		faults = []func(){b.pauseShortly, b.pauseShortly, b.pauseLong}
	}
	end := time.Now().Add(length(t, bankVariable, bankLength))
	for round := 0; round < len(faults) || time.Now().Before(end); round++ {
		b.progress(1 + rand.Int64N(20))
		faults[round%len(faults)]()
		begin := time.Now()
		b.progress(1)
		b.gaps = append(b.gaps, time.Since(begin))
	}
	b.judge()
}

// bankRun is one cluster under transactional load.
type bankRun struct {
	*run
	load    *bank.Bank
	pid     int
	settled time.Duration // how long the last transactions took to time out
}

func (b *bankRun) kill() {
	b.pid = b.brokerPID(b.pid)
	b.signal(b.pid, syscall.SIGKILL)
}

// killAgain kills the next broker too, in the middle of its recovery.
func (b *bankRun) killAgain() {
	b.kill()
	b.kill()
}

// pauseShortly stops the broker for less than the timeout of transactions.
func (b *bankRun) pauseShortly() { b.pause(time.Duration(100+rand.IntN(1500)) * time.Millisecond) }

// pauseLong stops it for longer: every open transaction has timed out when it wakes.
func (b *bankRun) pauseLong() { b.pause(bankTimeout + time.Second) }

func (b *bankRun) pause(d time.Duration) {
	pid := b.brokerPID(0)
	b.signal(pid, syscall.SIGSTOP)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.t.Context().Done():
	}
	b.signal(pid, syscall.SIGCONT)
}

// progress waits until each worker has committed so many transactions more.
func (b *bankRun) progress(transactions int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), returnLimit)
	defer cancel()
	if err := errors.Join(b.load.Progress(ctx, transactions), b.load.Faults()); err != nil {
		b.t.Fatalf("commits do not come back: %v; workers were told: %v", err, b.load.Told())
	}
}

// judge ends the load, reads everything back and reports every violation.
func (b *bankRun) judge() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*returnLimit)
	defer cancel()
	if err := errors.Join(b.drain(ctx), b.load.Faults()); err != nil {
		b.t.Fatalf("%v; workers were told: %v", err, b.load.Told())
	}
	b.verdict(ctx)
}

// drain ends the load, and every transaction.
func (b *bankRun) drain(ctx context.Context) (err error) {
	b.settled, err = b.load.Drain(ctx)
	return err
}

// verdict reads everything back, once the load has ended, and reports every violation.
func (b *bankRun) verdict(ctx context.Context) {
	b.t.Helper()
	committed, uncommitted, failed := b.load.Views(ctx)
	found := b.load.Book().Verify(committed, uncommitted)
	if err := failed(); err != nil {
		b.t.Fatalf("read everything back: %v", err) // what was not read is not missing
	}
	report(b.t, found)
	slices.Sort(b.gaps)
	b.t.Logf("%d faults; %+v; %d violations; without commits of some worker: median %v, longest %v; the last transactions timed out within %v",
		len(b.gaps), b.load.Book().Counts(), len(found), b.gaps[len(b.gaps)/2].Round(time.Millisecond),
		b.gaps[len(b.gaps)-1].Round(time.Millisecond), b.settled.Round(time.Millisecond))
	for _, line := range b.load.Told() {
		b.t.Log(line)
	}
}

// report reports violations, not more than one can read, and how many there are of each kind.
func report[V fmt.Stringer](t *testing.T, found []V) {
	t.Helper()
	const shown = 20
	kinds := make(map[string]int)
	for i, violation := range found {
		kind, _, _ := strings.Cut(violation.String(), ":")
		kinds[kind]++
		if i < shown {
			t.Error(violation)
		}
	}
	if len(found) > shown {
		t.Errorf("and %d violations more; by kind: %v", len(found)-shown, kinds)
	}
}
