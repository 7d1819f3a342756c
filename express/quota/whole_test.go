package quota_test

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/express/quota"
)

const second = time.Second

func newWhole(l quota.Limits) (*quota.Whole, *clock.Manual) {
	clk := clock.NewManual(time.Unix(1_700_000_000, 0))
	return quota.NewWhole(l, clk), clk
}

func TestNobodyIsHeldToNothing(t *testing.T) {
	w, _ := newWhole(quota.Limits{})
	if w != nil {
		t.Fatal("no limits, and somebody is held to them")
	}
	wait, withheld := w.Offer(1 << 30)
	_, open := w.Open()
	_, may := w.Change(1000, true)
	if wait+w.Sent(1<<30)+w.Fetched(1<<30)+w.Asked() != 0 || withheld || !open || !may || w.Changeable() || w.Traffic() != (quota.Traffic{}) {
		t.Error("nil holds somebody to something")
	}
	w.Closed()
	w.Withdraw(1)
	w.Unchange(1)
}

// Q5: clients that wait as they are told get, all together, the sustained rate in the long run and never more than the maximum.
func TestAllClientsTogetherKeepToTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sustained := int64(rapid.IntRange(1000, 1_000_000).Draw(t, "sustained"))
		most := sustained * int64(rapid.IntRange(100, 300).Draw(t, "max")) / 100
		w, clk := newWhole(quota.Limits{In: quota.Flow{Sustained: sustained, Max: most}})
		type event struct {
			at   time.Time
			sent int64
		}
		clients := make([]time.Time, rapid.IntRange(1, 5).Draw(t, "clients")) // when each may send again
		var events []event
		largest := int64(0)
		for range rapid.IntRange(1, 120).Draw(t, "requests") {
			next := 0
			for i := range clients {
				if clients[i].Before(clients[next]) {
					next = i
				}
			}
			if d := clients[next].Sub(clk.Now()); d > 0 {
				clk.Advance(d)
			}
			n := rapid.Int64Range(0, sustained).Draw(t, "bytes")
			largest = max(largest, n)
			events = append(events, event{clk.Now(), n})
			clients[next] = clk.Now().Add(w.Sent(int(n)))
			clk.Advance(time.Duration(rapid.IntRange(0, 2000).Draw(t, "pause")) * time.Millisecond)
		}
		slack := largest*int64(len(clients)) + most/100 + 1
		for i := range events {
			sum := int64(0)
			for _, e := range events[i:] {
				sum += e.sent
				s := e.at.Sub(events[i].at).Seconds()
				if upper := int64(float64(most)*(s+1)) + slack; sum > upper {
					t.Fatalf("%d bytes in %.3f s, the maximum is %d per second", sum, s, most)
				}
				if upper := int64(float64(sustained)*(s+1)) + (most-sustained)*60 + slack; sum > upper {
					t.Fatalf("%d bytes in %.3f s, %d per second are sustained", sum, s, sustained)
				}
			}
		}
	})
}

func TestAnIdleBrokerGoesAtItsMaximumForAMinute(t *testing.T) {
	w, clk := newWhole(quota.Limits{In: quota.Flow{Sustained: 1000, Max: 1500}})
	for i := range 60 {
		if wait := w.Sent(1500); wait != 0 {
			t.Fatalf("second %d: waits %v", i, wait)
		}
		clk.Advance(second)
	}
	sum := time.Duration(0)
	for range 10 {
		sum += w.Sent(1500)
		clk.Advance(second)
	}
	if sum == 0 {
		t.Error("it goes on at its maximum for ever")
	}
	// An hour later all is as at first.
	clk.Advance(time.Hour)
	if wait := w.Sent(1500); wait != 0 {
		t.Errorf("after a rest it waits %v", wait)
	}
}

func TestMaximumHoldsAtOnce(t *testing.T) {
	w, clk := newWhole(quota.Limits{In: quota.Flow{Sustained: 1000, Max: 2000}})
	if wait := w.Sent(2000); wait != 0 {
		t.Fatalf("a second's worth waits %v", wait)
	}
	if wait := w.Sent(2000); wait != second {
		t.Errorf("twice as much waits %v, want 1s", wait)
	}
	clk.Advance(second)
	if wait := w.Sent(0); wait != 0 {
		t.Errorf("after the wait it waits %v", wait)
	}
}

