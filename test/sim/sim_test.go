package sim_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/test/sim"
)

var (
	seed    = flag.Uint64("seed", 0, "live through this seed only, and tell everything")
	seeds   = flag.Int("seeds", 60, "how many seeds to live through")
	first   = flag.Uint64("first", 1, "the first of them")
	every   = flag.Uint64("every", 1, "the difference between two of them; logs are in the store for even seeds")
	workers = flag.Int("workers", runtime.NumCPU(), "processes that share many seeds")
)

// alone is how many seeds one process lives through by itself.
const alone = 200

// TestMain leaves one processor: goroutines then run in nearly the same order each time, and a seed that fails fails again.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(1 << 30) // some garbage outlives a collection: with rare ones it would grow from each to the next
	os.Exit(m.Run())
}

// TestSeeds lives through seeds. One that fails is told; go test ./test/sim -seed N lives through it again.
func TestSeeds(t *testing.T) {
	switch {
	case *seed != 0:
		live(t, *seed)
	case *seeds > alone && *workers > 1:
		share(t)
	default:
		for i := range uint64(*seeds) {
			n := *first + i**every
			t.Run(fmt.Sprint(n), func(t *testing.T) { live(t, n) })
		}
	}
}

// TestSeedsThatFoundSomething lives through the seeds of testdata/seeds: "seed what it found", one a line.
func TestSeedsThatFoundSomething(t *testing.T) {
	lines, err := os.ReadFile("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		number, found, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(number, 10, 64); err == nil {
			t.Run(number, func(t *testing.T) {
				t.Log(found)
				live(t, n)
			})
		}
	}
}

// share lives through the seeds in several processes, because one of them uses one processor.
func share(t *testing.T) {
	t.Helper()
	began := time.Now()
	var all sync.WaitGroup
	for i := range *workers {
		args := []string{
			"-test.run=^TestSeeds$", "-test.timeout=0", "-workers=1", fmt.Sprintf("-first=%d", *first+uint64(i)**every),
			fmt.Sprintf("-every=%d", *every*uint64(*workers)), fmt.Sprintf("-seeds=%d", (*seeds+*workers-1-i) / *workers),
		}
		if testing.Verbose() {
			args = append(args, "-test.v")
		}
		if f := flag.Lookup("test.failfast"); f != nil {
			args = append(args, "-test.failfast="+f.Value.String())
		}
		all.Go(func() {
			out, err := exec.CommandContext(t.Context(), os.Args[0], args...).CombinedOutput()
			if err != nil {
				t.Errorf("%v:\n%s", err, out)
			} else if testing.Verbose() {
				t.Logf("%s", out)
			}
		})
	}
	all.Wait()
	t.Logf("%d seeds in %v", *seeds, time.Since(began).Round(time.Second))
}

func live(t *testing.T, n uint64) {
	t.Helper()
	plan := sim.Draw(n)
	out := io.Discard
	if *seed != 0 {
		out = os.Stderr
	}
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.NewTextHandler(out, nil))
		if *seed == 0 {
			log = slog.New(slog.DiscardHandler)
		}
		r := sim.Run(context.Background(), plan, log)
		if len(r.Faults) > 0 {
			t.Errorf("seed %d: %d faults, the first of them: %v", n, len(r.Faults), r.Faults[0])
		}
		if testing.Verbose() || *seed != 0 {
			t.Logf("seed %d: %d faults planned, %v virtual, %d starts, %d sent, %d acked, bank %+v, group %+v",
				n, len(plan.Faults), r.Virtual, r.Starts, r.Sent, r.Acked, r.Bank, r.Group)
		}
		if *seed != 0 || len(r.Faults) > 0 {
			for _, e := range r.Events[:min(len(r.Events), 60)] {
				t.Log(e)
			}
		}
	})
}
