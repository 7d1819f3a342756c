package configuration

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// Drift is said once when it comes, and once when it is gone.
func TestDriftIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFixture(t), newCluster()
		a := NewApplier(f.Store, c.dial)
		wants(t, a.Apply(t.Context(), "main", f.revision(t, "num.partitions=3")), nil)
		var said bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		round, before, after := 0, 0, 0                   // how much was said before there was drift, and before it was gone
		each := func(context.Context) ([]string, error) { // what changes does so here, between two looks
			switch round++; round {
			case 4:
				before, c.set["num.partitions"] = said.Len(), "4"
			case 7:
				after, c.set["num.partitions"] = said.Len(), "3"
			case 10:
				cancel()
			}
			return []string{"main"}, nil
		}
		wants(t, a.Watch(ctx, each, slog.New(slog.NewTextHandler(&said, nil))), nil)
		if got := said.String()[:before]; got != "" {
			t.Errorf("without drift: %s", got)
		}
		if got := said.String()[before:after]; strings.Count(got, "\n") != 1 || !strings.Contains(got, "cluster=main values=2 properties=[num.partitions]") {
			t.Errorf("with drift: %s", got)
		}
		if got := said.String()[after:]; strings.Count(got, "\n") != 1 || !strings.Contains(got, "again") {
			t.Errorf("when it is gone: %s", got)
		}
	})
}
