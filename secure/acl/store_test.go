package acl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/base/kv"
	"millrace/kafka/kerr"
)

const prefix = "clusters/c/acls/"

func openStore(t testing.TB, store kv.KV) *Store {
	t.Helper()
	s, err := Open(t.Context(), store, prefix)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func allow(user, topic string) Binding {
	return Binding{kmsg.ACLResourceTypeTopic, topic, kmsg.ACLResourcePatternTypeLiteral, "User:" + user, Wildcard, kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow}
}

func mustCreate(t testing.TB, s *Store, list ...Binding) {
	t.Helper()
	errs, err := s.Create(t.Context(), list)
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
}

// L4, L5: what was created is in force when Create returns, once, and stays over a restart; others hear of it.
func TestCreateAndDelete(t *testing.T) {
	store := kv.NewMemory()
	s, other := openStore(t, store), openStore(t, store)
	var list []Binding
	for i := range 300 { // three transactions
		list = append(list, allow("alice", fmt.Sprintf("t-%03d", i)))
	}
	mustCreate(t, s, append(list, list[0])...)
	mustCreate(t, other, list[7])
	if got := s.Snapshot().Len(); got != len(list) {
		t.Fatalf("%d bindings, want %d", got, len(list))
	}
	if got := openStore(t, store).Snapshot().Find(Any()); !slices.Equal(got, list) {
		t.Fatalf("after a restart %v", got)
	}
	// The other store may not have heard of all yet; its Delete takes all the same.
	f, g := Any(), Any()
	name := "t-001"
	g.Name = &name
	bad := Any()
	bad.Operation = 99
	deleted, err := other.Delete(t.Context(), []Filter{f, g, bad})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(deleted[0].Bindings, list) || !slices.Equal(deleted[1].Bindings, list[1:2]) || kerr.Of(deleted[2].Err) != kerr.InvalidRequest {
		t.Errorf("%d, %v, %v", len(deleted[0].Bindings), deleted[1], deleted[2])
	}
	items, _, err := store.List(t.Context(), prefix)
	if err != nil || len(items) != 1 || other.Snapshot().Len() != 0 {
		t.Errorf("left %d keys, %v, %d bindings", len(items), err, other.Snapshot().Len())
	}
}

// L4: changes by several brokers at once end as if they had come one after the other: all brokers have the same list, and it is
// what etcd has.
func TestChangesAtOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := kv.NewMemory()
		ctx, cancel := context.WithCancel(context.Background())
		var stores []*Store
		var running sync.WaitGroup
		for range 3 {
			s, err := Open(ctx, store, prefix)
			if err != nil {
				rt.Fatal(err)
			}
			running.Go(func() { _ = s.Run(ctx) })
			stores = append(stores, s)
		}
		defer running.Wait()
		defer cancel()
		type step struct {
			create []Binding
			remove *Filter
		}
		var created, gone sync.Map // bindings; gone only of those that a Delete told
		var working sync.WaitGroup
		for _, s := range stores {
			var steps []step
			for range rapid.IntRange(1, 4).Draw(rt, "steps") {
				if rapid.Bool().Draw(rt, "create") {
					steps = append(steps, step{create: rapid.SliceOfN(rapid.Custom(drawBinding), 1, 4).Draw(rt, "list")})
				} else {
					f := Any()
					name := rapid.SampledFrom(someNames).Draw(rt, "name")
					f.Name = &name
					steps = append(steps, step{remove: &f})
				}
			}
			working.Go(func() {
				for _, st := range steps {
					if st.remove == nil {
						if errs, err := s.Create(ctx, st.create); err != nil || errors.Join(errs...) != nil {
							rt.Errorf("create: %v %v", errs, err)
						}
						for _, b := range st.create {
							created.Store(b, true)
						}
						continue
					}
					out, err := s.Delete(ctx, []Filter{*st.remove})
					if err != nil {
						rt.Errorf("delete: %v", err)
						continue
					}
					for _, b := range out[0].Bindings {
						gone.Store(b, true)
					}
				}
			})
		}
		working.Wait()
		items, _, err := store.List(ctx, prefix)
		if err != nil {
			rt.Fatal(err)
		}
		var want []Binding
		var last int64
		for _, item := range items {
			if item.Key == prefix+turnKey {
				last = item.ModRev
				continue
			}
			b, err := decode(item.Value)
			if err != nil {
				rt.Fatal(err)
			}
			want = append(want, b)
			if _, ok := created.Load(b); !ok {
				rt.Errorf("nobody created %v", b)
			}
		}
		created.Range(func(b, _ any) bool {
			if _, told := gone.Load(b); !told && !slices.Contains(want, b.(Binding)) {
				rt.Errorf("%v is lost: no Delete told of it", b)
			}
			return true
		})
		slices.SortFunc(want, Compare)
		for _, s := range stores {
			now, err := s.await(ctx, last)
			if err != nil {
				rt.Fatal(err)
			}
			if got := now.Find(Any()); !slices.Equal(got, want) {
				rt.Errorf("%v, want %v", got, want)
			}
		}
	})
}

