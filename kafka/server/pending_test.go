package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// somewhere draws one of few addresses, so that places get crowded. Two of them are of one network of IPv6, and one is none.
func somewhere() *rapid.Generator[netip.Addr] {
	all := []netip.Addr{{}}
	for _, text := range []string{"10.0.0.1", "10.0.0.2", "192.168.7.7", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"} {
		all = append(all, netip.MustParseAddr(text))
	}
	return rapid.SampledFrom(all)
}

// TestWhoLosesAPendingConnection is SV9 beside a plain model: a list of all, looked through for the place that has most.
func TestWhoLosesAPendingConnection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 8).Draw(t, "most")
		s := &Server{cfg: Config{MaxPending: most}, pending: newPending()}
		var model []*Conn
		loser := func() (worst int) {
			count := map[netip.Prefix]int{}
			for _, c := range model {
				count[placeOf(c.ip)]++
			}
			for i, c := range model {
				if count[placeOf(c.ip)] > count[placeOf(model[worst].ip)] {
					worst = i
				}
			}
			return worst
		}
		t.Repeat(map[string]func(*rapid.T){
			"arrives": func(t *rapid.T) {
				c := &Conn{id: s.lastID.Add(1), ip: somewhere().Draw(t, "from")}
				model = append(model, c)
				var want *Conn
				if len(model) > most {
					i := loser()
					want = model[i]
					model = slices.Delete(model, i, i+1)
				}
				if got := s.arrived(c); got != want {
					t.Fatalf("the wrong connection, or none, has to go")
				}
			},
			"leaves": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("nobody is there")
				}
				i := rapid.IntRange(0, len(model)-1).Draw(t, "who")
				s.loggedIn(model[i])
				s.loggedIn(model[i]) // as the end of a connection does again
				model = slices.Delete(model, i, i+1)
			},
			"": func(t *rapid.T) {
				places := map[netip.Prefix]bool{}
				for _, c := range model {
					places[placeOf(c.ip)] = true
				}
				if s.pending.n != len(model) || len(s.pending.of) != len(places) || len(s.pending.crowds) != len(places) {
					t.Fatalf("%d connections of %d and %d places are kept, want %d of %d", s.pending.n, len(s.pending.of), len(s.pending.crowds), len(model), len(places))
				}
			},
		})
	})
}

// TestHandshakesTakeTurns by address, and the oldest of each first, beside a plain model.
func TestHandshakesTakeTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 3).Draw(t, "slots")
		l := &lineup{turns: newTurns(slots), slots: slots, waiting: map[netip.Prefix][]*waiter{}}
		t.Repeat(map[string]func(*rapid.T){"comes": l.comes, "is done": l.done, "gives up": l.givesUp, "": l.check})
		for l.holding > 0 {
			l.done(t)
			l.check(t)
		}
		if l.free != slots || len(l.lines) > 0 || l.turns.order.Len() > 0 {
			t.Fatalf("%d slots of %d are free, %d lines", l.free, slots, len(l.lines))
		}
	})
}

// lineup is turns beside its model.
type lineup struct {
	*turns
	slots, holding int
	order          []netip.Prefix // whose turn it is comes first
	waiting        map[netip.Prefix][]*waiter
}

func (l *lineup) comes(t *rapid.T) {
	place := placeOf(somewhere().Draw(t, "from"))
	w := l.join(place)
	if got := w == nil; got != (l.holding < l.slots) {
		t.Fatalf("a slot was given: %v, while %d of %d are taken", got, l.holding, l.slots)
	}
	if w == nil {
		l.holding++
		return
	}
	if len(l.waiting[place]) == 0 {
		l.order = append(l.order, place)
	}
	l.waiting[place] = append(l.waiting[place], w)
}

func (l *lineup) done(t *rapid.T) {
	if l.holding == 0 {
		t.Skip("nobody computes")
	}
	l.release()
	if len(l.order) == 0 {
		l.holding--
		return
	}
	place := l.order[0]
	next := l.waiting[place][0]
	l.order, l.waiting[place] = l.order[1:], l.waiting[place][1:]
	if len(l.waiting[place]) > 0 {
		l.order = append(l.order, place)
	}
	if !served(next) {
		t.Fatalf("it is the turn of %v, who still waits", place)
	}
	if l.leave(next) {
		t.Fatal("who has a slot has left the line")
	}
}

