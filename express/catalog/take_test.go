package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/kafka/topic"
)

func openObject(t testing.TB, store kv.KV, b Broker) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), Config{Prefix: prefix, Self: b, Log: LogObject}, World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// C11: a cluster keeps the kind of log that it was made with.
func TestKindOfLogIsFixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := func(store kv.KV) World {
			return World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)}
		}
		for _, kind := range []LogKind{LogFile, LogObject} {
			store := newMemory(t)
			for _, asked := range []LogKind{kind, LogFile, LogObject, ""} {
				_, err := Open(t.Context(), Config{Prefix: prefix, Self: self(1, 1), Log: asked}, world(store))
				if fits := asked == kind || asked == "" && kind == LogFile; fits != (err == nil) || err != nil && !errors.Is(err, ErrLogKind) {
					t.Errorf("a cluster of %q opened as %q: %v", kind, asked, err)
				}
			}
		}
		// A cluster that was made before there were kinds.
		store := newMemory(t)
		if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Put(prefix+"cluster", []byte(`{"version":1,"id":"x","created_ms":1}`))}); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Prefix: prefix, Self: self(1, 1), Log: LogObject}, world(store)); !errors.Is(err, ErrLogKind) {
			t.Error(err)
		}
	})
}

// Many partitions of several dead brokers are taken at once; what is not as it was said is left alone.
func TestTakeLeavesWhatHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		var all []*Catalog
		for id := range int32(4) {
			c := openObject(t, store, self(id+1, uint64(id)+11))
			if err := c.Register(t.Context()); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		one, four := all[0], all[3]
		if err := four.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		tp := create(t, four, "t", 1000)
		if err := one.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := all[1].SetDraining(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		behind := openObject(t, store, self(9, 99)) // its view is of now, and stays
		back := openObject(t, store, self(1, 12))   // claims what it had
		// A part changes behind the view: it is taken all the same, and what was ordered is over.
		var takes []Take
		var orders []Move
		for i, p := range tp.Partitions {
			if i%40 == 0 {
				orders = append(orders, Move{ID: topic.Partition{Topic: tp.ID, Index: int32(i)}, From: p.Owner, To: 3})
			}
			takes = append(takes, Take{ID: topic.Partition{Topic: tp.ID, Index: int32(i)}, From: p.Owner, Incarnation: p.Incarnation, To: int32(2 + i%3)})
		}
		if err := all[2].Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := all[2].Move(t.Context(), orders); err != nil {
			t.Fatal(err)
		}
		if err := behind.Take(t.Context(), takes); err != nil {
			t.Fatal(err)
		}
		if err := back.Claim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := behind.Take(t.Context(), takes); err != nil {
			t.Fatal(err)
		}
		if err := behind.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		now, _ := behind.Topic("t")
		for i, p := range now.Partitions {
			before, want := tp.Partitions[i], takes[i].To
			switch {
			case before.Owner != 1: // alive
				if p.To = 0; p != before {
					t.Fatalf("%+v became %+v", before, p)
				}
			case want == 2: // draining, so it stayed, and is claimed
				if p.Owner != 1 || p.Incarnation != 12 || p.Epoch != 1 || p.Log != LogID(1, 11) {
					t.Fatalf("%+v became %+v", before, p)
				}
			case p.Owner != want || p.Incarnation != uint64(want)+10 || p.Epoch != 1 || p.Log != LogID(1, 11) || p.To != 0:
				t.Fatalf("%+v became %+v, want it at %d", before, p, want)
			}
		}
		if err := open(t, newMemory(t), self(1, 1)).Take(t.Context(), takes); !errors.Is(err, ErrLogKind) {
			t.Error(err)
		}
		// Somebody who chose to take what has changed hands since.
		for i := range takes {
			takes[i].To = 3
		}
		if err := behind.Take(t.Context(), takes); err != nil {
			t.Fatal(err)
		}
		if err := behind.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if then, _ := behind.Topic("t"); !slices.Equal(then.Partitions, now.Partitions) {
			t.Error("taken by what was known of it before")
		}
		checkImports(t, all[2], now)
	})
}

