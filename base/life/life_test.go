package life_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/life"
)

var errBoom = errors.New("boom")

// journal notes what happens in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// actor runs until it is told to stop, and then takes its time.
func (j *journal) actor(name string, stopping time.Duration) life.Actor {
	return life.Actor{Name: name, Grace: time.Second, Run: func(ctx context.Context) error {
		<-ctx.Done()
		<-time.After(stopping)
		j.note(name)
		return ctx.Err()
	}}
}

func TestStopsInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := life.NewGroup(t.Context())
		for _, name := range []string{"a", "b", "c"} {
			start(t, g, j.actor(name, 100*time.Millisecond))
		}
		if err := g.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		if want := []string{"c", "b", "a"}; !slices.Equal(j.lines, want) {
			t.Errorf("stopped in order %v, want %v", j.lines, want)
		}
		if err := g.Go(j.actor("late", 0)); !errors.Is(err, life.ErrStopped) {
			t.Errorf("start after close: %v", err)
		}
		if err := g.Close(t.Context()); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestFirstFailureStopsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		err := life.Run(t.Context(),
			j.actor("a", 0),
			life.Actor{Name: "bad", Run: func(context.Context) error {
				<-time.After(time.Minute)
				return errBoom
			}},
			life.Actor{Name: "done", Run: func(context.Context) error { return nil }},
			j.actor("c", 0),
		)
		if !errors.Is(err, errBoom) || err.Error() != "bad: boom" {
			t.Errorf("got %v", err)
		}
		if want := []string{"c", "a"}; !slices.Equal(j.lines, want) {
			t.Errorf("stopped in order %v, want %v", j.lines, want)
		}
	})
}

func TestParentContextStopsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := life.Run(ctx, j.actor("a", time.Millisecond), j.actor("b", time.Millisecond)); err != nil {
			t.Errorf("got %v", err)
		}
		if want := []string{"b", "a"}; !slices.Equal(j.lines, want) {
			t.Errorf("stopped in order %v, want %v", j.lines, want)
		}
	})
}

func TestRunEndsWhenAllHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nothing := func(context.Context) error { return nil }
		if err := life.Run(t.Context(), life.Actor{Name: "a", Run: nothing}, life.Actor{Name: "b", Run: nothing}); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestGraceUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := life.NewGroup(t.Context())
		start(t, g, j.actor("a", 0))
		start(t, g, j.actor("slow", 5*time.Second)) // its grace is one second
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := g.Close(ctx)
		if !errors.Is(err, life.ErrStuck) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "slow: ") {
			t.Errorf("close with an impatient context: %v", err)
		}
		j.mu.Lock()
		if !slices.Equal(j.lines, []string{"a"}) {
			t.Errorf("a did not stop in spite of the slow actor: %v", j.lines)
		}
		j.mu.Unlock()
		if err := g.Wait(); !errors.Is(err, life.ErrStuck) || time.Since(begin) != 5*time.Second {
			t.Errorf("wait: %v after %v", err, time.Since(begin))
		}
	})
}

func TestErrorsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errOther := errors.New("other")
		err := life.Run(t.Context(),
			life.Actor{Name: "a", Run: func(ctx context.Context) error { <-ctx.Done(); return errOther }},
			life.Actor{Name: "b", Run: func(context.Context) error { return errBoom }},
		)
		if !errors.Is(err, errBoom) || !errors.Is(err, errOther) {
			t.Errorf("got %v", err)
		}
	})
}

func start(t *testing.T, g *life.Group, a life.Actor) {
	t.Helper()
	if err := g.Go(a); err != nil {
		t.Fatal(err)
	}
}
