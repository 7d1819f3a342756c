package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/express/catalog"
)

// Errors of calls, to be tested with errors.Is.
var (
	// ErrAway: the broker is not there, or did not answer. What was asked may or may not have happened (PE4).
	ErrAway = errors.New("peer: the broker does not answer")
	// ErrBusy: too many calls wait for that broker; nothing was asked.
	ErrBusy = errors.New("peer: too many calls wait for the broker")
	// ErrClosed: the Pool is closed; a call that was under way may or may not have happened.
	ErrClosed = errors.New("peer: closed")
)

// Config is read once by New. A zero field takes its default.
type Config struct {
	ClientID string        // of our requests; default "millrace-peer"
	Timeout  time.Duration // of a connect, and of a request from its first byte to the answer's last; default 10 s; markers have three times that
	Queue    int           // calls that wait for one lane; default 20,000
	Idle     time.Duration // without a call, after which a connection is closed; default 30 s
	MinPause time.Duration // before a connect that follows a failure; default 50 ms, doubled by each further one
	MaxPause time.Duration // the most it grows to; default 1 s. Each pause is made shorter by up to a half, at random
	Patience time.Duration // how long Silent waits for an answer; default 1 s
	Silence  time.Duration // how long a broker may be silent before Silent waits for it no more; default 4 s
}

// World is what peer touches outside itself. Broker is needed.
type World struct {
	// Broker finds a live broker by its id. It must not block.
	Broker func(id int32) (catalog.Broker, bool)
	// Dial connects; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// DialInternal connects to the internal listener of a broker that has one, and shows who we are; nil: we have nothing to show,
	// and all are reached where clients reach them.
	DialInternal func(ctx context.Context, network, address string) (net.Conn, error)
	Log          *slog.Logger // nil: nothing is logged
	Clock        clock.Clock  // tells since when a broker is silent; nil: the machine's
}

// Pool has the connections to other brokers. Make one with New. Methods that take a broker's id may be called for this broker too,
// which then asks itself over the network.
type Pool struct {
	cfg   Config
	world World
	life  context.Context
	end   context.CancelFunc
	work  sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	markers  map[int32]*lane[*marking]
	verifies map[int32]*lane[*verifying]
	states   map[int32]*lane[*stating]
	latests  map[int32]*lane[*latesting]
	hearings map[int32]*lane[*hearing]

	quiet    sync.Mutex // guards silences; never held with mu, nor over a call
	silences map[int32]silence
}

// New returns a Pool without connections. Its work ends with ctx, or by Close.
func New(ctx context.Context, cfg Config, w World) *Pool {
	if cfg.ClientID == "" {
		cfg.ClientID = "millrace-peer"
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 20_000
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&cfg.Timeout, 10 * time.Second}, {&cfg.Idle, 30 * time.Second},
		{&cfg.MinPause, 50 * time.Millisecond}, {&cfg.MaxPause, time.Second},
		{&cfg.Patience, time.Second}, {&cfg.Silence, 4 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if w.Dial == nil {
		w.Dial = new(net.Dialer).DialContext
	}
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	if w.Clock == nil {
		w.Clock = clock.System{}
	}
	p := &Pool{
		cfg: cfg, world: w,
		markers: map[int32]*lane[*marking]{}, verifies: map[int32]*lane[*verifying]{},
		states: map[int32]*lane[*stating]{}, latests: map[int32]*lane[*latesting]{},
		hearings: map[int32]*lane[*hearing]{}, silences: map[int32]silence{},
	}
	p.life, p.end = context.WithCancel(ctx)
	return p
}

// at is where we reach a broker.
func (p *Pool) at(b catalog.Broker) catalog.Endpoint {
	if e, ok := b.At(catalog.Internal); ok && p.world.DialInternal != nil {
		return e
	}
	return catalog.Endpoint{Host: b.Host, Port: b.Port}
}

// dialer is how.
func (p *Pool) dialer(b catalog.Broker) func(ctx context.Context, network, address string) (net.Conn, error) {
	if p.at(b).Listener == catalog.Internal {
		return p.world.DialInternal
	}
	return p.world.Dial
}

// Close fails all calls, closes all connections and waits for what the Pool has started. It may be called again.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.work.Wait()
}

// kind is what the calls of a lane have in common.
type kind[C any] struct {
	name string
	most int // calls in one request
	// patience is how often Config.Timeout a request may take; 0: once.
	patience int
	// within is how long a connect, and a request, may take; nil: patience times Config.Timeout.
	within func(Config) time.Duration
	// pause is the most that is waited before a connect that follows a failure; 0: Config.MaxPause.
	pause time.Duration
	// same says whether two calls may share a request; nil: any two.
	same func(a, b C) bool
	// ask makes the request of some calls.
	ask func(calls []C) request
	// answered gives each call its answer, or none and says what is wrong with the response.
	answered func(calls []C, response response) error
	// given reports whether nobody waits for the call any more; nil: somebody always does.
	given func(c C) bool
	// fail gives a call an error for its answer.
	fail func(c C, err error)
}

// enter puts a call into the lane of its broker and kind, and makes that if there is none.
func enter[C any](p *Pool, lanes map[int32]*lane[C], k *kind[C], broker int32, c C) {
	p.mu.Lock()
	var err error
	l := lanes[broker]
	switch {
	case p.closed || p.life.Err() != nil:
		err = ErrClosed
	case l == nil:
		l = &lane[C]{pool: p, kind: k, broker: broker, lanes: lanes, wake: make(chan struct{}, 1)}
		lanes[broker] = l
		l.queue = append(l.queue, c)
		p.work.Go(l.run)
	case len(l.queue) >= p.cfg.Queue:
		err = ErrBusy
	default:
		l.queue = append(l.queue, c)
		l.notify()
	}
	p.mu.Unlock()
	if err != nil {
		k.fail(c, err)
	}
}

// reply is where the answer to a call goes that somebody waits for. Make one with newReply.
type reply[T any] struct {
	ctx context.Context
	out chan outcome[T]
}

type outcome[T any] struct {
	value T
	err   error
}

func newReply[T any](ctx context.Context) reply[T] {
	return reply[T]{ctx: ctx, out: make(chan outcome[T], 1)}
}

func (r reply[T]) give(value T, err error) { r.out <- outcome[T]{value, err} }

// given reports whether the caller has left.
func (r reply[T]) given() bool { return r.ctx.Err() != nil }

// wait waits for the answer or the end of the caller's context.
func (r reply[T]) wait() (T, error) {
	select {
	case o := <-r.out:
		return o.value, o.err
	case <-r.ctx.Done():
		var none T
		return none, r.ctx.Err()
	}
}
