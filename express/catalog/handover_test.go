package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

// wire is a store behind a connection that loses requests and answers.
type wire struct {
	kv.KV
	fault fault                                      // of the next Txn, then none
	held  []func(ctx context.Context) (int64, error) // transactions that are still on their way
}

type fault int

const (
	sound         fault = iota
	answerLost          // applied, and ErrUnknown
	requestLost         // not applied, and ErrUnknown
	requestHeld         // not applied yet, and ErrUnknown
	requestHeldIn       // as requestHeld, and the caller's time is over
)

func (w *wire) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	now := w.fault
	w.fault = sound
	if now == sound {
		return w.KV.Txn(ctx, cond, then)
	}
	switch now {
	case answerLost:
		if _, err := w.KV.Txn(ctx, cond, then); err != nil {
			return 0, err
		}
	case requestHeld, requestHeldIn:
		cond, then := slices.Clone(cond), slices.Clone(then)
		w.held = append(w.held, func(ctx context.Context) (int64, error) { return w.KV.Txn(ctx, cond, then) })
	default:
	}
	if now == requestHeldIn {
		return 0, kv.ErrTooLarge // an error that Release gives up at; it stands for a context that ended
	}
	return 0, kv.ErrUnknown
}

// arrive lets what is on its way arrive at the store; applied counts what the store took.
func (w *wire) arrive(ctx context.Context) (applied int) {
	for _, txn := range w.held {
		if _, err := txn(ctx); err == nil {
			applied++
		}
	}
	w.held = nil
	return applied
}

// pair is two registered brokers that do not run, so that their views change when they write, and a partition
// of broker 1 that shall go to broker 2.
type pair struct {
	store *wire
	a, b  *Catalog
	id    topic.Partition
}

func newPair(t *testing.T) *pair {
	t.Helper()
	mem := newMemory(t)
	p := &pair{store: &wire{KV: mem}}
	p.a, p.b = open(t, p.store, self(1, 11)), open(t, mem, self(2, 22))
	for _, c := range []*Catalog{p.a, p.b} {
		if err := c.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.refresh(t)
	tp, err := p.a.CreateTopic(t.Context(), NewTopic{Name: "orders", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {1}, 1: {2}}})
	if err != nil {
		t.Fatal(err)
	}
	p.id = topic.Partition{Topic: tp.ID}
	p.refresh(t)
	if err := p.b.Move(t.Context(), []Move{{ID: p.id, From: 1, To: 2}}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) refresh(t *testing.T) {
	t.Helper()
	if err := errors.Join(p.a.relist(t.Context()), p.b.relist(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// now is the record in the store.
func (p *pair) now(t *testing.T) Partition {
	t.Helper()
	r, err := p.a.getPartition(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	return r.partition()
}

func (p *pair) want(t *testing.T, want Partition) {
	t.Helper()
	if got := p.now(t); got != want {
		t.Errorf("partition %+v, want %+v", got, want)
	}
}

func (p *pair) release(t *testing.T) error {
	t.Helper()
	return p.a.Release(t.Context(), p.id, 0, p.b.Self(), "tails/x")
}

// C6: Release tells the truth, whatever is lost on the way.
func TestReleaseTellsTheTruth(t *testing.T) {
	for _, f := range []fault{sound, answerLost, requestLost, requestHeld} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t)
			p.want(t, Partition{Owner: 1, Incarnation: 11, To: 2})
			p.store.fault = f
			if err := p.release(t); err != nil {
				t.Errorf("fault %d: %v", f, err)
			}
			want := Partition{Owner: 2, Epoch: 1, Incarnation: 22, Tail: "tails/x"}
			p.want(t, want)
			if n := p.store.arrive(t.Context()); n > 0 {
				t.Errorf("fault %d: applied twice", f)
			}
			// Asked again, also after the new owner went on: it is gone.
			if err := p.release(t); err != nil {
				t.Errorf("again: %v", err)
			}
			if err := p.b.Imported(t.Context(), p.id, 1); err != nil {
				t.Error(err)
			}
			want.Tail = ""
			p.want(t, want)
			if err := p.release(t); err != nil {
				t.Errorf("once more: %v", err)
			}
			p.want(t, want)
		})
	}
}

// C6: nobody but the incarnation that serves a partition can give it away.
func TestOnlyTheOwnerReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		for name, err := range map[string]error{
			"another broker":      p.b.Release(t.Context(), p.id, 0, p.a.Self(), ""),
			"a later epoch":       p.a.Release(t.Context(), p.id, 1, p.b.Self(), ""),
			"another incarnation": open(t, p.store, self(1, 12)).Release(t.Context(), p.id, 0, p.b.Self(), ""),
		} {
			if !errors.Is(err, ErrNotOwner) || errors.Is(err, ErrNotReleased) {
				t.Errorf("%s: %v", name, err)
			}
		}
		gone := topic.Partition{Topic: topic.NewID()}
		if err := p.a.Release(t.Context(), gone, 0, p.b.Self(), ""); !errors.Is(err, ErrUnknownTopic) {
			t.Errorf("deleted: %v", err)
		}
		p.want(t, Partition{Owner: 1, Incarnation: 11, To: 2})
		// A new incarnation has claimed it: the old one must not serve it again.
		next := open(t, p.store, self(1, 12))
		if err := next.Claim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.release(t); err != nil {
			t.Error(err)
		}
		p.want(t, Partition{Owner: 1, Epoch: 1, Incarnation: 12, To: 2})
	})
}

