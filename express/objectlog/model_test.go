package objectlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/object"

	"pgregory.net/rapid"
)

// scene is one life of a log: a writer with groups in flight, and brokers that seal it meanwhile.
type scene struct {
	seed      uint64
	odds      odds
	pipeline  int
	groups    int // that the writer has at most
	trims     bool
	sealAfter time.Duration
	sealers   int
	hedge     time.Duration
	leaseEnds time.Duration // 0: there is none; then the lease ends at that time, and sometimes comes back
}

func drawScene(t *rapid.T) scene {
	return scene{
		seed: rapid.Uint64().Draw(t, "seed"),
		odds: odds{
			fail: rapid.IntRange(0, 30).Draw(t, "fail"), lose: rapid.IntRange(0, 30).Draw(t, "lose"),
			unknown: rapid.IntRange(0, 30).Draw(t, "unknown"),
			hang:    rapid.IntRange(0, 10).Draw(t, "hang"), stale: rapid.IntRange(0, 100).Draw(t, "stale"),
		},
		pipeline:  rapid.IntRange(1, 8).Draw(t, "pipeline"),
		groups:    rapid.IntRange(1, 200).Draw(t, "groups"),
		trims:     rapid.Bool().Draw(t, "trims"),
		sealAfter: time.Duration(rapid.IntRange(0, 20_000).Draw(t, "sealAfter")) * time.Millisecond,
		sealers:   rapid.IntRange(1, 3).Draw(t, "sealers"),
		hedge:     time.Duration(rapid.SampledFrom([]int{0, 10, 100}).Draw(t, "hedge")) * time.Millisecond,
		leaseEnds: time.Duration(rapid.IntRange(0, 20).Draw(t, "leaseEnds")) * time.Second,
	}
}

// stage is where a scene plays, and what was seen.
type stage struct {
	scene
	*env
	chaos *chaos
	w     *Writer
	start time.Time

	mu       sync.Mutex
	done     []uint64 // numbers of groups with Done(nil), in order
	ended    uint64   // groups that are done
	failed   bool
	trimmed  uint64
	problems []error
}

func (s *stage) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Errorf(format, args...))
}

// lease ends, and is valid again for a second five seconds later, in case nobody has sealed the log.
func (s *stage) lease() time.Time {
	switch at := time.Since(s.start); {
	case s.leaseEnds == 0:
		return time.Time{}
	case at > s.leaseEnds+5*time.Second && at < s.leaseEnds+6*time.Second:
		return s.start.Add(s.leaseEnds + 6*time.Second)
	}
	return s.start.Add(s.leaseEnds)
}

// write feeds the writer until it has failed or all groups are done.
func (s *stage) write() {
	slots := make(chan struct{}, s.pipeline)
	for seq := uint64(1); seq <= uint64(s.groups); seq++ {
		slots <- struct{}{}
		s.mu.Lock()
		failed := s.failed
		if n := len(s.done); s.trims && n > 3 && seq%7 == 0 {
			s.trimmed = s.done[n/2]
			s.w.Trim(s.trimmed)
		}
		s.mu.Unlock()
		if failed {
			<-slots
			break
		}
		s.w.Put(seq, single(seq), func(err error) {
			s.told(seq, err)
			<-slots
		})
		time.Sleep(5 * time.Millisecond)
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}

// told checks L1, L2 and L7 at the moment of a Done.
func (s *stage) told(seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended++; seq != s.ended {
		s.problem("group %d is done at place %d", seq, s.ended)
	}
	if err != nil {
		s.failed = true
		if time.Since(s.start) < s.sealAfter {
			s.problem("group %d fails before anybody seals: %w", seq, err)
		}
		if !errors.Is(err, ErrSealed) && !errors.Is(err, ErrClosed) {
			s.problem("group %d: %w", seq, err)
		}
		return
	}
	if s.failed {
		s.problem("group %d is done after a failure", seq)
	}
	if d := s.lease(); !d.IsZero() && !time.Now().Before(d) {
		s.problem("group %d is done %v after the lease", seq, time.Since(d))
	}
	for at := max(1, s.trimmed); at <= seq; at++ {
		if _, err := s.memory.Stat(context.Background(), testID.key(at)); err != nil {
			s.problem("group %d is done, and %d is not there", seq, at)
		}
	}
	s.done = append(s.done, seq)
}

// sealUntilDone seals as a successor does.
func (s *stage) sealUntilDone(ctx context.Context, by int32) Sealed {
	for {
		sealed, err := s.store.Seal(ctx, testID, ID{Broker: by, Incarnation: 1})
		if err == nil {
			return sealed
		}
		if errors.Is(err, ErrCorrupt) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.problem("seal: %w", err)
			return Sealed{}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// play runs a scene and returns what went wrong.
func play(t *testing.T, sc scene) (problems []error) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{scene: sc, start: time.Now()}
		s.env = newEnv(t, func(memory object.Store) object.Store {
			s.chaos = &chaos{Store: memory, odds: sc.odds, rng: rand.New(rand.NewPCG(sc.seed, 1)), created: map[string]time.Time{}}
			return s.chaos
		})
		s.setKV(chaosKV{s.kv, s.chaos})
		s.w = s.createWith(t, WriterConfig{TrimInterval: time.Second, PutTimeout: time.Second, HedgeAfter: sc.hedge}, s.lease)
		var all sync.WaitGroup
		all.Go(func() { s.write() })
		ends := make([]Sealed, sc.sealers)
		for i := range ends {
			all.Go(func() {
				time.Sleep(sc.sealAfter + time.Duration(i)*30*time.Millisecond)
				ends[i] = s.sealUntilDone(t.Context(), int32(i+10))
			})
		}
		all.Wait()
		s.judge(t, ends)
		_ = s.w.Close(t.Context())
		s.chaos.late.Wait()
		problems = s.problems
	})
	return problems
}

// judge looks at a log when all have ended: L3, L4, L5 and L8.
func (s *stage) judge(t *testing.T, ends []Sealed) {
	end := ends[0]
	for _, other := range ends {
		if other != end {
			s.problem("one log, ends %+v and %+v", end, other)
		}
	}
	s.mu.Lock()
	acked := uint64(len(s.done))
	s.mu.Unlock()
	if acked >= end.End || end.First > max(1, s.trimmed) {
		s.problem("groups to %d are done, trimmed to %d, and the log is %d to %d", acked, s.trimmed, end.First, end.End)
	}
	if err := put(s.w, s.ended+1); err == nil {
		s.problem("group %d is done after the seal at %d", s.ended, end.End)
	}
	next := end.First
	err := s.store.Replay(t.Context(), end, everything, func(r Run) error {
		if uint64(r.Base) != next {
			return fmt.Errorf("group %d instead of %d", r.Base, next)
		}
		next++
		return nil
	})
	switch {
	case err == nil && next != end.End:
		s.problem("replay ends at %d instead of %d", next, end.End)
	case err != nil && !errors.Is(err, errFault):
		s.problem("replay: %w", err)
	}
}

// TestModel plays scenes with every fault.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScene(rt)
		if problems := play(t, sc); len(problems) > 0 {
			rt.Fatalf("%+v: %v", sc, errors.Join(problems...))
		}
	})
}
