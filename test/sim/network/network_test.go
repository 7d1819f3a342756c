package network_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"millrace/test/sim/network"
)

const delay = 3 * time.Millisecond

// pair is two hosts with a connection between them.
type pair struct {
	network    *network.Network
	a, b       *network.Host
	near, far  net.Conn
	listener   net.Listener
	background context.Context
}

func newPair(t *testing.T) *pair {
	t.Helper()
	n := network.New(func() time.Duration { return delay })
	p := &pair{network: n, a: n.Host("a", nil), b: n.Host("b", nil), background: t.Context()}
	var err error
	p.listener, err = p.b.Listen(p.background, "tcp", "b:1")
	must(t, err)
	p.near, err = p.a.Dial(p.background, "tcp", "b:1")
	must(t, err)
	p.far, err = p.listener.Accept()
	must(t, err)
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pair) say(t *testing.T, text string) {
	t.Helper()
	_, err := p.near.Write([]byte(text))
	must(t, err)
}

// hear reads so many bytes at the far end and says how long that took.
func (p *pair) hear(t *testing.T, want string) time.Duration {
	t.Helper()
	began := time.Now()
	got := make([]byte, len(want))
	_, err := io.ReadFull(p.far, got)
	must(t, err)
	if string(got) != want {
		t.Errorf("%q arrives, not %q", got, want)
	}
	return time.Since(began)
}

func TestWhatIsWrittenArrivesInOrderThenTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.say(t, "one")
		p.say(t, "two")
		must(t, p.near.Close())
		if took := p.hear(t, "onetwo"); took != delay {
			t.Errorf("it took %v", took)
		}
		if _, err := p.far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
		if _, err := p.far.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write to who is gone: %v", err)
		}
		if _, err := p.near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a read of what is closed: %v", err)
		}
	})
}

func TestNothingArrivesOverACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.network.Cut("b", "a", true)
		p.say(t, "x")
		dialed := make(chan error, 1)
		go func() {
			_, err := p.a.Dial(p.background, "tcp", "b:1")
			dialed <- err
		}()
		ctx, cancel := context.WithTimeout(p.background, time.Second)
		defer cancel()
		if _, err := p.a.Dial(ctx, "tcp", "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial over a cut: %v", err)
		}
		time.AfterFunc(time.Minute, p.network.Join)
		if took := p.hear(t, "x"); took != time.Minute {
			t.Errorf("it arrives after %v", took)
		}
		must(t, <-dialed)
	})
}

func TestDeadlinesWakeReadersByTheHostsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network.New(func() time.Duration { return delay })
		skewed := func() time.Time { return time.Now().Add(time.Hour) }
		a, b := n.Host("a", skewed), n.Host("b", nil)
		_, err := b.Listen(t.Context(), "tcp", "b:1")
		must(t, err)
		c, err := a.Dial(t.Context(), "tcp", "b:1")
		must(t, err)
		began := time.Now()
		must(t, c.SetDeadline(skewed().Add(time.Minute)))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a late write: %v", err)
		}
		must(t, c.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Minute, func() { must(t, c.SetReadDeadline(skewed())) })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestAFrozenHostDoesNothingUntilItIsThawed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.b.Freeze()
		p.say(t, "x")
		if _, err := p.a.Dial(p.background, "tcp", "b:1"); err != nil {
			t.Errorf("dial to a frozen host: %v", err)
		}
		must(t, p.far.SetReadDeadline(time.Now().Add(time.Second)))
		time.AfterFunc(time.Minute, p.b.Thaw)
		began := time.Now()
		if _, err := p.far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, err := p.listener.Accept(); err != nil {
			t.Errorf("accept after the thaw: %v", err)
		}
	})
}

func TestNothingOfTheDeadArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.say(t, "last")
		p.a.Kill(time.Second)
		if _, err := p.near.Write([]byte("x")); err == nil {
			t.Error("the dead write")
		}
		if _, err := p.a.Dial(p.background, "tcp", "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the dead dial: %v", err)
		}
		p.hear(t, "last")
		if rest, err := io.ReadAll(p.far); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v arrives of the dead", rest, err)
		}
		p.b.Kill(0)
		if _, err := p.listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept of the dead: %v", err)
		}
		heir := p.network.Host("b", nil)
		l, err := heir.Listen(p.background, "tcp", "b:1")
		must(t, err)
		if _, err := heir.Listen(p.background, "tcp", "b:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("two listeners: %v", err)
		}
		must(t, l.Close())
		if _, err := heir.Dial(p.background, "tcp", "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
	})
}

func TestBreakEndsBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.network.Break("a", "b")
		for _, c := range []net.Conn{p.near, p.far} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("read of what is broken: %v", err)
			}
		}
	})
}