// C6, C8: a partition that nobody may take stays where it is.
func TestReleaseOnlyToWhoMayTakeIt(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, p *pair) error{
		"order withdrawn": func(t *testing.T, p *pair) error { return p.b.Move(t.Context(), []Move{{ID: p.id, From: 1}}) },
		"sent elsewhere":  func(t *testing.T, p *pair) error { return p.b.Move(t.Context(), []Move{{ID: p.id, From: 1, To: 3}}) },
		"draining":        func(t *testing.T, p *pair) error { return p.b.SetDraining(t.Context(), true) },
		"gone":            func(t *testing.T, p *pair) error { return p.b.Deregister(t.Context()) },
		"restarted":       func(t *testing.T, p *pair) error { return open(t, p.store.KV, self(2, 23)).Register(t.Context()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t)
			if err := spoil(t, p); err != nil {
				t.Fatal(err)
			}
			if err := p.release(t); !errors.Is(err, ErrNotReleased) {
				t.Errorf("%s: %v", name, err)
			}
			if now := p.now(t); now.Owner != 1 || now.Epoch != 0 || now.Incarnation != 11 {
				t.Errorf("%s: %+v", name, now)
			}
		})
		// The same in the moment between look and write.
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t)
			mem := p.store.KV.(*memory)
			mem.fail(func(ops []kv.Op) error {
				mem.fail(nil)
				return spoil(t, p)
			})
			if err := p.release(t); !errors.Is(err, ErrNotReleased) {
				t.Errorf("%s meanwhile: %v", name, err)
			}
			if now := p.now(t); now.Owner != 1 {
				t.Errorf("%s meanwhile: %+v", name, now)
			}
		})
	}
}

// deaf is a store that answers no reads.
type deaf struct{ kv.KV }

func (deaf) Get(context.Context, string) (kv.Item, error) { return kv.Item{}, kv.ErrTooLarge }

// A partition on its way serves nobody, so what the view knows is not asked for; and where it is behind, the store decides.
func TestReleaseGoesByTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.refresh(t)
		to, behind := p.a.Brokers()[1], p.a.Brokers()[1]
		behind.rev--
		if err := p.a.Release(t.Context(), p.id, 0, to, ""); err != nil {
			t.Fatal(err)
		}
		p.want(t, Partition{Owner: 2, Epoch: 1, Incarnation: 22})
		p = newPair(t)
		p.refresh(t)
		store := p.store.KV
		p.store.KV = deaf{store}
		if err := p.a.Release(t.Context(), p.id, 0, behind, ""); err == nil {
			t.Error("released by a registration that is of before")
		}
		if err := p.a.Release(t.Context(), p.id, 0, p.a.Brokers()[1], ""); err != nil {
			t.Errorf("it asks: %v", err)
		}
		p.store.KV = store
		p.want(t, Partition{Owner: 2, Epoch: 1, Incarnation: 22})
	})
}

