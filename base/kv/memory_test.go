package kv_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/kv/kvtest"
)

func TestMemory(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Store {
		m := kv.NewMemory()
		t.Cleanup(func() { closeStore(t, m) })
		return kvtest.Store{
			KV:      m,
			Compact: func(_ context.Context, rev int64) error { m.Compact(rev); return nil },
			Expire:  func(_ context.Context, id kv.LeaseID) error { m.ExpireLease(id); return nil },
		}
	})
}

// TestLeaseDeadline cuts a holder off from the store and checks that it knows of its lease's end no later
// than the store may end it (K5).
func TestLeaseDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := kv.NewMemory()
		defer closeStore(t, m)
		lease, err := m.Grant(t.Context(), 9*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := m.Txn(t.Context(), nil, []kv.Op{kv.PutLeased("a", nil, lease.ID())})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		<-time.After(10 * time.Second) // three keep-alives went well, the last at 9 s
		m.SetAway(true)
		deadline := lease.Deadline()
		if want := begin.Add(18 * time.Second); !deadline.Equal(want) {
			t.Errorf("the deadline is after %v, want 18s", deadline.Sub(begin))
		}
		<-lease.Done()
		if now := time.Now(); !now.Equal(deadline) {
			t.Errorf("told %v after the deadline", now.Sub(deadline))
		}
		e := <-m.Watch(t.Context(), "a", rev+1)
		if e.Type != kv.EventDelete || time.Now().Before(deadline) {
			t.Errorf("%v of the key %v before the deadline", e.Type, time.Until(deadline))
		}
		m.SetAway(false)
		if err := lease.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if lease.Deadline() != deadline {
			t.Error("the deadline moved after the end")
		}
	})
}

// refusing is a LeaseStore that grants and then fails every keep-alive at once.
type refusing struct{}

func (refusing) Grant(_ context.Context, ttl time.Duration) (kv.LeaseID, time.Duration, error) {
	return 1, ttl, nil
}
func (refusing) KeepAlive(context.Context, kv.LeaseID) (time.Duration, error) {
	return 0, errors.New("no connection")
}
func (refusing) Revoke(context.Context, kv.LeaseID) error { return kv.ErrLeaseLost }

func TestLeaseEndsAtDeadlineBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := kv.NewLeases(refusing{}, clock.System{})
		defer leases.Close()
		lease, err := leases.Grant(t.Context(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		<-lease.Done()
		if late := time.Since(lease.Deadline()); late != 0 {
			t.Errorf("told %v after the deadline", late)
		}
	})
}

// TestDeadlineCountsFromSending lets the answer to a keep-alive come late.
func TestDeadlineCountsFromSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := kv.NewMemory()
		defer closeStore(t, m)
		begin := time.Now()
		lease, err := m.Grant(t.Context(), 9*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		m.SetAway(true)
		<-time.After(2 * time.Second) // a keep-alive was sent after 3 s
		m.SetAway(false)
		synctest.Wait()
		if got := lease.Deadline().Sub(begin); got != 12*time.Second {
			t.Errorf("the deadline is after %v, want 12s", got)
		}
	})
}

// TestLeaseSurvivesShortOutage checks that one lost keep-alive does not cost the lease.
func TestLeaseSurvivesShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := kv.NewMemory()
		defer closeStore(t, m)
		lease, err := m.Grant(t.Context(), 9*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			m.SetAway(true)
			<-time.After(4 * time.Second)
			m.SetAway(false)
			<-time.After(4 * time.Second)
		}
		select {
		case <-lease.Done():
			t.Error("the lease was lost")
		default:
		}
	})
}

// TestSlowWatcherGetsResync checks that a watcher that lags too far behind is told so.
func TestSlowWatcherGetsResync(t *testing.T) {
	m := kv.NewMemory()
	defer closeStore(t, m)
	events := m.Watch(t.Context(), "", 1)
	for range 1 << 17 {
		if _, err := m.Txn(t.Context(), nil, []kv.Op{kv.Put("a", nil)}); err != nil {
			t.Fatal(err)
		}
	}
	last := int64(0)
	for e := range events {
		if e.Type == kv.EventResync {
			return
		}
		if last != 0 && e.Item.ModRev != last+1 {
			t.Fatalf("a gap from %d to %d", last, e.Item.ModRev)
		}
		last = e.Item.ModRev
	}
	t.Error("no resync")
}

func TestGrantNeedsTTL(t *testing.T) {
	m := kv.NewMemory()
	defer closeStore(t, m)
	if _, err := m.Grant(t.Context(), 0); !errors.Is(err, kv.ErrBadTxn) {
		t.Errorf("got %v", err)
	}
}

func closeStore(t *testing.T, s kv.KV) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
