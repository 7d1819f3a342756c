// Package kvtest is the suite that every kv.KV passes.
package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/base/kv"
)

// patience is how long a test waits for what must come; leases of one second end within it.
const patience = 15 * time.Second

// Store is a KV under test with what the contract does not offer.
type Store struct {
	kv.KV
	// Compact makes the store forget the changes up to rev.
	Compact func(ctx context.Context, rev int64) error
	// Expire ends a lease on the store's side, unseen by its holder.
	Expire func(ctx context.Context, lease kv.LeaseID) error
}

// Run runs the suite; open returns a new, empty store for each test and closes it at the test's end.
func Run(t *testing.T, open func(t *testing.T) Store) {
	tests := []struct {
		name string
		test func(ctx context.Context, t *testing.T, s Store)
	}{
		{"put, get, delete", testBasics},
		{"conditions", testConditions},
		{"malformed transactions", testMalformed},
		{"largest transaction", testLargest},
		{"list", testList},
		{"list is one revision", testListDuringWrites},
		{"create race", testCreateRace},
		{"counter race", testCounterRace},
		{"watch", testWatch},
		{"watch from the past", testWatchPast},
		{"watch resync", testWatchResync},
		{"watch order", testWatchOrder},
		{"follow", testFollow},
		{"lease keeps and revokes", testLease},
		{"lease lost", testLeaseLost},
		{"lease left behind", testLeaseLeftBehind},
		{"ended context", testEndedContext},
		{"close", testClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tt.test(ctx, t, open(t))
		})
	}
}

func testBasics(ctx context.Context, t *testing.T, s Store) {
	_, err := s.Get(ctx, "a")
	is(t, err, kv.ErrNotFound)
	first := put(ctx, t, s, "a", "1")
	second := put(ctx, t, s, "a", "22")
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	item, err := s.Get(ctx, "a")
	check(t, err)
	equal(t, describe(item), "a=22")
	equal(t, item.CreateRev, first)
	equal(t, item.ModRev, second)
	_, err = s.Txn(ctx, nil, []kv.Op{kv.Delete("a"), kv.Delete("never there")})
	check(t, err)
	_, err = s.Get(ctx, "a")
	is(t, err, kv.ErrNotFound)
	put(ctx, t, s, "p/1", "x")
	put(ctx, t, s, "p/2", "x")
	put(ctx, t, s, "q", "x")
	_, err = s.Txn(ctx, nil, []kv.Op{kv.DeletePrefix("p/"), kv.Put("r", nil)})
	check(t, err)
	equal(t, keys(ctx, t, s, ""), "q=x r=")
}

func testConditions(ctx context.Context, t *testing.T, s Store) {
	rev := put(ctx, t, s, "a", "1")
	tests := []struct {
		cond kv.Cond
		want bool
	}{
		{kv.KeyExists("a"), true},
		{kv.KeyExists("b"), false},
		{kv.KeyMissing("a"), false},
		{kv.KeyMissing("b"), true},
		{kv.ModRevEquals("a", rev), true},
		{kv.ModRevEquals("a", rev-1), false},
		{kv.ModRevEquals("b", rev), false},
		{kv.ModRevEquals("b", 0), true},
		{kv.ModRevEquals("a", 0), false},
	}
	for _, tt := range tests {
		_, err := s.Txn(ctx, []kv.Cond{kv.KeyExists("a"), tt.cond}, []kv.Op{kv.Put("c", nil)})
		if tt.want {
			check(t, err)
		} else if !errors.Is(err, kv.ErrConflict) {
			t.Errorf("%+v: %v", tt.cond, err)
		}
	}
	_, err := s.Txn(ctx, []kv.Cond{kv.KeyExists("b")}, []kv.Op{kv.Put("d", nil)})
	is(t, err, kv.ErrConflict)
	_, err = s.Get(ctx, "d")
	is(t, err, kv.ErrNotFound)
}

