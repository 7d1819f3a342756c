package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/express/settings"
	"millrace/kafka/topic"
)

const prefix = "clusters/test/"

// memory is a store that can be told to fail and to end watches.
type memory struct {
	kv.KV
	mem *kv.Memory

	mu      sync.Mutex
	failTxn func(then []kv.Op) error // asked before each Txn
	watches []chan struct{}          // closed to send a resync
	back    chan struct{}            // nil: here; else calls wait until it is closed
	gate    chan struct{}            // nil: events flow; else they wait until it is closed
}

// holdWatches keeps events back until the returned function is called.
func (m *memory) holdWatches() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gate := make(chan struct{})
	m.gate = gate
	return func() { close(gate) }
}

// setAway makes all calls wait, as those to an etcd that cannot be reached.
func (m *memory) setAway(away bool) {
	m.mem.SetAway(away)
	m.mu.Lock()
	defer m.mu.Unlock()
	if away {
		m.back = make(chan struct{})
		return
	}
	close(m.back)
	m.back = nil
}

func (m *memory) reach(ctx context.Context) error {
	m.mu.Lock()
	back := m.back
	m.mu.Unlock()
	if back == nil {
		return nil
	}
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	if err := m.reach(ctx); err != nil {
		return nil, 0, err
	}
	return m.KV.List(ctx, prefix)
}

func (m *memory) Get(ctx context.Context, key string) (kv.Item, error) {
	if err := m.reach(ctx); err != nil {
		return kv.Item{}, err
	}
	return m.KV.Get(ctx, key)
}

func newMemory(t *testing.T) *memory {
	t.Helper()
	m := kv.NewMemory()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return &memory{KV: m, mem: m}
}

func (m *memory) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if err := m.reach(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	fail := m.failTxn
	m.mu.Unlock()
	if fail != nil {
		if err := fail(then); err != nil {
			return 0, err
		}
	}
	return m.KV.Txn(ctx, cond, then)
}

func (m *memory) fail(f func(then []kv.Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failTxn = f
}

// Watch drops what comes after the watch was cut, then sends a resync.
func (m *memory) Watch(ctx context.Context, prefix string, fromRev int64) <-chan kv.Event {
	cut := make(chan struct{})
	m.mu.Lock()
	m.watches = append(m.watches, cut)
	m.mu.Unlock()
	out := make(chan kv.Event)
	ctx, cancel := context.WithCancel(ctx)
	in := m.KV.Watch(ctx, prefix, fromRev)
	go func() {
		defer close(out)
		defer func() {
			cancel()
			for range in {
			}
		}()
		for {
			select {
			case e, ok := <-in:
				if !ok {
					return
				}
				m.mu.Lock()
				gate := m.gate
				m.mu.Unlock()
				if gate != nil {
					select {
					case <-gate:
					case <-ctx.Done():
						return
					}
				}
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			case <-cut:
				out <- kv.Event{Type: kv.EventResync}
				return
			}
		}
	}()
	return out
}

func (m *memory) cutWatches() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.watches {
		close(c)
	}
	m.watches = nil
}

func self(id int32, incarnation uint64) Broker {
	return Broker{ID: id, Incarnation: incarnation, Host: "host" + strconv.Itoa(int(id)), Port: 9092, Rack: "a"}
}

func open(t *testing.T, store kv.KV, b Broker) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), Config{Prefix: prefix, Self: b}, World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs c until the test ends.
func run(t *testing.T, c *Catalog) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// start opens, registers and runs a broker.
func start(t *testing.T, store kv.KV, b Broker) *Catalog {
	t.Helper()
	c := open(t, store, b)
	if err := c.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, c)
	synctest.Wait() // what Run does at first is over: a test's faults begin after it
	return c
}

