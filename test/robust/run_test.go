package robust

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"millrace/test/harness"
	"millrace/test/robust/history"
	"millrace/test/robust/traffic"
)

const (
	// defaultRounds is the number of kills of a run that has everything; other faults have a share of it.
	defaultRounds = 15
	// briefRounds is the number of kills of a plain `go test`: enough for one in the middle of a recovery.
	briefRounds = 4
	// nemesisVariable is the environment variable that says how long each nemesis test goes on.
	nemesisVariable = "MILLRACE_NEMESIS"
	// returnLimit is how long a cluster may be without acks before the run is given up. Nothing is said by it about speed.
	returnLimit = time.Minute
	// acksBetween is the most acks of each partition that a round waits for before its fault: 0.1 s of load or so.
	acksBetween = 400
)

// rounds returns how often a test injects its fault: the share of all rounds, at least 2.
func rounds(t *testing.T, share float64) int {
	t.Helper()
	all := briefRounds
	if harness.Everything() {
		all = defaultRounds
	}
	if text := os.Getenv("MILLRACE_KILL_ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("MILLRACE_KILL_ROUNDS=%q: want a number of at least 1", text)
		}
		all = n
	}
	return max(2, int(float64(all)*share))
}

// run is one cluster under load.
type run struct {
	t       *testing.T
	cluster *harness.Cluster
	load    *traffic.Traffic
	gaps    []time.Duration // by round: from the fault until every partition acknowledged again
}

// start starts millrace and the ordinary load.
func start(t *testing.T) *run {
	t.Helper()
	if testing.Short() {
		t.Skip("starts clusters: skipped with -short")
	}
	return startWith(t, harness.MillraceOptions{}, traffic.Config{})
}

func startWith(t *testing.T, options harness.MillraceOptions, config traffic.Config) *run {
	t.Helper()
	r := &run{t: t, cluster: harness.StartMillrace(t, options)}
	t.Cleanup(r.showBrokerLogs)
	config.Bootstrap = r.cluster.Bootstrap
	load, err := traffic.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(load.Stop)
	r.load = load
	return r
}

// showBrokerLogs prints the ends of the brokers' logs when the test has failed, and keeps the whole with those of clients.
func (r *run) showBrokerLogs() {
	if !r.t.Failed() {
		return
	}
	paths, err := filepath.Glob(filepath.Join(r.cluster.Dir, "logs", "*.log"))
	if err != nil {
		r.t.Error(err)
	}
	for _, path := range paths {
		log, err := os.ReadFile(path)
		if folder := os.Getenv(logsVariable); folder != "" {
			err = errors.Join(err, os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, filepath.Base(path)), log, 0o644))
		}
		const shown = 8 << 10
		r.t.Logf("end of %s (%v):\n%s", filepath.Base(path), err, log[max(0, len(log)-shown):])
	}
}

// rounds injects the fault n times, each time at a random moment under load, and waits until acks are back.
func (r *run) rounds(n int, fault func(round int)) {
	r.t.Helper()
	for round := range n {
		r.progress(1 + rand.Int64N(acksBetween))
		fault(round)
		begin := time.Now()
		if round%3 == 0 {
			if err := r.load.ReplaceProducer(r.t.Context()); err != nil {
				r.t.Fatal(err)
			}
		}
		r.progress(1)
		r.gaps = append(r.gaps, time.Since(begin))
		if err := r.load.Faults(); err != nil {
			r.t.Fatalf("round %d: clients were told: %v", round, err)
		}
	}
}

// progress waits until every partition has acknowledged so many records more.
func (r *run) progress(records int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), returnLimit)
	defer cancel()
	if err := r.load.Progress(ctx, records); err != nil {
		r.t.Fatalf("acks do not come back: %v; clients were told: %v", err, r.load.Faults())
	}
}

// judge ends the load, reads everything back and reports every violation.
func (r *run) judge() {
	r.t.Helper()
	r.drain()
	r.verdict()
}

// verdict reads everything back, once the load has ended, and reports every violation.
func (r *run) verdict() {
	r.t.Helper()
	found := r.verify()
	const shown = 20
	for _, violation := range found[:min(shown, len(found))] {
		r.t.Error(violation)
	}
	if len(found) > shown {
		r.t.Errorf("and %d violations more", len(found)-shown)
	}
	sent, acked := r.load.History().Counts()
	slices.Sort(r.gaps)
	r.t.Logf("%d rounds, %d records sent, %d acknowledged, %d violations; without acks: median %v, longest %v",
		len(r.gaps), sent, acked, len(found), r.gaps[len(r.gaps)/2].Round(time.Millisecond), r.gaps[len(r.gaps)-1].Round(time.Millisecond))
}

// drain ends the load; every record that a producer still wants to send is acknowledged first.
func (r *run) drain() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), returnLimit)
	defer cancel()
	if err := errors.Join(r.load.Drain(ctx), r.load.Faults()); err != nil {
		r.t.Fatal(err)
	}
}

// verify reads the whole topic and returns what is wrong with it.
func (r *run) verify() []history.Violation {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*returnLimit)
	defer cancel()
	log, failed := r.load.Log(ctx)
	found := r.load.History().Verify(log)
	if err := failed(); err != nil {
		r.t.Errorf("read everything back: %v", err)
	}
	return found
}

// brokerPID returns the id of the running broker, waiting for one other than old.
func (r *run) brokerPID(old int) (pid int) {
	r.t.Helper()
	harness.Eventually(r.t, returnLimit, "a new broker process", func(context.Context) (err error) {
		if pid, err = r.cluster.BrokerPID(); err == nil && pid == old {
			err = fmt.Errorf("it is still process %d", old)
		}
		return err
	})
	return pid
}

// signal sends a signal to a process of the cluster; one that has ended meanwhile is no fault.
func (r *run) signal(pid int, signal syscall.Signal) {
	r.t.Helper()
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		r.t.Fatalf("send %v to %d: %v", signal, pid, err)
	}
}

// restart starts serve again on the same folder and ports, after its process was killed.
func (r *run) restart() {
	r.t.Helper()
	r.cluster = harness.StartMillrace(r.t, harness.MillraceOptions{
		Dir:       r.cluster.Dir,
		KafkaPort: port(r.t, r.cluster.Bootstrap),
		APIPort:   port(r.t, r.cluster.API),
	})
}

func port(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
