package keys

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
)

// gate is a KMS that can be away, and counts what it is asked.
type gate struct {
	KMS
	mu    sync.Mutex
	away  bool
	asked int
	heard chan struct{} // closed at the next question; nil: nobody waits for it
}

func (g *gate) set(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

func (g *gate) ask() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	if g.heard != nil {
		close(g.heard)
		g.heard = nil
	}
	if g.away {
		return ErrUnavailable
	}
	return nil
}

func (g *gate) Wrap(ctx context.Context, plain, context []byte) ([]byte, error) {
	if err := g.ask(); err != nil {
		return nil, err
	}
	return g.KMS.Wrap(ctx, plain, context)
}

func (g *gate) Unwrap(ctx context.Context, wrapped, context []byte) ([]byte, error) {
	if err := g.ask(); err != nil {
		return nil, err
	}
	return g.KMS.Unwrap(ctx, wrapped, context)
}

// newKeyring makes a local key ring in memory.
func newKeyring(t testing.TB) KMS {
	t.Helper()
	fs := disk.NewMem()
	const url = "keyring:///data/secure/keyring.json"
	if err := CreateKeyring(url, fs); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKMS(t.Context(), url, fs)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testWorld() World {
	return World{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Settle: -1}
}

func openRing(t testing.TB, store kv.KV, purpose string, k KMS, w World) *Ring {
	t.Helper()
	r, err := OpenRing(t.Context(), store, purpose, k, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// waitAsked waits until it was asked more than so many times.
func (g *gate) waitAsked(times int) {
	for {
		g.mu.Lock()
		if g.asked > times {
			g.mu.Unlock()
			return
		}
		if g.heard == nil {
			g.heard = make(chan struct{})
		}
		heard := g.heard
		g.mu.Unlock()
		<-heard
	}
}

// waitLearned waits until ok holds of what the ring knows.
func waitLearned(r *Ring, ok func() bool) {
	for {
		learned := r.now.Load().learned
		if ok() {
			return
		}
		<-learned
	}
}