func create(t *testing.T, c *Catalog, name string, partitions int32) *Topic {
	t.Helper()
	tp, err := c.CreateTopic(t.Context(), NewTopic{Name: name, Partitions: partitions, ReplicationFactor: -1})
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

func names(c *Catalog) string {
	var out []string
	for _, t := range c.Topics() {
		out = append(out, t.Name)
	}
	return strings.Join(out, " ")
}

func TestCreatedTopicIsInTheViewOfEveryBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		tp := create(t, a, "orders", 4)
		if got, ok := a.Topic("orders"); !ok || got != tp || len(tp.Partitions) != 4 || tp.ReplicationFactor != 3 {
			t.Fatalf("%+v", got)
		}
		if tp.Partitions[0].Owner == tp.Partitions[1].Owner {
			t.Errorf("not spread: %+v", tp.Partitions)
		}
		synctest.Wait()
		if got, ok := b.TopicByID(tp.ID); !ok || got.Name != "orders" || !slices.Equal(got.Partitions, tp.Partitions) {
			t.Fatalf("%+v", got)
		}
		if a.ClusterID() != b.ClusterID() || len(a.ClusterID()) != 22 || a.Controller() != 1 || len(b.Brokers()) != 2 {
			t.Errorf("cluster %q, controller %d, brokers %v", a.ClusterID(), a.Controller(), b.Brokers())
		}
		if err := b.DeleteTopic(t.Context(), tp.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, ok := a.Topic("orders"); ok {
			t.Error("deleted and still there")
		}
		if items, _, _ := store.List(t.Context(), prefix+"partitions/"); len(items) > 0 {
			t.Errorf("partitions left: %v", items)
		}
		if err := b.DeleteTopic(t.Context(), tp.ID); !errors.Is(err, ErrUnknownTopic) {
			t.Errorf("second delete: %v", err)
		}
	})
}

func TestRecreatedTopicHasANewID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, newMemory(t), self(1, 1))
		var told []string
		cancel := c.Subscribe(func(old, now *Topic) {
			switch {
			case old == nil:
				told = append(told, "+"+now.ID.String())
			case now == nil:
				told = append(told, "-"+old.ID.String())
			default:
				told = append(told, "="+now.ID.String())
			}
		})
		defer cancel()
		first := create(t, c, "orders", 1)
		if err := c.DeleteTopic(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		second := create(t, c, "orders", 1)
		if first.ID == second.ID {
			t.Error("same id")
		}
		if want := []string{"+" + first.ID.String(), "-" + first.ID.String(), "+" + second.ID.String()}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		if _, ok := c.TopicByID(first.ID); ok {
			t.Error("old id found")
		}
	})
}

// Of many who create the same topic one succeeds, and the others leave nothing.
func TestConcurrentCreators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		brokers := []*Catalog{start(t, store, self(1, 1)), start(t, store, self(2, 1)), start(t, store, self(3, 1))}
		synctest.Wait()
		var wg sync.WaitGroup
		var mu sync.Mutex
		var made []*Topic
		for i := range 12 {
			wg.Go(func() {
				tp, err := brokers[i%3].CreateTopic(t.Context(), NewTopic{Name: "orders", Partitions: 250, ReplicationFactor: 1})
				if err != nil && !errors.Is(err, ErrTopicExists) {
					t.Errorf("creator %d: %v", i, err)
				}
				if err == nil {
					mu.Lock()
					made = append(made, tp)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(made) != 1 {
			t.Fatalf("%d creators succeeded", len(made))
		}
		synctest.Wait()
		items, _, _ := store.List(t.Context(), prefix+"partitions/")
		if len(items) != 250 {
			t.Errorf("%d partition records, want 250", len(items))
		}
		for _, c := range brokers {
			if tp, ok := c.Topic("orders"); !ok || tp.ID != made[0].ID || len(tp.Partitions) != 250 {
				t.Errorf("view of %d: %+v", c.Self().ID, tp)
			}
		}
	})
}

var errCrash = errors.New("crash")

// A crash between the batches of a creation leaves no topic, and its remains are swept, but not before
// nobody can be writing them any more.
func TestCrashBetweenBatchesIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		c := start(t, store, self(1, 1))
		campaign(t, c)
		writes := 0
		store.fail(func([]kv.Op) error {
			if writes++; writes > 2 {
				return errCrash
			}
			return nil
		})
		if _, err := c.CreateTopic(t.Context(), NewTopic{Name: "big", Partitions: 500, ReplicationFactor: 1}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		store.fail(nil)
		synctest.Wait()
		left := func() int {
			items, _, _ := store.List(t.Context(), prefix+"partitions/")
			return len(items)
		}
		if _, ok := c.Topic("big"); ok || left() != 200 {
			t.Fatalf("topic seen: %v, %d records left", ok, left())
		}
		kept := create(t, c, "kept", 3)
		<-time.After(sweepEvery + time.Second) // the first sweep notes it
		if left() != 203 {
			t.Errorf("swept at once: %d left", left())
		}
		<-time.After(sweepAfter + sweepEvery)
		synctest.Wait()
		if left() != 3 {
			t.Errorf("%d records left, want 3", left())
		}
		if tp, ok := c.TopicByID(kept.ID); !ok || tp.Partitions[2].Owner != 1 {
			t.Errorf("%+v", tp)
		}
	})
}