// C6: after ErrNotReleased not even a write that is still on its way takes the partition away.
func TestNotReleasedIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.store.fault = requestHeldIn
		if err := p.release(t); err == nil || errors.Is(err, ErrNotReleased) {
			t.Fatalf("outcome unknown: %v", err)
		}
		third := open(t, p.store.KV, self(3, 33))
		if err := third.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.a.Release(t.Context(), p.id, 0, third.Self(), ""); !errors.Is(err, ErrNotReleased) {
			t.Fatalf("to another: %v", err)
		}
		if n := p.store.arrive(t.Context()); n > 0 {
			t.Error("taken away after ErrNotReleased")
		}
		p.want(t, Partition{Owner: 1, Incarnation: 11, To: 2})
	})
}

func TestImportedAndClaimOne(t *testing.T) {
	for _, f := range []fault{sound, answerLost, requestLost, requestHeld} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t)
			if err := p.release(t); err != nil {
				t.Fatal(err)
			}
			// B restarts before it has imported: the record waits for it.
			next := &wire{KV: p.store.KV}
			b := open(t, next, self(2, 23))
			if err := b.Imported(t.Context(), p.id, 1); !errors.Is(err, ErrNotOwner) {
				t.Errorf("not claimed: %v", err)
			}
			next.fault = f
			got, err := b.ClaimOne(t.Context(), p.id)
			want := Partition{Owner: 2, Epoch: 2, Incarnation: 23, Tail: "tails/x"}
			if err != nil || got != want {
				t.Errorf("fault %d: %+v, %v", f, got, err)
			}
			next.arrive(t.Context())
			p.want(t, want)
			if got, err = b.ClaimOne(t.Context(), p.id); err != nil || got != want {
				t.Errorf("again: %+v, %v", got, err)
			}
			if _, err := p.a.ClaimOne(t.Context(), p.id); !errors.Is(err, ErrNotOwner) {
				t.Errorf("another's: %v", err)
			}
			if err := p.b.Imported(t.Context(), p.id, 1); !errors.Is(err, ErrNotOwner) {
				t.Errorf("the old incarnation: %v", err)
			}
			p.want(t, want)
			next.fault = f
			for range 2 {
				if err := b.Imported(t.Context(), p.id, 2); err != nil {
					t.Errorf("fault %d: %v", f, err)
				}
			}
			want.Tail = ""
			p.want(t, want)
			if _, err := b.ClaimOne(t.Context(), topic.Partition{Topic: p.id.Topic, Index: 9}); !errors.Is(err, ErrUnknownTopic) {
				t.Error(err)
			}
		})
	}
}

// process is what one incarnation of a broker believes of the partition.
type process struct {
	c      *Catalog
	store  *wire
	epoch  int32 // at which it has the partition
	serves bool
	frozen bool // it has stopped serving and does not know yet whether it was released
}

// TestOneServesAtAnyTime plays hand-overs, restarts and faults of the connections against the plain rules of
// a hand-over: whoever serves is alone, and later epochs are higher.
func TestOneServesAtAnyTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mem := kv.NewMemory()
		defer func() {
			if err := mem.Close(); err != nil {
				rt.Error(err)
			}
		}()
		h := newHistory(rt, t, mem)
		rt.Repeat(map[string]func(*rapid.T){
			"order":   h.order,
			"look":    h.look,
			"release": h.release,
			"restart": h.restart,
			"drain":   h.drain,
			"arrive":  func(*rapid.T) { h.any().store.arrive(t.Context()) },
			"":        h.check,
		})
	})
}

type history struct {
	rt          *rapid.T
	t           *testing.T
	mem         kv.KV
	brokers     []*process // by id-1
	id          topic.Partition
	incarnation uint64
	highest     int32 // epoch that was served
}

func newHistory(rt *rapid.T, t *testing.T, mem kv.KV) *history {
	h := &history{rt: rt, t: t, mem: mem}
	for i := range 3 {
		h.brokers = append(h.brokers, nil)
		h.start(i)
	}
	tp, err := h.brokers[0].c.CreateTopic(t.Context(), NewTopic{Name: "orders", Partitions: 1, ReplicationFactor: 1})
	if err != nil {
		rt.Fatal(err)
	}
	h.id = topic.Partition{Topic: tp.ID}
	return h
}

