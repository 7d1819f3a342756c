package e2e

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// takeLongest gives the slowest produce since it was asked last.
func (l *load) takeLongest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest := l.longest
	l.longest = 0
	return longest
}

// await returns when n more records are acknowledged.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	acked := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.acked
	}
	want := acked() + n
	harness.Eventually(t, time.Minute, "the load to go on", func(context.Context) error {
		if got := acked(); got < want {
			return fmt.Errorf("%d of %d records", got, want)
		}
		return nil
	})
}

// everywhere waits until each partition has taken a record that was sent after the call, and gives the slowest produce since takeLongest.
func (l *load) everywhere(t *testing.T) time.Duration {
	t.Helper()
	now := func() []int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Clone(l.by)
	}
	before := now()
	harness.Eventually(t, time.Minute, "each partition to take records", func(context.Context) error {
		for p, n := range now() {
			if n < before[p]+2 {
				return fmt.Errorf("partition %d has taken %d", p, n-before[p])
			}
		}
		return nil
	})
	return l.takeLongest()
}

// metadataAge is what franz-go lets pass by default before it asks for metadata again, even when it loses a broker.
const metadataAge = 5 * time.Second

// OnBrokerWrite notes when the client asked for metadata. It implements kgo.HookBrokerWrite.
func (l *load) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if kmsg.Key(key) == kmsg.Metadata {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked = time.Now()
	}
}

// grow lets the client of the load become like one that has run for a while: it has not asked for metadata for so long that it does at
// once when it loses a broker.
func (l *load) grow(t *testing.T) {
	t.Helper()
	harness.Eventually(t, time.Minute, "the client's metadata to be old", func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if age := time.Since(l.asked); l.asked.IsZero() || age <= metadataAge {
			return fmt.Errorf("it is %v old", age)
		}
		return nil
	})
	l.takeLongest()
}

// Brokers with their logs in the object store die and hang under load: nothing that was acknowledged is lost, nothing is
// there twice, and each partition has a leader again.
func TestTakeOverUnderLoad(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	t.Run("files", func(t *testing.T) { takeOverUnderLoad(t, harness.MillraceOptions{}) })
	t.Run("s3", func(t *testing.T) {
		bucket := harness.StartS3(t)
		takeOverUnderLoad(t, harness.MillraceOptions{Args: []string{"--store", bucket.URL("clusters", "")}, Env: bucket.Env()})
	})
}

func takeOverUnderLoad(t *testing.T, options harness.MillraceOptions) {
	t.Helper()
	const partitions = 6
	options.Brokers, options.Args = 3, append(slices.Clone(options.Args), "--wal", "object")
	c := harness.StartMillrace(t, options)
	spread(t, c, "t", partitions, 3)
	r := startReader(t, c, "t")
	l := startLoad(t, c, "t", partitions)
	for _, step := range []struct {
		name   string
		id     int
		signal syscall.Signal
	}{{"kill", 2, syscall.SIGKILL}, {"stop", 3, syscall.SIGSTOP}, {"kill", 1, syscall.SIGKILL}, {"stop", 1, syscall.SIGSTOP}} {
		l.await(t, 500)
		l.takeLongest()
		pid := brokerPID(t, c, step.id)
		if err := syscall.Kill(pid, step.signal); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		comesBack(t, c, step.id, pid)
		l.await(t, 500)
		t.Logf("%s of broker %d: longest time without acks %v", step.name, step.id, l.takeLongest())
	}
	l.stop(t, c, "t")
	r.stop(t, l.acked)
}

// TestVerbsOutliveABroker: what verbs ask of a broker that has just died, they ask again until it is back or others have what it had.
func TestVerbsOutliveABroker(t *testing.T) {
	const partitions = 4
	c := harness.StartMillrace(t, harness.MillraceOptions{Brokers: 2})
	spread(t, c, "t", partitions, 2)
	produceAll(t, c, "t", partitions, "v")
	bootstrap := "--bootstrap=" + c.Bootstrap
	ok(t, "", "consume", "t", "--group", "g", bootstrap)
	const id = 2 // the bootstrap address is broker 1's: where nobody answers there, verbs say so at once
	for _, args := range [][]string{
		{"topic", "describe", "t"}, {"consume", "t"}, {"group", "describe", "g"}, {"group", "list"}, {"group", "reset", "g", "--to", "beginning", "--dry-run"},
	} {
		pid := brokerPID(t, c, id)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if r := millrace(t, "", append(args, bootstrap)...); r.code != 0 {
			t.Errorf("%v after broker %d was killed: exit code %d: %s", args, id, r.code, r.err)
		}
		comesBack(t, c, id, pid)
	}
}
