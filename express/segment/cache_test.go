package segment

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"millrace/base/object"
)

// counted is a store that knows how many readers are open.
type counted struct {
	object.Store
	open, most, opens atomic.Int64
	gate              func(ctx context.Context, key string) error // asked by Open; nil: none
}

type countedReader struct {
	object.Reader
	store  *counted
	closed atomic.Bool
}

func (s *counted) Open(ctx context.Context, key string) (object.Reader, error) {
	s.opens.Add(1)
	if s.gate != nil {
		if err := s.gate(ctx, key); err != nil {
			return nil, err
		}
	}
	r, err := s.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	s.most.Store(max(s.most.Load(), s.open.Add(1)))
	return &countedReader{Reader: r, store: s}, nil
}

func (r *countedReader) ReadAt(p []byte, off int64) (int, error) {
	if r.closed.Load() {
		return 0, object.ErrClosed
	}
	return r.Reader.ReadAt(p, off)
}

func (r *countedReader) Close() error {
	if r.closed.Swap(true) {
		panic("closed twice")
	}
	r.store.open.Add(-1)
	return r.Reader.Close()
}

// someSegments writes n segments.
func someSegments(t testing.TB, n int) (*counted, []Info) {
	store := &counted{Store: newStore()}
	var infos []Info
	for i := range int64(n) {
		infos = append(infos, write(t, store, WriterConfig{Base: i}, i+1, plain(t, i, 1, 10, 1)))
	}
	return store, infos
}

func nothing(*Reader) error { return nil }

func TestCacheKeepsTheLatestOpen(t *testing.T) {
	store, infos := someSegments(t, 4)
	c := NewCache(store, 2)
	for i, want := range []struct{ use, opens int64 }{{0, 1}, {1, 2}, {0, 2}, {2, 3}, {0, 3}, {1, 4}, {1, 4}, {2, 5}} {
		if err := c.With(t.Context(), infos[want.use], nothing); err != nil {
			t.Fatal(err)
		}
		if got := store.opens.Load(); got != want.opens || store.open.Load() > 2 {
			t.Fatalf("step %d: opened %d times, %d open", i, got, store.open.Load())
		}
	}
	for _, info := range infos {
		c.Forget(info.Key)
		c.Forget(info.Key)
	}
	if n := store.open.Load(); n != 0 {
		t.Fatalf("%d left open", n)
	}
}

func TestCacheOpensOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, infos := someSegments(t, 1)
		gate := make(chan struct{})
		store.gate = func(context.Context, string) error { <-gate; return nil }
		c := NewCache(store, 1)
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if err := c.With(t.Context(), infos[0], nothing); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(gate)
		group.Wait()
		if n := store.opens.Load(); n != 1 {
			t.Fatalf("opened %d times", n)
		}
		c.Forget(infos[0].Key)
	})
}

func TestCacheWaitsForAFreeReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, infos := someSegments(t, 2)
		c := NewCache(store, 1)
		release, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- c.With(t.Context(), infos[0], func(*Reader) error { <-release; return nil }) }()
		synctest.Wait()

		impatient, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { failed <- c.With(impatient, infos[1], nothing) }()
		second := make(chan error, 1)
		go func() { second <- c.With(t.Context(), infos[1], nothing) }()
		synctest.Wait()
		if len(second) != 0 || store.open.Load() != 1 {
			t.Fatalf("did not wait: %d open", store.open.Load())
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		close(release)
		if err := errors.Join(<-done, <-second); err != nil {
			t.Fatal(err)
		}
		if store.most.Load() != 1 {
			t.Fatalf("%d were open at once", store.most.Load())
		}
	})
}

func TestCacheForgetsAReaderInUse(t *testing.T) {
	store, infos := someSegments(t, 1)
	c := NewCache(store, 1)
	err := c.With(t.Context(), infos[0], func(r *Reader) error {
		c.Forget(infos[0].Key)
		if store.open.Load() != 1 {
			t.Error("closed in use")
		}
		return r.Verify(t.Context(), newSlabs(t))
	})
	if err != nil || store.open.Load() != 0 {
		t.Fatalf("%d left open, %v", store.open.Load(), err)
	}
}

func TestCacheForgetsWhatIsBeingOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, infos := someSegments(t, 1)
		gate := make(chan struct{})
		store.gate = func(context.Context, string) error { <-gate; return nil }
		c := NewCache(store, 1)
		done := make(chan error, 1)
		go func() { done <- c.With(t.Context(), infos[0], nothing) }()
		synctest.Wait()
		c.Forget(infos[0].Key)
		close(gate)
		if err := <-done; err != nil || store.open.Load() != 0 {
			t.Fatalf("%d left open, %v", store.open.Load(), err)
		}
	})
}

func TestCacheAnotherTakesOverFromOneWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, infos := someSegments(t, 1)
		store.gate = func(ctx context.Context, _ string) error {
			if store.opens.Load() > 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		c := NewCache(store, 1)
		short, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- c.With(short, infos[0], nothing) }()
		synctest.Wait()
		go func() { second <- c.With(t.Context(), infos[0], nothing) }()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Fatalf("first: %v", err)
		}
		if err := <-second; err != nil {
			t.Fatalf("second: %v", err)
		}
		c.Forget(infos[0].Key)
	})
}

func TestCacheReturnsErrorsAndKeepsNone(t *testing.T) {
	store, infos := someSegments(t, 1)
	c := NewCache(store, 1)
	store.gate = func(context.Context, string) error { return errPlanted }
	if err := c.With(t.Context(), infos[0], nothing); !errors.Is(err, errPlanted) {
		t.Fatalf("got %v", err)
	}
	store.gate = nil
	if err := c.With(t.Context(), infos[0], func(*Reader) error { return errPlanted }); !errors.Is(err, errPlanted) {
		t.Fatalf("got %v", err)
	}
	if err := c.With(t.Context(), infos[0], nothing); err != nil {
		t.Fatal(err)
	}
}

func TestCacheUnderLoad(t *testing.T) {
	store, infos := someSegments(t, 12)
	c, slabs := NewCache(store, 4), newSlabs(t)
	var group sync.WaitGroup
	for g := range uint64(8) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(g, 1))
			for range 300 {
				info := infos[random.IntN(len(infos))]
				if random.IntN(10) == 0 {
					c.Forget(info.Key)
				}
				if err := c.With(t.Context(), info, func(r *Reader) error { return r.Verify(t.Context(), slabs) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	c.Close()
	// Readers that were forgotten while in use come on top of the four.
	if store.open.Load() != 0 || store.most.Load() > 12 {
		t.Fatalf("%d left open, %d at once", store.open.Load(), store.most.Load())
	}
}
