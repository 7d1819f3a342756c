package s3

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
)

// server answers requests after the times that it is given, one for each.
type server struct {
	asked atomic.Int64
	after []time.Duration
	fail  error // of the first
}

func (s *server) get(ctx context.Context, p []byte) (int, error) {
	i := s.asked.Add(1) - 1
	select {
	case <-time.After(s.after[i]):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if i == 0 && s.fail != nil {
		return 0, s.fail
	}
	return copy(p, "data"), nil
}

func TestHedge(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name   string
		server *server
		asked  int64
		took   time.Duration
		err    error
	}{
		{"quick", &server{after: []time.Duration{time.Millisecond}}, 1, time.Millisecond, nil},
		{"second wins", &server{after: []time.Duration{time.Minute, time.Millisecond}}, 2, 201 * time.Millisecond, nil},
		{"first wins", &server{after: []time.Duration{300 * time.Millisecond, time.Minute}}, 2, 300 * time.Millisecond, nil},
		{"first fails late", &server{after: []time.Duration{300 * time.Millisecond, 500 * time.Millisecond}, fail: broken}, 2, 700 * time.Millisecond, nil},
		{"first fails soon", &server{after: []time.Duration{time.Millisecond}, fail: broken}, 1, time.Millisecond, broken},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			h := newHedge(clock.System{})
			p := make([]byte, 4)
			began := time.Now()
			n, err := h.read(t.Context(), p, tt.server.get)
			if took := time.Since(began); took != tt.took || tt.server.asked.Load() != tt.asked || !errors.Is(err, tt.err) || err == nil && string(p[:n]) != "data" {
				t.Errorf("%s: %q, %v after %v and %d requests", tt.name, p[:n], err, took, tt.server.asked.Load())
			}
		})
	}
}

// A store that is slow as a whole gets hardly more requests than it is asked.
func TestHedgeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedge(clock.System{})
		h.usual = 0
		const reads = 1000
		var asked atomic.Int64
		slow := func(ctx context.Context, p []byte) (int, error) {
			asked.Add(1)
			h.mu.Lock()
			h.usual = 0 // as if all reads before had been quick
			h.mu.Unlock()
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return len(p), ctx.Err()
		}
		for range reads {
			if _, err := h.read(t.Context(), make([]byte, 1), slow); err != nil {
				t.Fatal(err)
			}
		}
		if extra := asked.Load() - reads; extra > reads/hedgeShare+hedgeBurst || extra < hedgeBurst {
			t.Errorf("%d extra requests for %d reads", extra, reads)
		}
	})
}

// What the caller gets back is its own: a request that lost writes to it no more.
func TestHedgeLeavesTheBufferAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedge(clock.System{})
		var asked atomic.Int64
		get := func(ctx context.Context, p []byte) (int, error) {
			if asked.Add(1) == 1 {
				<-ctx.Done()
				time.Sleep(time.Second) // it does not notice at once
				return copy(p, "late"), nil
			}
			return copy(p, "good"), nil
		}
		p := make([]byte, 4)
		if n, err := h.read(t.Context(), p, get); err != nil || string(p[:n]) != "good" {
			t.Errorf("%q, %v", p[:n], err)
		}
		time.Sleep(time.Minute)
		if string(p) != "good" {
			t.Errorf("then %q", p)
		}
	})
}