// While a topic's record cannot be read its partitions are not taken for remains.
func TestUnreadableTopicIsNotSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		c := start(t, store, self(1, 1))
		tp := create(t, c, "orders", 2)
		put(t, store, "topics/orders", `{"version":99,"shape":"of the future"}`)
		store.cutWatches()
		fresh := start(t, store, self(0, 1)) // never read it, and is now the one who sweeps
		campaign(t, fresh)
		<-time.After(3 * sweepAfter)
		synctest.Wait()
		if items, _, _ := store.List(t.Context(), prefix+"partitions/"); len(items) != 2 {
			t.Errorf("%d partition records left, want 2", len(items))
		}
		if got, ok := c.Topic("orders"); !ok || got.ID != tp.ID { // C4
			t.Errorf("last readable state was lost: %+v", got)
		}
		if names(fresh) != "" || fresh.Controller() != 0 {
			t.Errorf("topics %q", names(fresh))
		}
	})
}

func put(t *testing.T, store kv.KV, key, value string) {
	t.Helper()
	if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Put(prefix+key, []byte(value))}); err != nil {
		t.Fatal(err)
	}
}

func TestHostileRecordsAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		c := start(t, store, self(1, 1))
		create(t, c, "good", 1)
		id := topic.NewID().String()
		for key, value := range map[string]string{
			"topics/bad":                        "{",
			"topics/..":                         `{"version":1,"id":"` + id + `","partitions":1}`,
			"topics/none":                       `{"version":1,"partitions":1}`,
			"topics/huge":                       `{"version":1,"id":"` + id + `","partitions":2000000000}`,
			"topics/odd":                        `{"version":1,"id":"` + id + `","partitions":2,"configs":{"no.such":"1"}}`,
			"topics/":                           "null",
			"partitions/":                       "",
			"partitions/x/0":                    `{"version":1}`,
			"partitions/" + id + "/999999999":   `{"version":1}`,
			"partitions/" + id + "/-1":          `{"version":1}`,
			"partitions/" + id + "/1":           `[]`,
			"brokers/x":                         `{"version":1}`,
			"brokers/7":                         "\xff",
			"configs/brokers/default":           `{"version":1,"configs":{"log.retention.ms":"-9"}}`,
			"configs/brokers/99999999999999999": "[",
			"stranger":                          "whatever",
		} {
			put(t, store, key, value)
		}
		synctest.Wait()
		check := func(c *Catalog) {
			t.Helper()
			if names(c) != "good odd" || len(c.Brokers()) != 1 {
				t.Errorf("topics %q, brokers %v", names(c), c.Brokers())
			}
			if odd, ok := c.Topic("odd"); !ok || odd.Partitions[1].Owner != -1 || odd.Settings == nil {
				t.Errorf("%+v", odd)
			}
		}
		check(c)
		check(open(t, store, self(2, 1)))
	})
}

func TestNewerClusterIsRefused(t *testing.T) {
	store := newMemory(t)
	put(t, store, "cluster", `{"version":2,"id":"x"}`)
	_, err := Open(t.Context(), Config{Prefix: prefix, Self: self(1, 1)}, World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 2") {
		t.Error(err)
	}
}

// A watch that lost events lists again: the view and the subscribers get the difference, no more.
func TestResyncFindsTheDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		kept, gone, changed := create(t, a, "kept", 1), create(t, a, "gone", 1), create(t, a, "changed", 1)
		synctest.Wait()
		var told []string
		cancel := b.Subscribe(func(old, now *Topic) { told = append(told, describe(old)+">"+describe(now)) })
		defer cancel()
		told = nil

		store.mu.Lock()
		toB := store.watches[1] // b's watch gets nothing more but the resync
		store.watches = store.watches[:1]
		store.mu.Unlock()
		close(toB)
		if err := a.DeleteTopic(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		if err := a.AddPartitions(t.Context(), "changed", 3, nil, false); err != nil {
			t.Fatal(err)
		}
		create(t, a, "new", 2)
		synctest.Wait()
		slices.Sort(told)
		if want := []string{"->new:2", "changed:1>changed:3", "gone:1>-"}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		if got, _ := b.TopicByID(kept.ID); got == nil || names(b) != "changed kept new" {
			t.Errorf("%q", names(b))
		}
		_ = changed
	})
}