// checkImports has broker 3 say of everything that it is imported, and sees that of its own only come to pass.
func checkImports(t *testing.T, three *Catalog, tp *Topic) {
	t.Helper()
	if err := three.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var imports []Import
	for i, p := range tp.Partitions {
		imports = append(imports, Import{topic.Partition{Topic: tp.ID, Index: int32(i)}, p.Epoch})
	}
	failed := three.ImportedAll(t.Context(), imports)
	if err := three.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, _ := three.Topic("t")
	for i, p := range now.Partitions {
		err := failed[imports[i].ID]
		if mine := p.Owner == 3; mine != (err == nil) || err != nil && !errors.Is(err, ErrNotOwner) || mine && p.Log != "" {
			t.Fatalf("%+v: %v", p, err)
		}
		if p.Owner != 3 && p.Log != tp.Partitions[i].Log {
			t.Fatalf("%+v became %+v", tp.Partitions[i], p)
		}
	}
}

// C10: a watch that brings nothing, and a registration that somebody removed, are found out.
func TestLostWatchIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a := start(t, store, self(1, 11))
		synctest.Wait()
		release := store.holdWatches()
		start(t, store.mem, self(2, 22))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(a.Brokers()); n != 2 {
			t.Errorf("%d brokers are seen", n)
		}
		release()
		if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Delete(prefix + "brokers/1")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if _, err := store.Get(t.Context(), prefix+"brokers/1"); err != nil {
			t.Errorf("the registration stays away: %v", err)
		}
	})
}

// incarnation is what one process and its log are in a play.
type incarnation struct {
	c      *Catalog
	wire   *wire
	epoch  int32 // at which it serves; -1: it does not
	has    int   // how much of what was acknowledged its log holds, whole from the start
	sealed bool
}

// estate plays one partition through deaths, takes, claims, hand-overs and imports, with lost answers. What was acknowledged
// is a number that only grows.
type estate struct {
	t     *rapid.T
	ctx   context.Context
	mem   *kv.Memory
	id    topic.Partition
	acked int
	tails map[string]int
	next  uint64
	live  map[int32]*incarnation
	all   map[string]*incarnation // by log
}

const players = 3

func newEstate(rt *rapid.T, t *testing.T, mem *kv.Memory) *estate {
	e := &estate{t: rt, ctx: t.Context(), mem: mem, tails: map[string]int{}, next: 10, live: map[int32]*incarnation{}, all: map[string]*incarnation{}}
	for id := range int32(players) {
		e.begin(id + 1)
	}
	tp, err := e.live[1].c.CreateTopic(e.ctx, NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {1}}})
	e.must(err)
	e.id = topic.Partition{Topic: tp.ID}
	e.live[1].epoch = 0
	return e
}

func (e *estate) must(err error) {
	if err != nil {
		e.t.Fatal(err)
	}
}

