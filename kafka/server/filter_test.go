package server

import (
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"millrace/base/clock"
	"millrace/base/slab"
)

var errClosedDoor = errors.New("closed")

// doorman lets everybody in while it is open.
type doorman struct {
	open  atomic.Bool
	asked atomic.Int32
	way   atomic.Pointer[Way]
}

func (d *doorman) Admit(w Way) error {
	d.asked.Add(1)
	d.way.Store(&w)
	return d.Allowed(w)
}

func (d *doorman) Allowed(Way) error {
	if d.open.Load() {
		return nil
	}
	return errClosedDoor
}

// TestFilter is SV7.
func TestFilter(t *testing.T) {
	slabs, err := slab.New(slab.Config{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	d := new(doorman)
	d.open.Store(true)
	log := new(logBuffer)
	s, err := New(Config{}, &fake{handle: echo}, World{Log: slog.New(slog.NewTextHandler(log, nil)), Clock: clock.System{}, Slabs: slabs, Filter: d})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), "door", ln) }()
	r := &rig{Server: s, t: t, addr: ln.Addr().String(), log: log, slabs: slabs}
	c := r.dial()
	c.send(3, 1, 1, "x")
	c.expect(1, "x")
	if w := d.way.Load(); w.Listener != "door" || w.From.String() != "127.0.0.1" || w.To.String() != "127.0.0.1" {
		t.Errorf("asked about %+v", w)
	}
	if n := s.Recheck(nil); n != 0 {
		t.Errorf("%d were cut that are allowed", n)
	}
	c.send(3, 1, 2, "y")
	c.expect(2, "y")
	if n := s.Recheck(func(*Conn) error { return nil }); n != 0 {
		t.Errorf("%d were cut that nobody refuses", n)
	}
	other := r.dial()
	other.send(3, 1, 1, "z")
	other.expect(1, "z")
	d.open.Store(false)
	if n := s.Recheck(nil); n != 2 {
		t.Errorf("%d were cut, want 2", n)
	}
	c.expectEnd()
	other.expectEnd()
	late := r.dial()
	late.expectEnd()
	if s.Metrics().Cut.Load() != 2 || s.Metrics().Refused.Load() != 1 || s.Metrics().Accepted.Load() != 2 || d.asked.Load() != 3 {
		t.Errorf("cut %d, refused %d, accepted %d, asked %d", s.Metrics().Cut.Load(), s.Metrics().Refused.Load(), s.Metrics().Accepted.Load(), d.asked.Load())
	}
	d.open.Store(true)
	again := r.dial()
	again.send(3, 1, 1, "z")
	again.expect(1, "z")
	eventually(t, "those that were cut are forgotten", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 1
	})
	if n := s.Recheck(func(*Conn) error { return errClosedDoor }); n != 1 {
		t.Errorf("%d were cut that another refuses", n)
	}
	again.expectEnd()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