func describe(t *Topic) string {
	if t == nil {
		return "-"
	}
	return fmt.Sprintf("%s:%d", t.Name, len(t.Partitions))
}

// A restarted broker serves its partitions in a higher epoch, and only once.
func TestClaimRaisesTheEpochOfItsOwnPartitionsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		create(t, a, "orders", 501)
		synctest.Wait()

		again := open(t, store, self(1, 2))
		for range 2 { // the second has nothing to do
			if err := again.Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for _, c := range []*Catalog{again, b} {
			tp, _ := c.Topic("orders")
			for i, p := range tp.Partitions {
				if want := int32(2 - p.Owner); p.Epoch != want {
					t.Fatalf("partition %d of broker %d has epoch %d, want %d", i, p.Owner, p.Epoch, want)
				}
			}
		}
	})
}

// Two incarnations that claim at once: each epoch is given to one of them only.
func TestClaimsCompareAndSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a := start(t, store, self(1, 1))
		create(t, a, "orders", 90) // one batch; of several each could lose once
		one, two := open(t, store, self(1, 2)), open(t, store, self(1, 3))
		between := false
		store.fail(func([]kv.Op) error { // two claims everything between one's listing and its write
			if between {
				return nil
			}
			between = true
			return two.Claim(t.Context())
		})
		if err := one.Claim(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		tp, _ := a.Topic("orders")
		for i, p := range tp.Partitions {
			if p.Epoch != 2 {
				t.Fatalf("partition %d has epoch %d after two claims", i, p.Epoch)
			}
		}
	})
}

func TestLostLeaseIsTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		if d := time.Until(b.LeaseDeadline()); d <= 0 || d > 6*time.Second {
			t.Errorf("deadline in %s", d)
		}
		b.reg.mu.Lock()
		first := b.reg.lease
		b.reg.mu.Unlock()
		store.mem.ExpireLease(first.ID())
		<-first.Done()
		synctest.Wait()
		if len(a.Brokers()) != 2 || !b.LeaseDeadline().After(time.Now()) || !b.Leads() {
			t.Errorf("brokers %v, deadline %s", a.Brokers(), b.LeaseDeadline())
		}
		if err := b.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(a.Brokers()) != 1 || !b.LeaseDeadline().IsZero() || b.Leads() {
			t.Errorf("brokers %v, deadline %s", a.Brokers(), b.LeaseDeadline())
		}
		<-time.After(time.Minute)
		if len(a.Brokers()) != 1 {
			t.Errorf("registered again after Deregister: %v", a.Brokers())
		}
	})
}

// C5: the elder of two incarnations ends instead of taking its place back.
func TestElderIncarnationIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		old := open(t, store, self(1, 1))
		if err := old.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- old.Run(t.Context()) }()
		synctest.Wait()
		young := start(t, store, self(1, 2))
		if err := <-ended; !errors.Is(err, ErrFenced) {
			t.Errorf("old ended with %v", err)
		}
		if _, err := old.register(t.Context(), false); !errors.Is(err, ErrFenced) {
			t.Errorf("old registered: %v", err)
		}
		if b := young.Brokers(); len(b) != 1 || b[0].Incarnation != 2 {
			t.Errorf("%v", b)
		}
	})
}

// The store being away delays writes and ends nothing.
func TestStoreAwayIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		c := start(t, store, self(1, 1))
		synctest.Wait()
		store.setAway(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.CreateTopic(ctx, NewTopic{Name: "orders", Partitions: 1, ReplicationFactor: 1}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("create while away: %v", err)
		}
		store.cutWatches()
		<-time.After(30 * time.Second)
		if len(c.Topics()) != 0 || c.BrokerSettings() == nil {
			t.Error("reads do not go on")
		}
		store.setAway(false)
		<-time.After(30 * time.Second)
		synctest.Wait()
		if len(c.Brokers()) != 1 {
			t.Errorf("not registered again: %v", c.Brokers())
		}
		create(t, c, "orders", 1)
	})
}

