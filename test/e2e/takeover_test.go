package e2e

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

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

// Brokers with their logs in the object store die and hang under load: nothing that was acknowledged is lost, nothing is
// there twice, and each partition has a leader again.
func TestTakeOverUnderLoad(t *testing.T) {
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