func testMalformed(ctx context.Context, t *testing.T, s Store) {
	big := make([]byte, kv.MaxBytes)
	var many []kv.Op
	for i := range kv.MaxOps + 1 {
		many = append(many, kv.Put(fmt.Sprint(i), nil))
	}
	tests := []struct {
		name string
		ops  []kv.Op
		want error
	}{
		{"no operation", nil, kv.ErrBadTxn},
		{"empty key", []kv.Op{kv.Put("", nil)}, kv.ErrBadTxn},
		{"empty prefix", []kv.Op{kv.DeletePrefix("")}, kv.ErrBadTxn},
		{"key put twice", []kv.Op{kv.Put("a", nil), kv.Put("a", nil)}, kv.ErrBadTxn},
		{"put and deleted", []kv.Op{kv.Put("a", nil), kv.Delete("a")}, kv.ErrBadTxn},
		{"put and prefix deleted", []kv.Op{kv.DeletePrefix("a"), kv.Put("ab", nil)}, kv.ErrBadTxn},
		{"too many operations", many, kv.ErrTooLarge},
		{"too many bytes", []kv.Op{kv.Put("a", big)}, kv.ErrTooLarge},
		{"long key", []kv.Op{kv.Put(strings.Repeat("k", kv.MaxKeyBytes+1), nil)}, kv.ErrTooLarge},
		{"no such lease", []kv.Op{kv.Put("b", nil), kv.PutLeased("a", nil, 12345)}, kv.ErrLeaseLost},
	}
	for _, tt := range tests {
		if _, err := s.Txn(ctx, nil, tt.ops); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	equal(t, keys(ctx, t, s, ""), "")
}

func testLargest(ctx context.Context, t *testing.T, s Store) {
	var conds []kv.Cond
	var ops []kv.Op
	for i := range kv.MaxOps {
		key := fmt.Sprintf("%03d", i)
		conds = append(conds, kv.KeyMissing(key))
		ops = append(ops, kv.Put(key, make([]byte, (kv.MaxBytes-2*3*kv.MaxOps)/kv.MaxOps)))
	}
	_, err := s.Txn(ctx, conds, ops)
	check(t, err)
	items, _, err := s.List(ctx, "")
	check(t, err)
	equal(t, len(items), kv.MaxOps)
}

func testList(ctx context.Context, t *testing.T, s Store) {
	for _, key := range []string{"b", "a/2", "a/10", "a", "a/", "a0", "\xff\xff", "\xff"} {
		put(ctx, t, s, key, "")
	}
	equal(t, keys(ctx, t, s, "a/"), "a/= a/10= a/2=")
	equal(t, keys(ctx, t, s, ""), "a= a/= a/10= a/2= a0= b= \xff= \xff\xff=")
	equal(t, keys(ctx, t, s, "\xff"), "\xff= \xff\xff=")
	equal(t, keys(ctx, t, s, "none"), "")
}

// testListDuringWrites keeps two keys, far apart in a listing of many pages, equal in every revision, and
// checks that no list sees them differ.
func testListDuringWrites(ctx context.Context, t *testing.T, s Store) {
	fill(ctx, t, s, 2500)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			value := []byte(fmt.Sprint(i))
			if _, err := s.Txn(ctx, nil, []kv.Op{kv.Put("a", value), kv.Put("z", value)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer wg.Wait()
	defer stop.Store(true)
	for range 10 {
		items, rev, err := s.List(ctx, "")
		check(t, err)
		first, last := items[0], items[len(items)-1]
		if first.Key == "a" && string(first.Value) != string(last.Value) {
			t.Fatalf("a is %s and z is %s", first.Value, last.Value)
		}
		for _, item := range items {
			if item.ModRev > rev {
				t.Fatalf("an item of revision %d in a list of revision %d", item.ModRev, rev)
			}
		}
	}
}

func testCreateRace(ctx context.Context, t *testing.T, s Store) {
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_, err := s.Txn(ctx, []kv.Cond{kv.KeyMissing("a")}, []kv.Op{kv.Put("a", []byte(fmt.Sprint(i)))})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, kv.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	equal(t, won.Load(), 1)
}

func testCounterRace(ctx context.Context, t *testing.T, s Store) {
	const writers, each = 8, 20
	put(ctx, t, s, "n", "0")
	increment := func() error {
		for {
			item, err := s.Get(ctx, "n")
			if err != nil {
				return err
			}
			var n int
			if _, err := fmt.Sscan(string(item.Value), &n); err != nil {
				return err
			}
			_, err = s.Txn(ctx, []kv.Cond{kv.ModRevEquals("n", item.ModRev)}, []kv.Op{kv.Put("n", []byte(fmt.Sprint(n+1)))})
			if !errors.Is(err, kv.ErrConflict) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := increment(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	equal(t, keys(ctx, t, s, ""), fmt.Sprintf("n=%d", writers*each))
}

func testWatch(ctx context.Context, t *testing.T, s Store) {
	rev := put(ctx, t, s, "a/0", "before")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := s.Watch(ctx, "a/", rev+1)
	put(ctx, t, s, "b", "not watched")
	created := put(ctx, t, s, "a/1", "x")
	_, err := s.Txn(ctx, nil, []kv.Op{kv.Put("a/2", []byte("y")), kv.Put("c", nil), kv.Delete("a/1")})
	check(t, err)
	e := next(ctx, t, events)
	equal(t, show(e), "put a/1=x")
	equal(t, e.Item.ModRev, created)
	both := map[string]bool{}
	for range 2 {
		e := next(ctx, t, events)
		both[show(e)] = true
		equal(t, e.Item.ModRev, created+1)
	}
	equal(t, both["put a/2=y"] && both["delete a/1="], true)
	cancel()
	if e, open := <-events; open {
		t.Errorf("%s after the context's end", show(e))
	}
}

func testWatchPast(ctx context.Context, t *testing.T, s Store) {
	first := put(ctx, t, s, "a", "0")
	for i := range 5 {
		put(ctx, t, s, "a", fmt.Sprint(i+1))
	}
	events := s.Watch(ctx, "", first+2)
	for i := range 4 {
		equal(t, show(next(ctx, t, events)), fmt.Sprintf("put a=%d", i+2))
	}
	put(ctx, t, s, "b", "new")
	equal(t, show(next(ctx, t, events)), "put b=new")
}

func testWatchResync(ctx context.Context, t *testing.T, s Store) {
	first := put(ctx, t, s, "a", "1")
	last := put(ctx, t, s, "a", "2")
	check(t, s.Compact(ctx, last))
	events := s.Watch(ctx, "a", first)
	equal(t, next(ctx, t, events).Type, kv.EventResync)
	if e, open := <-events; open {
		t.Errorf("%s after the resync", show(e))
	}
	equal(t, keys(ctx, t, s, "a"), "a=2")
	put(ctx, t, s, "a", "3")
	equal(t, show(next(ctx, t, s.Watch(ctx, "a", last+1))), "put a=3")
}

// testWatchOrder checks K3 with several writers: what a watcher builds from the events is what every list
// says, revision by revision.
func testWatchOrder(ctx context.Context, t *testing.T, s Store) {
	const writers, each = 4, 50
	start := put(ctx, t, s, "w/start", "")
	events := s.Watch(ctx, "w/", start+1)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("w/%d", (w+i)%3)
				if _, err := s.Txn(ctx, nil, []kv.Op{kv.Put(key, []byte(fmt.Sprintf("%d.%d", w, i)))}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	rev := start
	seen := make(map[string]bool)
	view := map[string]string{"w/start": ""}
	for range writers * each {
		e := next(ctx, t, events)
		if e.Item.ModRev != rev+1 {
			t.Fatalf("revision %d after %d", e.Item.ModRev, rev)
		}
		rev = e.Item.ModRev
		if seen[string(e.Item.Value)] {
			t.Fatalf("%s twice", e.Item.Value)
		}
		seen[string(e.Item.Value)] = true
		view[e.Item.Key] = string(e.Item.Value)
	}
	wg.Wait()
	items, _, err := s.List(ctx, "w/")
	check(t, err)
	equal(t, len(items), len(view))
	for _, item := range items {
		equal(t, view[item.Key], string(item.Value))
	}
}

func testFollow(ctx context.Context, t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	put(ctx, t, s, "f/1", "a")
	steps := make(chan string, 100)
	var ended error
	var wg sync.WaitGroup
	wg.Go(func() {
		ended = kv.Follow(ctx, s, "f/", func(items []kv.Item, _ int64) error {
			for _, item := range items {
				steps <- "list " + describe(item)
			}
			return nil
		}, func(e kv.Event) error {
			steps <- show(e)
			return nil
		})
	})
	equal(t, <-steps, "list f/1=a")
	put(ctx, t, s, "f/2", "b")
	equal(t, <-steps, "put f/2=b")
	cancel()
	wg.Wait()
	is(t, ended, context.Canceled)

	stop := errors.New("stop")
	err := kv.Follow(context.WithoutCancel(ctx), s, "f/", func([]kv.Item, int64) error { return stop }, nil)
	is(t, err, stop)
}

func testLease(ctx context.Context, t *testing.T, s Store) {
	before := time.Now()
	lease, err := s.Grant(ctx, 300*time.Millisecond)
	check(t, err)
	if d := lease.Deadline().Sub(before); d < 900*time.Millisecond {
		t.Errorf("the TTL was not rounded up to a second: the deadline is after %v", d)
	}
	rev := put(ctx, t, s, "stays", "")
	_, err = s.Txn(ctx, nil, []kv.Op{kv.PutLeased("goes", nil, lease.ID())})
	check(t, err)
	item, err := s.Get(ctx, "goes")
	check(t, err)
	equal(t, item.Lease, lease.ID())

	// It lives on past its first deadline, which moves.
	first := lease.Deadline()
	after(ctx, t, time.Until(first)+500*time.Millisecond)
	if !lease.Deadline().After(first) {
		t.Error("the deadline does not move")
	}
	_, err = s.Get(ctx, "goes")
	check(t, err)

	events := s.Watch(ctx, "", rev+2)
	check(t, lease.Close(ctx))
	<-lease.Done()
	equal(t, show(next(ctx, t, events)), "delete goes=")
	equal(t, keys(ctx, t, s, ""), "stays=")
	check(t, lease.Close(ctx))
	_, err = s.Txn(ctx, nil, []kv.Op{kv.PutLeased("goes", nil, lease.ID())})
	is(t, err, kv.ErrLeaseLost)
}

func testLeaseLost(ctx context.Context, t *testing.T, s Store) {
	lease, err := s.Grant(ctx, time.Second)
	check(t, err)
	_, err = s.Txn(ctx, nil, []kv.Op{kv.PutLeased("a", nil, lease.ID()), kv.PutLeased("freed", nil, lease.ID())})
	check(t, err)
	put(ctx, t, s, "freed", "belongs to no lease now")
	check(t, s.Expire(ctx, lease.ID()))
	equal(t, keys(ctx, t, s, ""), "freed=belongs to no lease now")
	select {
	case <-lease.Done():
	case <-ctx.Done():
		t.Fatal("the holder of a lost lease was not told")
	}
	check(t, lease.Close(ctx))
}

// testLeaseLeftBehind checks that the keys of a holder that is gone go too.
func testLeaseLeftBehind(ctx context.Context, t *testing.T, s Store) {
	lease, err := s.Grant(ctx, time.Second)
	check(t, err)
	rev, err := s.Txn(ctx, nil, []kv.Op{kv.PutLeased("a", nil, lease.ID())})
	check(t, err)
	events := s.Watch(ctx, "a", rev+1)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := lease.Close(ended); err == nil {
		t.Log("the lease was revoked in spite of the ended context")
	}
	equal(t, show(next(ctx, t, events)), "delete a=")
}

func testEndedContext(ctx context.Context, t *testing.T, s Store) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := s.Get(ended, "a")
	is(t, err, context.Canceled)
	_, _, err = s.List(ended, "a")
	is(t, err, context.Canceled)
	_, err = s.Txn(ended, nil, []kv.Op{kv.Put("a", nil)})
	is(t, err, context.Canceled)
	if e, open := <-s.Watch(ended, "a", 0); open {
		t.Errorf("%s from a watch with an ended context", show(e))
	}
}

func testClose(ctx context.Context, t *testing.T, s Store) {
	lease, err := s.Grant(ctx, time.Minute)
	check(t, err)
	events := s.Watch(ctx, "a", 0)
	check(t, s.Close())
	for e := range events {
		t.Errorf("%s from a closed store", show(e))
	}
	select {
	case <-lease.Done():
	case <-ctx.Done():
		t.Error("the lease goes on in a closed store")
	}
	_, err = s.Get(ctx, "a")
	is(t, err, kv.ErrClosed)
	_, err = s.Txn(ctx, nil, []kv.Op{kv.Put("a", nil)})
	is(t, err, kv.ErrClosed)
	_, err = s.Grant(ctx, time.Second)
	is(t, err, kv.ErrClosed)
	if _, open := <-s.Watch(ctx, "a", 0); open {
		t.Error("an event from a closed store")
	}
	check(t, s.Close())
}

func put(ctx context.Context, t *testing.T, s Store, key, value string) int64 {
	t.Helper()
	rev, err := s.Txn(ctx, nil, []kv.Op{kv.Put(key, []byte(value))})
	check(t, err)
	return rev
}

// fill puts n keys between "b" and "z".
func fill(ctx context.Context, t *testing.T, s Store, n int) {
	t.Helper()
	for i := 0; i < n; {
		var ops []kv.Op
		for ; len(ops) < kv.MaxOps && i < n; i++ {
			ops = append(ops, kv.Put(fmt.Sprintf("k%06d", i), nil))
		}
		_, err := s.Txn(ctx, nil, ops)
		check(t, err)
	}
}

func keys(ctx context.Context, t *testing.T, s Store, prefix string) string {
	t.Helper()
	items, _, err := s.List(ctx, prefix)
	check(t, err)
	var all []string
	for _, item := range items {
		all = append(all, describe(item))
	}
	return strings.Join(all, " ")
}

func next(ctx context.Context, t *testing.T, events <-chan kv.Event) kv.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatal("the watch has ended")
		}
		return e
	case <-ctx.Done():
		t.Fatal("no event came")
	}
	return kv.Event{}
}

func after(ctx context.Context, t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
}

func describe(item kv.Item) string { return fmt.Sprintf("%s=%s", item.Key, item.Value) }

func show(e kv.Event) string { return fmt.Sprintf("%s %s", e.Type, describe(e.Item)) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