func TestRefusedCreations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		c := start(t, store, self(1, 1))
		create(t, c, "a.b", 1)
		f := func(n NewTopic, want error) {
			t.Helper()
			if _, err := c.CreateTopic(t.Context(), n); !errors.Is(err, want) {
				t.Errorf("%+v: %v, want %v", n, err, want)
			}
		}
		f(NewTopic{Name: "", Partitions: 1, ReplicationFactor: 1}, topic.ErrInvalidName)
		f(NewTopic{Name: "a/b", Partitions: 1, ReplicationFactor: 1}, topic.ErrInvalidName)
		f(NewTopic{Name: "a_b", Partitions: 1, ReplicationFactor: 1}, topic.ErrInvalidName)
		f(NewTopic{Name: "a.b", Partitions: 1, ReplicationFactor: 1}, ErrTopicExists)
		f(NewTopic{Name: "x", Partitions: 0, ReplicationFactor: 1}, ErrInvalidPartitions)
		f(NewTopic{Name: "x", Partitions: settings.MaxPartitions + 1, ReplicationFactor: 1}, ErrInvalidPartitions)
		f(NewTopic{Name: "x", Partitions: 1, ReplicationFactor: 0}, ErrInvalidReplication)
		f(NewTopic{Name: "x", Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"retention.ms": "x"}}, settings.ErrInvalid)
		assigned := func(a map[int32][]int32) NewTopic {
			return NewTopic{Name: "x", Partitions: -1, ReplicationFactor: -1, Assignment: a}
		}
		f(assigned(map[int32][]int32{}), ErrInvalidPartitions)
		f(assigned(map[int32][]int32{1: {1}}), ErrInvalidAssignment)
		f(assigned(map[int32][]int32{0: {}}), ErrInvalidAssignment)
		f(assigned(map[int32][]int32{0: {9}}), ErrUnknownBroker)
		f(assigned(map[int32][]int32{0: {1, 1}}), ErrInvalidAssignment)
		if tp, err := c.CreateTopic(t.Context(), NewTopic{Name: "x", Partitions: -1, ReplicationFactor: 5, ValidateOnly: true}); err != nil || len(tp.Partitions) != 1 {
			t.Errorf("%+v, %v", tp, err)
		}
		if names(c) != "a.b" {
			t.Errorf("topics %q", names(c))
		}
		lonely := open(t, newMemory(t), self(1, 1))
		if _, err := lonely.CreateTopic(t.Context(), NewTopic{Name: "x", Partitions: 1, ReplicationFactor: 1}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("without a live broker: %v", err)
		}
	})
}

func TestAddPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		create(t, a, "orders", 2)
		synctest.Wait()
		for total, want := range map[int32]error{2: ErrInvalidPartitions, 1: ErrInvalidPartitions, settings.MaxPartitions + 1: ErrInvalidPartitions} {
			if err := a.AddPartitions(t.Context(), "orders", total, nil, false); !errors.Is(err, want) {
				t.Errorf("to %d: %v", total, err)
			}
		}
		if err := a.AddPartitions(t.Context(), "nope", 3, nil, false); !errors.Is(err, ErrUnknownTopic) {
			t.Error(err)
		}
		if err := a.AddPartitions(t.Context(), "orders", 3, [][]int32{{1}, {1}}, false); !errors.Is(err, ErrInvalidAssignment) {
			t.Error(err)
		}
		// A broken-off attempt left partition 2, whose epoch has grown since (C3).
		tp, _ := a.Topic("orders")
		put(t, store, "partitions/"+tp.ID.String()+"/2", `{"version":1,"owner":2,"epoch":7,"incarnation":1}`)
		var wg sync.WaitGroup
		for i, c := range []*Catalog{a, b, a, b} {
			wg.Go(func() {
				err := c.AddPartitions(t.Context(), "orders", int32(200+i), nil, false)
				if err != nil && !errors.Is(err, ErrInvalidPartitions) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		tp, _ = b.Topic("orders")
		if len(tp.Partitions) != 203 || tp.Partitions[2] != (Partition{Owner: 2, Epoch: 7, Incarnation: 1}) {
			t.Errorf("%d partitions, %+v", len(tp.Partitions), tp.Partitions[2])
		}
		for i, p := range tp.Partitions {
			if p.Owner < 1 {
				t.Fatalf("partition %d has no owner", i)
			}
		}
	})
}

func TestConfigsAreComparedAndSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		create(t, a, "orders", 1)
		synctest.Wait()
		var wg sync.WaitGroup
		for i, key := range []string{"retention.ms", "segment.ms", "max.message.bytes", "flush.ms"} {
			wg.Go(func() {
				err := []*Catalog{a, b}[i%2].SetTopicConfigs(t.Context(), "orders", false, func(now map[string]string) (map[string]string, error) {
					now[key] = "1000"
					return now, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		tp, _ := a.Topic("orders")
		if len(tp.Settings.Overrides) != 4 || tp.Settings.RetentionMs != 1000 {
			t.Errorf("%v", tp.Settings.Overrides)
		}
		err := a.SetTopicConfigs(t.Context(), "orders", false, func(map[string]string) (map[string]string, error) {
			return map[string]string{"retention.ms": "-7"}, nil
		})
		if !errors.Is(err, settings.ErrInvalid) {
			t.Error(err)
		}
		err = a.SetTopicConfigs(t.Context(), "orders", true, func(map[string]string) (map[string]string, error) { return nil, nil })
		if tp, _ = a.Topic("orders"); err != nil || len(tp.Settings.Overrides) != 4 {
			t.Errorf("validate only: %v, %v", err, tp.Settings.Overrides)
		}
	})
}

// Topics take over changed defaults, and subscribers hear of it.
func TestBrokerConfigsReachTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		create(t, a, "orders", 1)
		synctest.Wait()
		told := 0
		defer b.Subscribe(func(old, now *Topic) {
			if old != nil && now.Settings.RetentionMs == 5000 {
				told++
			}
		})()
		set := func(broker, key, value string) error {
			return a.SetBrokerConfigs(t.Context(), broker, false, func(now map[string]string) (map[string]string, error) {
				now[key] = value
				return now, nil
			})
		}
		if err := set("", "log.retention.ms", "5000"); err != nil {
			t.Fatal(err)
		}
		if tp, _ := a.Topic("orders"); tp.Settings.RetentionMs != 5000 {
			t.Errorf("retention %d", tp.Settings.RetentionMs)
		}
		synctest.Wait()
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		if err := set("2", "log.retention.ms", "6000"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		inA, _ := a.Topic("orders")
		inB, _ := b.Topic("orders")
		if inA.Settings.RetentionMs != 5000 || inB.Settings.RetentionMs != 6000 {
			t.Errorf("retention %d and %d", inA.Settings.RetentionMs, inB.Settings.RetentionMs)
		}
		for _, f := range []struct {
			broker, key, value string
			want               error
		}{
			{"", "log.retention.hours", "1", settings.ErrInvalid},
			{"", "broker.id", "1", settings.ErrInvalid},
			{"", "log.segment.bytes", "1", settings.ErrInvalid},
			{"9", "log.segment.bytes", "1048576", ErrUnknownBroker},
			{"x", "log.segment.bytes", "1048576", ErrUnknownBroker},
		} {
			if err := set(f.broker, f.key, f.value); !errors.Is(err, f.want) {
				t.Errorf("%+v: %v", f, err)
			}
		}
	})
}

