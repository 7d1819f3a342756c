package limit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/limit"
)

func TestAcquireWaitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBudget(10)
		acquire(t, b, 6)
		order := make(chan int64, 3)
		for _, n := range []int64{7, 2, 1} { // 2 and 1 would fit at once, but 7 came first
			go func() {
				acquire(t, b, n)
				order <- n
			}()
			synctest.Wait()
		}
		if len(order) != 0 || b.Used() != 6 {
			t.Fatalf("%d went past the first waiter, %d used", len(order), b.Used())
		}
		if b.TryAcquire(1) {
			t.Error("TryAcquire went past the waiters")
		}
		b.Release(6)
		synctest.Wait()
		if got := [3]int64{<-order, <-order, <-order}; got[0]+got[1]+got[2] != 10 || b.Used() != 10 {
			t.Errorf("admitted %v, %d used", got, b.Used())
		}
	})
}

func TestOversizedGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBudget(10)
		acquire(t, b, 1)
		done := make(chan bool)
		go func() {
			acquire(t, b, 25)
			close(done)
		}()
		synctest.Wait()
		if b.Used() != 1 {
			t.Fatalf("%d used beside the oversized request", b.Used())
		}
		b.Release(1)
		<-done
		if b.Used() != 25 || b.TryAcquire(1) {
			t.Error("the oversized request is not alone")
		}
		b.Release(25)
	})
}

func TestCancelledWaiterLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBudget(10)
		acquire(t, b, 6)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		small := make(chan bool)
		go func() {
			<-time.After(time.Millisecond) // so that it arrives after the large request
			acquire(t, b, 4)
			close(small)
		}()
		if err := b.Acquire(ctx, 8); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-small
		if b.Used() != 10 {
			t.Errorf("%d used", b.Used())
		}
	})
}

func TestMisuse(t *testing.T) {
	b := limit.NewBudget(10)
	for name, f := range map[string]func(){
		"release of nothing": func() { b.Release(1) },
		"negative release":   func() { b.Release(-1) },
		"negative acquire":   func() { b.TryAcquire(-1) },
		"empty budget":       func() { limit.NewBudget(0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

// TestNeverExceeded hammers a budget and watches L2.
func TestNeverExceeded(t *testing.T) {
	const total = 100
	b := limit.NewBudget(total)
	var held atomic.Int64
	var wg sync.WaitGroup
	for worker := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(worker, 1))
			for range 2000 {
				n := rng.Int64N(total + 20)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(200))*time.Microsecond)
				if err := b.Acquire(ctx, n); err == nil {
					if now := held.Add(n); now > max(total, n) {
						t.Errorf("%d bytes held at once", now)
					}
					held.Add(-n)
					b.Release(n)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d used in the end", b.Used())
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	budget := limit.NewBudget(1 << 20)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := budget.Acquire(b.Context(), 100); err != nil {
				b.Fatal(err)
			}
			budget.Release(100)
		}
	})
}

func acquire(t *testing.T, b *limit.Budget, n int64) {
	t.Helper()
	if err := b.Acquire(t.Context(), n); err != nil {
		t.Error(err)
	}
}
