package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Errors that a broker gets from the simulated world.
var (
	errDead   = errors.New("sim: the process is dead")
	errRefuse = errors.New("sim: the service answers with an error")
	errIO     = errors.New("sim: input/output error")
)

// service is one of the things outside a broker.
type service int

const (
	etcd service = iota
	store
	device
	services
)

// mood is how a service treats one broker at a time.
type mood struct {
	away  bool          // nothing arrives, nor comes back
	fail  float64       // share of calls that are refused
	lose  float64       // share of writes that are done, but the answer is lost
	delay time.Duration // the most that a call takes, each way
}

// gate is between one process and its world: whatever the process asks for passes it, there and back.
type gate struct {
	life context.Context // never ends: of calls that have none

	mu      sync.Mutex
	rng     *rand.Rand
	dead    bool
	frozen  bool
	moods   [services]mood
	changed chan struct{} // closed and replaced with each change of the above

	// A crash at a step: when count reaches zero at a step of the kind, strike is called once, before the step or after it.
	kind   step
	count  int
	after  bool
	strike func()
}

// step is a kind of call after which a broker's state outside itself is another.
type step int

const (
	noStep step = iota
	txnStep
	putStep
	syncStep
	manifestStep // those of txnStep that change what a manifest is
	trimStep     // those that say from where on a log in the store is needed
)

// stepOf is the kind of a write to etcd, beside txnStep.
func stepOf(key string) step {
	switch {
	case strings.HasPrefix(key, prefix+"manifests/"):
		return manifestStep
	case strings.HasPrefix(key, prefix+"logs/"):
		return trimStep
	}
	return txnStep
}

// is tells whether a write of kind k is one of kind s.
func (k step) is(s step) bool { return k == s || s == txnStep && k > syncStep }

func newGate(ctx context.Context, rng *rand.Rand) *gate {
	g := &gate{life: context.WithoutCancel(ctx), rng: rng, changed: make(chan struct{})}
	g.moods = calm()
	return g
}

// calm is how services are when nothing is wrong.
func calm() [services]mood {
	return [services]mood{etcd: {delay: time.Millisecond}, store: {delay: 10 * time.Millisecond}, device: {delay: 300 * time.Microsecond}}
}

// change alters the gate and lets all who wait look again.
func (g *gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

// running waits until the process runs, whatever its contexts say: a process that is stopped sees none of them end.
func (g *gate) running() error {
	for {
		g.mu.Lock()
		dead, frozen, changed := g.dead, g.frozen, g.changed
		g.mu.Unlock()
		switch {
		case dead:
			return errDead
		case !frozen:
			return nil
		}
		<-changed
	}
}

// travel is one way between the process and a service.
func (g *gate) travel(ctx context.Context, s service) error {
	if err := g.running(); err != nil {
		return err
	}
	g.mu.Lock()
	d := time.Duration(g.rng.Int64N(int64(g.moods[s].delay) + 1))
	g.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	for {
		if err := g.running(); err != nil {
			return err
		}
		g.mu.Lock()
		away, changed := g.moods[s].away, g.changed
		g.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !away {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// fate says what becomes of a call that has arrived: refused, or done with its answer lost.
func (g *gate) fate(s service, writes bool) (refused, lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.moods[s]
	if m.fail > 0 && g.rng.Float64() < m.fail {
		return true, false
	}
	return false, writes && m.lose > 0 && g.rng.Float64() < m.lose
}

// at tells of a step that is about to be done, or has been done, and strikes where that was agreed.
func (g *gate) at(kind step, done bool) {
	g.mu.Lock()
	strike := g.strike
	hit := false
	if strike != nil && kind.is(g.kind) && done == g.after {
		g.count--
		hit = g.count <= 0
	}
	if hit {
		g.strike = nil
	}
	g.mu.Unlock()
	if hit {
		strike()
	}
}

// call does something at a service. What is lost on the way back is reported as lost(cause).
func (g *gate) call(ctx context.Context, s service, kind step, do func() error, lost func(error) error) error {
	if err := g.travel(ctx, s); err != nil {
		return lost(err) // nobody knows whether it arrived
	}
	refused, answerLost := g.fate(s, kind != noStep)
	if refused {
		return errRefuse
	}
	if kind != noStep {
		g.at(kind, false)
		if err := g.running(); err != nil {
			return err
		}
	}
	err := do()
	if kind != noStep {
		g.at(kind, true)
	}
	if back := g.travel(ctx, s); back != nil {
		return lost(back)
	}
	if answerLost {
		return lost(errRefuse)
	}
	return err
}

// plain is call's lost for calls that change nothing.
func plain(err error) error { return err }
