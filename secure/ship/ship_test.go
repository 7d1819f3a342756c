package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/secure/trail"
)

// sink keeps batches by their first line and refuses some.
type sink struct {
	mu     sync.Mutex // guards kept
	kept   map[string]Batch
	fails  func() bool
	before func() // called before each Put
}

var errSink = errors.New("sink is away")

func (s *sink) Put(_ context.Context, b Batch) error {
	if s.before != nil {
		s.before()
	}
	lost := s.fails != nil && s.fails()
	if lost && s.fails() {
		return errSink // not kept
	}
	key := fmt.Sprintf("%s/%06d", b.Writer, b.Entries[0].N)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.kept[key]; ok && !slices.EqualFunc(old.Entries, b.Entries, func(a, b trail.Entry) bool { return a.Hash == b.Hash }) {
		return errors.New("a batch came again with other lines")
	}
	s.kept[key] = Batch{b.Writer, slices.Clone(b.Entries)}
	if lost {
		return errSink // kept, and the answer is lost
	}
	return nil
}

// check says whether each line is there once.
func (s *sink) check(want map[string]int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[string]int{}
	keys := make([]string, 0, len(s.kept))
	for key := range s.kept {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		for _, e := range s.kept[key].Entries {
			got[e.Writer]++
			if e.N != uint64(got[e.Writer]) || !bytes.Contains(e.Raw, fmt.Appendf(nil, `"action":"a%d"`, e.N)) {
				return fmt.Errorf("%s: line %d at place %d", e.Writer, e.N, got[e.Writer])
			}
		}
	}
	for writer, n := range want {
		if got[writer] != n {
			return fmt.Errorf("%s: %d lines of %d", writer, got[writer], n)
		}
	}
	return nil
}

// write adds lines to a trail in one go.
func write(t interface{ Fatal(...any) }, fsys disk.FS, writer string, from, n int) {
	l, err := trail.Open(context.Background(), trail.Config{Writer: writer, Root: "audit", FileBytes: 700, KeepBytes: 1 << 20},
		trail.World{FS: fsys, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		l.Record(trail.Event{Kind: trail.Admin, Action: fmt.Sprint("a", from+i+1)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// Each line is shipped once, in batches that never differ, whatever fails and whenever it crashes (SH1).
func TestEachLineOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := disk.NewMem()
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		crash := false
		s := &sink{kept: map[string]Batch{}}
		want := map[string]int{}
		begin := func() *shipper {
			cfg := Config{BatchBytes: rapid.IntRange(1, 3000).Draw(t, "batch"), BatchLines: rapid.IntRange(1, 9).Draw(t, "lines")}
			cfg.fill()
			cfg.Pause = time.Nanosecond
			sh := &shipper{cfg: cfg, world: World{FS: fs, Root: "audit", Sink: s, Log: slog.New(slog.DiscardHandler)}, batches: map[string]*Batch{}, bytes: map[string]int{}}
			if err := sh.load(); err != nil {
				t.Fatal(err)
			}
			return sh
		}
		sh := begin()
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			writer := rapid.SampledFrom([]string{"default-1", "serve"}).Draw(t, "writer")
			n := rapid.IntRange(0, 12).Draw(t, "events")
			write(t, fs, writer, want[writer], n)
			want[writer] += n
			ctx, cancel := context.WithCancel(context.Background())
			crash = rapid.Bool().Draw(t, "crash")
			s.fails = func() bool { return rng.IntN(3) == 0 }
			s.before = func() {
				if crash && rng.IntN(2) == 0 {
					cancel()
				}
			}
			err := sh.round(ctx)
			cancel()
			if crash {
				fs = fs.CrashClone(rng)
				sh = begin()
			} else if err != nil {
				t.Fatal(err)
			}
		}
		s.fails, s.before = nil, nil
		if err := errors.Join(sh.round(context.Background()), s.check(want)); err != nil {
			t.Fatal(err)
		}
	})
}

// Run goes on by itself when the sink is back (SH2), and ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := disk.NewMem()
		var away atomic.Bool
		away.Store(true)
		s := &sink{kept: map[string]Batch{}, fails: away.Load}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, Config{}, World{FS: fs, Root: "audit", Sink: s, Log: slog.New(slog.DiscardHandler)})
		}()
		write(t, fs, "w", 0, 30)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := s.check(map[string]int{"w": 0}); err != nil {
			t.Error("the sink was away:", err)
		}
		away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := s.check(map[string]int{"w": 30}); err != nil {
			t.Error(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// What Objects stores verifies as the trail does.
func TestObjectsVerify(t *testing.T) {
	fs, store := disk.NewMem(), object.NewMemory(clock.System{})
	write(t, fs, "w", 0, 40)
	sh := &shipper{cfg: Config{BatchLines: 7}, world: World{FS: fs, Root: "audit", Sink: Objects{store}, Log: slog.New(slog.DiscardHandler)}, batches: map[string]*Batch{}, bytes: map[string]int{}}
	sh.cfg.fill()
	if err := errors.Join(sh.load(), sh.round(t.Context())); err != nil {
		t.Fatal(err)
	}
	list, err := store.List(t.Context(), "audit/w/", "", 100)
	if err != nil || len(list) != 6 {
		t.Fatal(list, err)
	}
	copies := disk.NewMem()
	if err := copies.MkdirAll("audit/w", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		b := make([]byte, o.Size)
		if _, err := store.ReadAt(t.Context(), o.Key, b, 0); err != nil {
			t.Fatal(err)
		}
		if err := copies.WriteFileAtomic(o.Key, b); err != nil {
			t.Fatal(err)
		}
	}
	report, err := trail.Verify(t.Context(), copies, "audit", nil, nil, false)
	if err != nil || len(report.Findings) > 0 || report.Chains[0].Last != 40 {
		t.Error(report, err)
	}
}

func TestNewerState(t *testing.T) {
	fs := disk.NewMem()
	if err := errors.Join(fs.MkdirAll("audit", 0o700), fs.WriteFileAtomic("audit/"+stateFile, []byte(`{"format":2}`))); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Config{}, World{FS: fs, Root: "audit", Sink: &sink{}, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}