func TestAnswersAreWithheldWhileTheLimitIsExceeded(t *testing.T) {
	w, clk := newWhole(quota.Limits{Out: quota.Flow{Sustained: 1000, Max: 1000}})
	if wait, withheld := w.Offer(5000); withheld || wait != 4*second {
		t.Fatalf("the first, whatever its size: wait %v, withheld %t", wait, withheld)
	}
	for range 3 {
		if wait, withheld := w.Offer(1); !withheld || wait != 4*second {
			t.Fatalf("one more: wait %v, withheld %t", wait, withheld)
		}
	}
	clk.Advance(4 * second)
	if wait, withheld := w.Offer(1); withheld || wait == 0 {
		t.Errorf("after the wait: wait %v, withheld %t", wait, withheld)
	}
	w.Withdraw(1)
	if got := w.Traffic().Out; got != 5000 {
		t.Errorf("%d bytes were fetched", got)
	}
	if w.Most() != 1000 {
		t.Errorf("at most %d in an answer", w.Most())
	}
}

func TestConnectionsAndTheirRate(t *testing.T) {
	w, clk := newWhole(quota.Limits{Connections: 15, ConnectionRate: 10})
	for i := range 10 {
		if wait, ok := w.Open(); wait != 0 || !ok {
			t.Fatalf("connection %d: wait %v, %t", i, wait, ok)
		}
	}
	if wait, ok := w.Open(); wait != 100*time.Millisecond || !ok {
		t.Errorf("one too early: wait %v, %t", wait, ok)
	}
	clk.Advance(second)
	for range 4 {
		w.Open()
	}
	if _, ok := w.Open(); ok {
		t.Error("one too many")
	}
	if got := w.Traffic().Connections; got != 15 || w.Refused() != 1 {
		t.Errorf("%d connections, %d refused", got, w.Refused())
	}
	w.Closed()
	if _, ok := w.Open(); !ok {
		t.Error("no room after one has gone")
	}
}

func TestRequestsPerSecond(t *testing.T) {
	w, clk := newWhole(quota.Limits{Requests: 100})
	for range 100 {
		if wait := w.Asked(); wait != 0 {
			t.Fatalf("waits %v", wait)
		}
	}
	if wait := w.Asked(); wait != 10*time.Millisecond {
		t.Errorf("one too many waits %v, want 10ms", wait)
	}
	clk.Advance(second)
	if wait := w.Asked(); wait != 0 {
		t.Errorf("a second later it waits %v", wait)
	}
}

func TestChangesOfTopics(t *testing.T) {
	w, clk := newWhole(quota.Limits{TopicChanges: 2, PartitionChanges: 250, Period: 5 * time.Minute})
	if _, ok := w.Change(251, true); !ok {
		t.Fatal("the first is refused")
	}
	if wait, ok := w.Change(1, true); ok || wait != 1200*time.Millisecond {
		t.Fatalf("too many partitions: wait %v, %t", wait, ok)
	}
	clk.Advance(5 * time.Minute)
	for i := range 10 {
		if _, ok := w.Change(1, true); !ok {
			t.Fatalf("topic %d is refused", i)
		}
	}
	w.Unchange(1)
	if _, ok := w.Change(1, true); !ok {
		t.Fatal("what was taken back counts")
	}
	if wait, ok := w.Change(1, false); !ok || wait != 500*time.Millisecond {
		t.Errorf("a permissive one: wait %v, %t", wait, ok)
	}
	if _, ok := w.Change(1, true); ok {
		t.Error("a strict one after it")
	}
}

// still is a clock that stands still, and makes nobody wait for another.
type still time.Time

func (s still) Now() time.Time { return time.Time(s) }

// What many goroutines take at once is all counted.
func TestNothingTakenAtOnceIsLost(t *testing.T) {
	w := quota.NewWhole(quota.Limits{In: quota.Flow{Sustained: 1000, Max: 1000}}, still(time.Unix(1_700_000_000, 0)))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100_000 {
				w.Sent(1)
			}
		})
	}
	all.Wait()
	if wait := w.Sent(0); wait != 799*second {
		t.Errorf("800,000 bytes at 1,000 a second: the next waits %v, want 799s", wait)
	}
}

func BenchmarkSent(b *testing.B) {
	w := quota.NewWhole(quota.Limits{In: quota.Flow{Sustained: 1 << 40, Max: 1 << 40}}, clock.System{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.Sent(1)
		}
	})
}
