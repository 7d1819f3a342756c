package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/base/object/objecttest"
)

func TestSuite(t *testing.T) {
	objecttest.Run(t, func(*testing.T) object.Store {
		return New(object.NewMemory(clock.System{}), Config{Bytes: 8 * BlockBytes})
	})
}

func fill(t *testing.T, s object.Store, key string, size int) []byte {
	t.Helper()
	body := make([]byte, size)
	rng := rand.New(rand.NewPCG(uint64(size), 1))
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	if err := s.Put(t.Context(), key, [][]byte{body}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	return body
}

func open(t *testing.T, s object.Store, key string) object.Reader {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Many readers at random places get what the store holds, whatever is kept, and the memory stays bounded (B1, B3).
func TestRandomReads(t *testing.T) {
	for _, budget := range []int64{0, BlockBytes, 3 * BlockBytes, 64 * BlockBytes} {
		s := New(object.NewMemory(clock.System{}), Config{Bytes: budget})
		bodies := make([][]byte, 3)
		for i := range bodies {
			bodies[i] = fill(t, s, fmt.Sprint("o", i), i*BlockBytes*3+12345)
		}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), 2))
				r := open(t, s, fmt.Sprint("o", w%3))
				body := bodies[w%3]
				for range 20 {
					off := rng.IntN(len(body) + 10)
					p := make([]byte, rng.IntN(2*BlockBytes))
					n, err := r.ReadAt(p, int64(off))
					want := body[min(off, len(body)):]
					want = want[:min(len(want), len(p))]
					if !bytes.Equal(p[:n], want) || (err != nil) != (n < len(p)) || err != nil && !errors.Is(err, io.EOF) {
						t.Errorf("%d bytes at %d: %d, %v", len(p), off, n, err)
					}
					if used := s.Stats().Bytes; used > budget {
						t.Errorf("%d bytes of %d are used", used, budget)
					}
				}
			})
		}
		wg.Wait()
	}
}

// counted counts the reads of a store, and holds them up while gate is there.
func counted(store object.Store, gate chan struct{}, reads *atomic.Int64) object.Store {
	return object.Faulty(store, func(ctx context.Context, op object.Op) error {
		if op.Kind == object.OpRead {
			reads.Add(1)
			if gate != nil {
				<-gate
			}
		}
		return nil
	})
}

// B2: readers that want the same block at the same time make one request.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := object.NewMemory(clock.System{})
		body := fill(t, memory, "o", BlockBytes)
		gate, reads := make(chan struct{}), new(atomic.Int64)
		s := New(counted(memory, gate, reads), Config{Bytes: 8 * BlockBytes})
		r := open(t, s, "o")
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				p := make([]byte, 10)
				if _, err := r.ReadAt(p, int64(i)); err != nil || !bytes.Equal(p, body[i:i+10]) {
					t.Errorf("%x, %v", p, err)
				}
			})
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		if reads.Load() != 1 {
			t.Errorf("%d requests", reads.Load())
		}
	})
}

// A failed request is an error for those who waited, and is tried again by the next.
func TestFailuresAreNotKept(t *testing.T) {
	memory := object.NewMemory(clock.System{})
	body := fill(t, memory, "o", 100)
	broken := errors.New("broken")
	var fault atomic.Bool
	s := New(object.Faulty(memory, func(_ context.Context, op object.Op) error {
		if op.Kind == object.OpRead && fault.Load() {
			return broken
		}
		return nil
	}), Config{Bytes: 8 * BlockBytes})
	r := open(t, s, "o")
	fault.Store(true)
	p := make([]byte, 100)
	if _, err := r.ReadAt(p, 0); !errors.Is(err, broken) || s.Stats().Bytes != 0 {
		t.Errorf("%v, %+v", err, s.Stats())
	}
	fault.Store(false)
	if _, err := r.ReadAt(p, 0); err != nil || !bytes.Equal(p, body) {
		t.Errorf("then %v", err)
	}
}

// A reader that goes through an object in order finds most of it here already, with far fewer requests than blocks (B4).
func TestReadAhead(t *testing.T) {
	memory := object.NewMemory(clock.System{})
	const blocks = 40
	body := fill(t, memory, "o", blocks*BlockBytes)
	reads := new(atomic.Int64)
	s := New(counted(memory, nil, reads), Config{Bytes: 16 * BlockBytes})
	r := open(t, s, "o")
	var got []byte
	for p := make([]byte, 100_000); ; {
		n, err := r.ReadAt(p, int64(len(got)))
		got = append(got, p[:n]...)
		if err != nil {
			break
		}
	}
	if !bytes.Equal(got, body) {
		t.Error("other bytes")
	}
	stats := s.Stats()
	if stats.Misses > 4 || stats.Ahead < blocks-4 || reads.Load() > blocks/2 {
		t.Errorf("%+v with %d requests", stats, reads.Load())
	}
}

// An object that is replaced is read anew (B1).
func TestReplaced(t *testing.T) {
	s := New(object.NewMemory(clock.System{}), Config{Bytes: 8 * BlockBytes})
	for i := range 3 {
		body := fill(t, s, "o", 1000)
		body[0] = byte(i)
		if err := s.Put(t.Context(), "o", [][]byte{body}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1000)
		if _, err := open(t, s, "o").ReadAt(p, 0); err != nil || !bytes.Equal(p, body) {
			t.Errorf("round %d: %v, first byte %d", i, err, p[0])
		}
	}
}

// One folder that is read from end to end leaves the others what they have, as long as they use it (B5).
func TestFoldersShareFairly(t *testing.T) {
	const blocks = 8
	s := New(object.NewMemory(clock.System{}), Config{Bytes: blocks * BlockBytes})
	fill(t, s, "small/o", 2*BlockBytes)
	fill(t, s, "idle/o", BlockBytes)
	fill(t, s, "large/o", 100*BlockBytes)
	small, idle, large := open(t, s, "small/o"), open(t, s, "idle/o"), open(t, s, "large/o")
	p := make([]byte, 100)
	read := func(r object.Reader, index int64) (missed bool) {
		t.Helper()
		before := s.Stats().Misses
		if _, err := r.ReadAt(p, index*BlockBytes); err != nil {
			t.Fatal(err)
		}
		return s.Stats().Misses > before
	}
	read(small, 0)
	read(small, 1)
	read(idle, 0)
	for i := range int64(100) {
		read(large, (i*37)%100) // not in order, so that nothing is read ahead
		if i%10 == 0 && (read(small, 0) || read(small, 1)) {
			t.Fatalf("after %d blocks of another folder the small one was displaced", i)
		}
	}
	if !read(idle, 0) {
		t.Error("a block that nobody used stayed for ever")
	}
	if used := s.Stats().Bytes; used > blocks*BlockBytes || used < (blocks-1)*BlockBytes {
		t.Errorf("%d bytes are used", used)
	}
	for _, key := range []string{"small/o", "idle/o", "large/o"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.shares) != 0 || s.used != 0 {
		t.Errorf("%d bytes are used, shares %v", s.used, s.shares)
	}
}
