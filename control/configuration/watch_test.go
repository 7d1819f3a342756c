package configuration

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Drift is said once when it comes, and once when it is gone.
func TestDriftIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFixture(t), newCluster()
		a := NewApplier(f.Store, c.dial)
		wants(t, a.Apply(t.Context(), "main", f.revision(t, "num.partitions=3")), nil)
		var said bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- a.Watch(ctx, func(context.Context) ([]string, error) { return []string{"main"}, nil }, slog.New(slog.NewTextHandler(&said, nil)))
		}()
		rounds := func(n int) string {
			said.Reset()
			time.Sleep(time.Duration(n) * lookEvery)
			synctest.Wait()
			return said.String()
		}
		if got := rounds(3); got != "" {
			t.Errorf("without drift: %s", got)
		}
		c.set["num.partitions"] = "4"
		if got := rounds(3); strings.Count(got, "\n") != 1 || !strings.Contains(got, "cluster=main values=2 properties=[num.partitions]") {
			t.Errorf("with drift: %s", got)
		}
		c.set["num.partitions"] = "3"
		if got := rounds(3); strings.Count(got, "\n") != 1 || !strings.Contains(got, "again") {
			t.Errorf("when it is gone: %s", got)
		}
		cancel()
		wants(t, <-done, nil)
	})
}