func (l *lineup) givesUp(t *rapid.T) {
	if len(l.order) == 0 {
		t.Skip("nobody waits")
	}
	i := rapid.IntRange(0, len(l.order)-1).Draw(t, "place")
	place := l.order[i]
	j := rapid.IntRange(0, len(l.waiting[place])-1).Draw(t, "who")
	if !l.leave(l.waiting[place][j]) {
		t.Fatal("who waits cannot leave the line")
	}
	l.waiting[place] = slices.Delete(l.waiting[place], j, j+1)
	if len(l.waiting[place]) == 0 {
		l.order = slices.Delete(l.order, i, i+1)
	}
}

func (l *lineup) check(t *rapid.T) {
	for place, all := range l.waiting {
		if slices.ContainsFunc(all, served) {
			t.Fatalf("one of %v has got a slot out of turn", place)
		}
	}
	if len(l.lines) != len(l.order) || l.turns.order.Len() != len(l.order) {
		t.Fatalf("%d lines, want %d", len(l.lines), len(l.order))
	}
}

func served(w *waiter) bool {
	select {
	case <-w.turn:
		return true
	default:
		return false
	}
}

// TestGivingUpALine gives back the slot that comes meanwhile.
func TestGivingUpALine(t *testing.T) {
	turns := newTurns(1)
	for range 100 { // in a good part of them both have come before the waiter looks
		if err := turns.acquire(t.Context(), netip.Prefix{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() { got <- turns.acquire(ctx, netip.Prefix{}) }()
		eventually(t, "somebody waits", func() bool {
			turns.mu.Lock()
			defer turns.mu.Unlock()
			return turns.order.Len() == 1
		})
		turns.mu.Lock()
		cancel()
		turns.releaseLocked()
		turns.mu.Unlock()
		if <-got == nil {
			turns.release()
		}
		if turns.free != 1 || turns.order.Len() > 0 {
			t.Fatalf("%d slots are free", turns.free)
		}
	}
}

// TestPlaces: a host of IPv6 has a network of its own, whatever of it shows.
func TestPlaces(t *testing.T) {
	for one, other := range map[string]string{"2001:db8::1": "2001:db8::ffff:0:0:2", "fe80::1%eth0": "fe80::2%eth1", "10.0.0.1": "10.0.0.1"} {
		if a, b := placeOf(netip.MustParseAddr(one)), placeOf(netip.MustParseAddr(other)); a != b {
			t.Errorf("%s is in %v, %s in %v", one, a, other, b)
		}
	}
	for one, other := range map[string]string{"2001:db8::1": "2001:db8:0:1::1", "10.0.0.1": "10.0.0.2", "0.0.0.0": "::"} {
		if placeOf(netip.MustParseAddr(one)) == placeOf(netip.MustParseAddr(other)) {
			t.Errorf("%s and %s are one", one, other)
		}
	}
}

// TestFloodOfOneAddressDisplacesItself and nobody who comes from elsewhere, though that one came first.
func TestFloodOfOneAddressDisplacesItself(t *testing.T) {
	const most = 4
	r := newRig(t, Config{MaxConnections: 100, MaxPending: most}, &fake{handle: echo, anonymous: true})
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	nc, err := dialer.DialContext(t.Context(), "tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	other := &client{Conn: nc, t: t, br: bufio.NewReader(nc)}
	other.send(3, 1, 1, "first")
	other.expect(1, "first")
	var flood []*client
	for range 5 * most {
		c := r.dial()
		c.send(3, 1, 1, "x")
		c.expect(1, "x")
		flood = append(flood, c)
	}
	const lost = 5*most - (most - 1)
	for _, c := range flood[:lost] {
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Logf("ended by a reset: %v", err)
		}
	}
	if n := r.Metrics().Displaced.Load(); n != lost {
		t.Errorf("%d displaced, want %d", n, lost)
	}
	other.send(3, 1, 2, "still here")
	other.expect(2, "still here")
}