// L5: what is not understood is not passed over.
func TestNotUnderstood(t *testing.T) {
	good := encode(allow("alice", "t"))
	for text, key := range map[string]string{
		strings.Replace(string(good), `"format":1`, `"format":2`, 1): name(allow("alice", "t")),
		strings.Replace(string(good), "ALLOW", "MAYBE", 1):           name(allow("alice", "t")),
		strings.Replace(string(good), `"name":"t"`, `"name":""`, 1):  name(allow("alice", "t")),
		string(good): name(allow("bob", "t")),
		"{":          "x",
	} {
		store := kv.NewMemory()
		s, err := Open(t.Context(), store, prefix)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Put(prefix+key, []byte(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), store, prefix); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: Open %v", text, err)
			continue // Run would not end
		}
		if err := s.Run(t.Context()); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: Run %v", text, err)
		}
	}
}

// L6: bounds of a change, of a binding and of the list.
func TestBounds(t *testing.T) {
	s := openStore(t, kv.NewMemory())
	many := make([]Binding, MaxAtOnce+1)
	for i := range many {
		many[i] = allow("alice", fmt.Sprint(i))
	}
	errs, err := s.Create(t.Context(), many)
	if err != nil || kerr.Of(errs[0]) != kerr.PolicyViolation || s.Snapshot().Len() != 0 {
		t.Fatalf("%v, %v, %d", errs[0], err, s.Snapshot().Len())
	}
	long := strings.Repeat("n", textMost)
	for _, tc := range []struct {
		change func(*Binding)
		ok     bool
	}{
		{func(b *Binding) { b.Name = long }, true},
		{func(b *Binding) { b.Name = long + "n" }, false},
		{func(b *Binding) { b.Name = "" }, false},
		{func(b *Binding) { b.Principal = "alice" }, false},
		{func(b *Binding) { b.Resource = kmsg.ACLResourceTypeAny }, false},
		{func(b *Binding) { b.Resource = 8 }, false},
		{func(b *Binding) { b.Resource = -1 }, false},
		{func(b *Binding) { b.Resource = kmsg.ACLResourceTypeCluster }, false},
		{func(b *Binding) { b.Resource, b.Name = kmsg.ACLResourceTypeCluster, ClusterName }, true},
		{func(b *Binding) { b.Resource = kmsg.ACLResourceTypeUser }, true},
		{func(b *Binding) { b.Pattern = kmsg.ACLResourcePatternTypeMatch }, false},
		{func(b *Binding) { b.Operation = kmsg.ACLOperationAny }, false},
		{func(b *Binding) { b.Operation = TwoPhaseCommit }, true},
		{func(b *Binding) { b.Operation = TwoPhaseCommit + 1 }, false},
		{func(b *Binding) { b.Operation = -1 }, false},
		{func(b *Binding) { b.Permission = kmsg.ACLPermissionTypeAny }, false},
	} {
		b := allow("alice", "t")
		tc.change(&b)
		errs, err := s.Create(t.Context(), []Binding{b})
		if err != nil || tc.ok != (errs[0] == nil) || !tc.ok && kerr.Of(errs[0]) != kerr.InvalidRequest {
			t.Errorf("%.200v: %v, %v", b, errs, err)
		}
		if tc.ok != s.Snapshot().Has(b) && b.Operation >= 0 {
			t.Errorf("%.200v: in the list %v", b, !tc.ok)
		}
	}
	s.now.Store(&Snapshot{count: MaxBindings, turn: s.Snapshot().turn, memo: new(memo)})
	if errs, err := s.Create(t.Context(), []Binding{allow("zoe", "t")}); err != nil || kerr.Of(errs[0]) != kerr.PolicyViolation {
		t.Errorf("beyond the most: %v, %v", errs, err)
	}
}

// An etcd that does not take a change says so, and nothing is in force.
func TestUnavailable(t *testing.T) {
	store := kv.NewMemory()
	s := openStore(t, store)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Create(ctx, []Binding{allow("alice", "t")}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("create: %v", err)
	}
	if _, err := s.Delete(ctx, []Filter{Any()}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("delete: %v", err)
	}
	if s.Snapshot().Len() != 0 {
		t.Error("it is in force")
	}
}

// The key that orders changes may be taken away by somebody; the next change goes on.
func TestTurnIsGone(t *testing.T) {
	store := kv.NewMemory()
	s := openStore(t, store)
	mustCreate(t, s, allow("alice", "t"))
	if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Delete(prefix + turnKey)}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, allow("bob", "t"))
	if n := s.Snapshot().Len(); n != 2 {
		t.Errorf("%d bindings", n)
	}
}