func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		seen := make(map[int64]bool)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 3 {
			c := open(t, store, self(int32(i+1), 1))
			for range 4 {
				wg.Go(func() {
					for range 700 {
						id, err := c.NextProducerID(t.Context())
						mu.Lock()
						if err != nil || seen[id] {
							t.Errorf("id %d, %v", id, err)
						}
						seen[id] = true
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		c := open(t, store, self(1, 2))
		if id, err := c.NextProducerID(t.Context()); err != nil || seen[id] {
			t.Errorf("after a restart: %d, %v", id, err)
		}
		put(t, store, "producer-ids", "{}")
		c = open(t, store, self(1, 3))
		if id, err := c.NextProducerID(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("from an unreadable mark: %d, %v", id, err)
		}
	})
}

// An outcome that is not known costs a block, never gives one twice.
func TestProducerIDsAfterAnUnknownOutcome(t *testing.T) {
	store := newMemory(t)
	c := open(t, store, self(1, 1))
	unknown := true
	store.fail(func(then []kv.Op) error {
		if !unknown {
			return nil
		}
		unknown = false
		if _, err := store.mem.Txn(t.Context(), nil, then); err != nil {
			t.Error(err)
		}
		return kv.ErrUnknown
	})
	if id, err := c.NextProducerID(t.Context()); err != nil || id != idBlock {
		t.Errorf("id %d, %v; want %d", id, err, idBlock)
	}
}

// E9: producers can start while the store is away, as many as the reserve has ids for.
func TestProducerIDsWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		c := open(t, store, self(1, 1))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		store.fail(func([]kv.Op) error { return kv.ErrUnknown })
		for want := range int64(idBlock) {
			if id, err := c.NextProducerID(t.Context()); err != nil || id != want {
				t.Fatalf("id %d, %v; want %d", id, err, want)
			}
		}
		store.fail(nil)
		time.Sleep(2 * retryPause) // fake time: the reserve is filled again
		synctest.Wait()
		store.fail(func([]kv.Op) error { return kv.ErrUnknown })
		if _, err := c.NextProducerID(t.Context()); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Old events that a listing already had must not take the view back (C3).
func TestLateEventsDoNotTakeTheViewBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		other, c := start(t, store, self(2, 1)), start(t, store, self(1, 1))
		synctest.Wait()
		tp := create(t, other, "orders", 1)
		synctest.Wait()
		var epochs []int32
		defer c.Subscribe(func(_, now *Topic) { epochs = append(epochs, now.Partitions[0].Epoch) })()
		release := store.holdWatches()
		for _, epoch := range []string{"3", "4"} {
			put(t, store, "partitions/"+tp.ID.String()+"/0", `{"version":1,"owner":1,"epoch":`+epoch+`,"incarnation":9}`)
		}
		if err := c.Claim(t.Context()); err != nil { // lists, and finds epoch 5
			t.Fatal(err)
		}
		release()
		synctest.Wait()
		if !slices.Equal(epochs, []int32{0, 5}) {
			t.Errorf("epochs seen %v, want 0 and 5", epochs)
		}
	})
}

func FuzzApply(f *testing.F) {
	id := topic.NewID().String()
	f.Add("topics/a", []byte(`{"version":1,"id":"`+id+`","partitions":3}`), false)
	f.Add("partitions/"+id+"/2", []byte(`{"version":1,"owner":1,"epoch":2}`), false)
	f.Add("partitions/"+id+"/9999", []byte(`{"version":1}`), true)
	f.Add("brokers/1", []byte(`{"version":1,"incarnation":18446744073709551615}`), false)
	f.Add("configs/brokers/default", []byte(`{"version":1,"configs":{"num.partitions":"2"}}`), false)
	f.Fuzz(func(t *testing.T, path string, value []byte, gone bool) {
		base, err := settings.ParseLayers(settings.Layers{})
		if err != nil {
			t.Fatal(err)
		}
		c := &Catalog{log: slog.New(slog.DiscardHandler), state: newState(), view: newView(base), changed: make(chan struct{})}
		e := kv.Event{Type: kv.EventPut, Item: kv.Item{Key: path, Value: value, ModRev: 1}}
		c.apply(e)
		c.publish()
		if gone {
			e.Type, e.Item.Value = kv.EventDelete, nil
			c.apply(e)
			c.publish()
			if len(c.Topics())+len(c.Brokers())+len(c.state.partitions) > 0 {
				t.Fatalf("left after the delete of %q", path)
			}
		}
	})
}

// A view that is behind does not decide that a topic exists: the store has been told that it does not.
func TestCreationDoesNotTrustAnOldView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a := start(t, store, self(1, 1))
		n := NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1}
		old, err := a.CreateTopic(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.CreateTopic(t.Context(), n); !errors.Is(err, ErrTopicExists) {
			t.Fatalf("created twice: %v", err)
		}
		release := store.holdWatches()
		if _, err := store.mem.Txn(t.Context(), nil, []kv.Op{kv.Delete(a.topicKey("t"))}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			made, err := a.CreateTopic(t.Context(), n)
			if err == nil && made.ID == old.ID {
				err = ErrTopicExists
			}
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("the old view decided: %v", err)
		default:
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