// start replaces a broker's process by a new one. What the old one has sent may still arrive.
func (h *history) start(i int) {
	h.incarnation++
	p := &process{store: &wire{KV: h.mem}}
	if old := h.brokers[i]; old != nil {
		p.store.held = old.store.held
	}
	p.c = open(h.t, p.store, self(int32(i+1), h.incarnation))
	if err := errors.Join(p.c.Claim(h.t.Context()), p.c.Register(h.t.Context())); err != nil {
		h.rt.Fatal(err)
	}
	h.brokers[i] = p
}

func (h *history) any() *process {
	return h.brokers[rapid.IntRange(0, 2).Draw(h.rt, "broker")]
}

func (h *history) spoil(p *process) {
	p.store.fault = rapid.SampledFrom([]fault{sound, sound, answerLost, requestLost, requestHeld, requestHeldIn}).Draw(h.rt, "fault")
}

func (h *history) order(*rapid.T) {
	p := h.any()
	h.refresh(p)
	m := Move{ID: h.id, From: h.partition(p).Owner, To: rapid.Int32Range(0, 3).Draw(h.rt, "to")}
	h.spoil(p)
	_ = p.c.Move(h.t.Context(), []Move{m}) // whatever comes of it, nobody may be harmed
	p.store.fault = sound
}

func (h *history) refresh(p *process) {
	if err := p.c.relist(h.t.Context()); err != nil {
		h.rt.Fatal(err)
	}
}

func (h *history) partition(p *process) Partition {
	t, ok := p.c.TopicByID(h.id.Topic)
	if !ok {
		return Partition{Owner: -1}
	}
	return t.Partitions[0]
}

// look is what an owner does when its view says that it has got the partition.
func (h *history) look(*rapid.T) {
	p := h.any()
	if rapid.Bool().Draw(h.rt, "fresh") {
		h.refresh(p)
	}
	part, self := h.partition(p), p.c.Self()
	if p.serves || p.frozen || part.Owner != self.ID {
		return
	}
	h.spoil(p)
	defer func() { p.store.fault = sound }()
	part, err := p.c.ClaimOne(h.t.Context(), h.id)
	if err != nil {
		return
	}
	if err := p.c.Imported(h.t.Context(), h.id, part.Epoch); err != nil {
		return
	}
	if part.Epoch < h.highest {
		h.rt.Fatalf("epoch %d is served after %d", part.Epoch, h.highest)
	}
	p.serves, p.epoch, h.highest = true, part.Epoch, part.Epoch
}

func (h *history) release(*rapid.T) {
	p := h.any()
	if !p.serves && !p.frozen {
		return
	}
	to := h.any().c.Self()
	if rapid.Bool().Draw(h.rt, "seen") { // goes by the view, which may be behind
		for _, b := range p.c.Brokers() {
			if b.ID == to.ID {
				to = b
			}
		}
	}
	p.serves, p.frozen = false, true
	h.spoil(p)
	err := p.c.Release(h.t.Context(), h.id, p.epoch, to, fmt.Sprintf("tails/%d", p.epoch))
	p.store.fault = sound
	switch {
	case err == nil:
		p.frozen = false
	case errors.Is(err, ErrNotReleased):
		p.serves, p.frozen = true, false
	case errors.Is(err, ErrNotOwner):
		h.rt.Fatalf("a serving owner is told: %v", err)
	}
}

func (h *history) restart(*rapid.T) { h.start(rapid.IntRange(0, 2).Draw(h.rt, "restarted")) }

func (h *history) drain(*rapid.T) {
	p := h.any()
	if err := p.c.SetDraining(h.t.Context(), rapid.Bool().Draw(h.rt, "draining")); err != nil {
		h.rt.Fatal(err)
	}
}

func (h *history) check(*rapid.T) {
	serving := 0
	for _, p := range h.brokers {
		if p.serves {
			serving++
			if r, err := p.c.getPartition(h.t.Context(), h.id); err != nil || !r.servedBy(p.c.Self(), p.epoch) {
				h.rt.Fatalf("broker %d serves epoch %d, the record says %+v, %v", p.c.Self().ID, p.epoch, r, err)
			}
		}
	}
	if serving > 1 {
		h.rt.Fatalf("%d serve at once", serving)
	}
}