// Java writes IPv6 addresses out; both spellings count.
func TestHostSpellings(t *testing.T) {
	for host, from := range map[string]string{
		"0:0:0:0:0:0:0:1": "::1", "::1": "::1", "fe80:0:0:0:1:0:0:2": "fe80::1:0:0:2%eth0", "10.0.0.1": "::ffff:10.0.0.1",
	} {
		b := allow("alice", "t")
		b.Host = host
		snap := NewSnapshot([]Binding{b})
		q := Question{"User:alice", netip.MustParseAddr(from), kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, "t"}
		if v := snap.Decide(q); v != Allowed || !snap.Somewhere(q, false) {
			t.Errorf("%s from %s: %v", host, from, v)
		}
		q.Host = netip.MustParseAddr("10.9.9.9")
		if v := snap.Decide(q); v != Unmet {
			t.Errorf("%s from elsewhere: %v", host, v)
		}
		q.Host = netip.Addr{}
		if v := snap.Decide(q); v != Unmet {
			t.Errorf("%s from nowhere: %v", host, v)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(allow("alice", "t")))
	f.Add([]byte(`{"format":1,"operation":"TWO_PHASE_COMMIT"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := decode(text)
		if err != nil {
			return
		}
		again, err := decode(encode(b))
		if err != nil || again != b || b.Validate() != nil {
			t.Errorf("%v became %v, %v", b, again, err)
		}
	})
}

// L3: the figures of docs/security/acls.md.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		var list []Binding
		for i := range n {
			bind := allow(fmt.Sprint("user-", i%1000), fmt.Sprintf("topic-%06d", i))
			if i%10 == 0 {
				bind.Pattern, bind.Name = kmsg.ACLResourcePatternTypePrefixed, bind.Name[:6+i%6]
			}
			list = append(list, bind)
		}
		s := NewSnapshot(list)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			q := Question{"User:user-7", netip.MustParseAddr("10.1.2.3"), kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, "topic-000007"}
			for b.Loop() {
				if s.Decide(q) != Allowed {
					b.Fatal("refused")
				}
			}
		})
		b.Run(fmt.Sprint(n, "/change"), func(b *testing.B) {
			for b.Loop() {
				s.with([]Binding{allow("new", "new")}, nil)
			}
		})
	}
}

// away is an etcd whose watches bring nothing, or that cannot be listed.
type away struct {
	kv.KV
	deaf, down atomic.Bool
}

func (a *away) Watch(ctx context.Context, prefix string, from int64) <-chan kv.Event {
	if !a.deaf.Load() {
		return a.KV.Watch(ctx, prefix, from)
	}
	silent := make(chan kv.Event)
	go func() {
		<-ctx.Done()
		close(silent)
	}()
	return silent
}

func (a *away) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	if a.down.Load() {
		return nil, 0, errors.New("down")
	}
	return a.KV.List(ctx, prefix)
}

// A watch that brings nothing is noticed, and an etcd that is away is waited for: what is denied by others comes into force.
func TestWatchThatBringsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		cut := &away{KV: store}
		cut.deaf.Store(true)
		s := openStore(t, cut)
		other := openStore(t, store)
		synctest.Wait() // the first list
		mustCreate(t, other, allow("alice", "t"))
		synctest.Wait()
		if s.Snapshot().Len() != 0 {
			t.Fatal("it is not deaf")
		}
		cut.down.Store(true)
		time.Sleep(4 * checkEvery)
		if s.Snapshot().Len() != 0 {
			t.Fatal("it is not away")
		}
		cut.down.Store(false)
		cut.deaf.Store(false)
		time.Sleep(4 * checkEvery)
		synctest.Wait()
		if s.Snapshot().Len() != 1 {
			t.Error("the change never came")
		}
	})
}

// meddled is an etcd in which something happens before the first Txn.
type meddled struct {
	kv.KV
	once   sync.Once
	before func()
}

func (m *meddled) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	m.once.Do(m.before)
	return m.KV.Txn(ctx, cond, then)
}

// L4: what somebody else has just deleted is not deleted again, and what came meanwhile goes too.
func TestDeleteIsOfOneMoment(t *testing.T) {
	store := kv.NewMemory()
	other := openStore(t, store)
	x, y := allow("alice", "x"), allow("alice", "y")
	mustCreate(t, other, x)
	s := openStore(t, &meddled{KV: store, before: func() {
		if _, err := other.Delete(t.Context(), []Filter{Any()}); err != nil {
			t.Error(err)
		}
		mustCreate(t, other, y)
	}})
	deleted, err := s.Delete(t.Context(), []Filter{Any()})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Binding{y}; !slices.Equal(deleted[0].Bindings, want) || s.Snapshot().Len() != 0 {
		t.Errorf("deleted %v, left %v", deleted[0].Bindings, s.Snapshot().Find(Any()))
	}
}