// begin starts an incarnation of a broker: it claims, then registers.
func (e *estate) begin(id int32) *incarnation {
	e.next++
	i := &incarnation{wire: &wire{KV: e.mem}, epoch: -1}
	c, err := Open(e.ctx, Config{Prefix: prefix, Self: self(id, e.next), Log: LogObject}, World{KV: i.wire, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	e.must(err)
	i.c = c
	e.must(c.Claim(e.ctx))
	e.must(c.Register(e.ctx))
	e.live[id], e.all[LogID(id, e.next)] = i, i
	return i
}

func (e *estate) record() partitionRecord {
	item, err := e.mem.Get(e.ctx, prefix+"partitions/"+e.id.Topic.String()+"/0")
	e.must(err)
	r, err := decode[partitionRecord](item.Value)
	e.must(err)
	return r
}

func (e *estate) pick(t *rapid.T) (int32, *incarnation) {
	id := rapid.Int32Range(1, players).Draw(t, "broker")
	return id, e.live[id]
}

func (e *estate) fault(t *rapid.T, i *incarnation) {
	i.wire.fault = rapid.SampledFrom([]fault{sound, sound, answerLost, requestLost, requestHeld}).Draw(t, "fault")
}

// serve acknowledges something, by whoever believes that it may. A log that is sealed takes nothing.
func (e *estate) serve(t *rapid.T) {
	for _, i := range e.all { // also those that others think dead
		if i.epoch >= 0 && !i.sealed {
			e.acked++
			i.has = e.acked
		}
	}
}

// die ends a registration. The process may go on.
func (e *estate) die(t *rapid.T) {
	_, i := e.pick(t)
	if i != nil {
		e.must(i.c.Deregister(e.ctx))
	}
}

// restart begins a new incarnation. With the directory's lock it knows that the one before is dead.
func (e *estate) restart(t *rapid.T) {
	id, old := e.pick(t)
	old.epoch = -1
	old.wire.arrive(e.ctx)
	e.begin(id)
}

// take is what a controller does, by a view that may be old.
func (e *estate) take(t *rapid.T) {
	_, by := e.pick(t)
	if rapid.Bool().Draw(t, "fresh") {
		e.must(by.c.Refresh(e.ctx))
	}
	tp, ok := by.c.TopicByID(e.id.Topic)
	if !ok {
		return
	}
	p := tp.Partitions[0]
	e.fault(t, by)
	e.must(by.c.Take(e.ctx, []Take{{ID: e.id, From: p.Owner, Incarnation: p.Incarnation, To: rapid.Int32Range(1, players).Draw(t, "to")}}))
}

// release hands the partition over, frozen, with a tail of what is there.
func (e *estate) release(t *rapid.T) {
	_, i := e.pick(t)
	to := rapid.Int32Range(1, players).Draw(t, "to")
	if i.epoch < 0 || i.sealed || to == i.c.Self().ID {
		return
	}
	e.must(i.c.Move(e.ctx, []Move{{ID: e.id, From: i.c.Self().ID, To: to}}))
	key := fmt.Sprintf("tails/%d-%d", i.c.Self().Incarnation, len(e.tails))
	e.tails[key] = i.has
	e.fault(t, i)
	err := i.c.Release(e.ctx, e.id, i.epoch, e.live[to].c.Self(), key)
	switch {
	case err == nil:
		i.epoch, i.has = -1, 0 // the stream is forgotten
	case errors.Is(err, ErrNotOwner):
		i.epoch = -1 // but not forgotten
	case !errors.Is(err, ErrNotReleased):
		e.t.Fatal(err)
	}
}

// bring imports, says so and serves, or fails somewhere between.
func (e *estate) bring(t *rapid.T) {
	_, i := e.pick(t)
	r := e.record()
	if r.Owner != i.c.Self().ID || r.Incarnation != i.c.Self().Incarnation || i.epoch >= 0 {
		return
	}
	switch {
	case r.Tail != "":
		i.has = e.tails[r.Tail]
	case r.Log != "":
		source := e.all[r.Log]
		source.sealed = true
		i.has = source.has
	}
	if rapid.Bool().Draw(t, "gives up") {
		return
	}
	e.fault(t, i)
	failed := i.c.ImportedAll(e.ctx, []Import{{e.id, r.Epoch}})
	if failed[e.id] == nil {
		i.epoch = r.Epoch
	}
}

// check: what was acknowledged is where the record says, whole (C7).
func (e *estate) check(t *rapid.T) {
	r := e.record()
	var there int
	switch {
	case r.Tail != "" && r.Log != "":
		t.Fatalf("tail and log: %+v", r)
	case r.Tail != "":
		there = e.tails[r.Tail]
	case r.Log != "":
		there = e.all[r.Log].has
	default:
		there = e.all[LogID(r.Owner, r.Incarnation)].has
	}
	if there != e.acked {
		t.Fatalf("%d of %d are where %+v says", there, e.acked, r)
	}
	serving := 0
	for _, i := range e.all {
		if i.epoch >= 0 && !i.sealed {
			serving++
		}
	}
	if serving > 1 {
		t.Fatalf("%d serve", serving)
	}
}

// TestNothingAcknowledgedIsOutOfReach (C6, C7).
func TestNothingAcknowledgedIsOutOfReach(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mem := kv.NewMemory()
		defer func() {
			if err := mem.Close(); err != nil {
				rt.Error(err)
			}
		}()
		e := newEstate(rt, t, mem)
		rt.Repeat(map[string]func(*rapid.T){
			"serve": e.serve, "die": e.die, "restart": e.restart, "take": e.take, "release": e.release, "bring": e.bring, "": e.check,
		})
	})
}

// An owner that is back, which the one who takes has not heard of, keeps what it has.
func TestTakeLeavesWhoIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		one, two := openObject(t, store, self(1, 11)), openObject(t, store, self(2, 22))
		for _, c := range []*Catalog{one, two} {
			if err := c.Register(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		tp, err := two.CreateTopic(t.Context(), NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {1}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := one.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := two.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := one.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := two.Take(t.Context(), []Take{{ID: topic.Partition{Topic: tp.ID}, From: 1, Incarnation: 11, To: 2}}); err != nil {
			t.Fatal(err)
		}
		if now, _ := two.Topic("t"); now.Partitions[0] != tp.Partitions[0] {
			t.Errorf("%+v became %+v", tp.Partitions[0], now.Partitions[0])
		}
	})
}
