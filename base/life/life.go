// Package life starts and stops the long-running parts of a process together.
//
// A Group holds named actors. Each runs in its own goroutine until it ends or its context is cancelled.
// The first actor that fails ends the group; so does the parent context, and so does Close.
//
// A1: Actors are told to stop in the reverse order of their start, one after the other: an actor is
// cancelled only when all that started after it have ended, or have used up their grace.
// A2: Close returns nil or an error only after every goroutine of the group has ended, unless its own
// context ends first; then the error names the actors that still run.
// A3: An error of an actor is reported once, with the actor's name.
//
// A Group is safe for concurrent use. Files: life.go.
package life

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrStuck is part of Close's error when an actor did not end within its grace, or had still not ended
// when Close's context did.
var ErrStuck = errors.New("did not stop in time")

// ErrStopped is returned by Go once the group has begun to stop; the actor was not started.
var ErrStopped = errors.New("life: group is stopping")

// Actor is one long-running part of a process.
type Actor struct {
	// Name says in logs and errors who it is. Required.
	Name string
	// Run blocks until the work is done or ctx ends. A nil result ends only this actor; an error ends
	// the group. An error that wraps context.Canceled counts as nil once the actor was told to stop.
	Run func(ctx context.Context) error
	// Grace is how long the group waits for Run to return before it goes on to stop the next actor.
	// Zero means ten seconds.
	Grace time.Duration
}

const defaultGrace = 10 * time.Second

// Group runs actors. Make one with NewGroup.
type Group struct {
	ctx    context.Context // the parent: its end ends the group; it is not handed to actors
	failed chan struct{}   // closed when the first actor fails
	ended  chan struct{}   // closed when all actors have been told to stop and have ended
	stop   chan struct{}   // closed when the group begins to stop

	mu      sync.Mutex // guards the rest
	actors  []*running // in order of start
	stopped bool
	fail    sync.Once
	errs    []error
}

type running struct {
	Actor
	cancel context.CancelFunc
	done   chan struct{}
}

// NewGroup returns an empty group that stops when ctx ends. Values of ctx reach the actors, its
// cancellation reaches them only in the order of A1. The caller must call Close.
func NewGroup(ctx context.Context) *Group {
	g := &Group{ctx: ctx, failed: make(chan struct{}), ended: make(chan struct{}), stop: make(chan struct{})}
	go g.supervise()
	return g
}

// Go starts an actor. It returns ErrStopped when the group is already stopping.
func (g *Group) Go(a Actor) error {
	if a.Grace == 0 {
		a.Grace = defaultGrace
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.ctx))
	r := &running{Actor: a, cancel: cancel, done: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		cancel()
		return fmt.Errorf("start %s: %w", a.Name, ErrStopped)
	}
	g.actors = append(g.actors, r)
	go func() {
		defer close(r.done)
		err := a.Run(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return
		}
		g.report(fmt.Errorf("%s: %w", a.Name, err))
		g.fail.Do(func() { close(g.failed) })
	}()
	return nil
}

// Done returns a channel that is closed when every actor has been told to stop and has ended.
func (g *Group) Done() <-chan struct{} { return g.ended }

// Wait blocks until the group has stopped, for whatever reason, and returns the joined errors of its
// actors. It does not ask the group to stop.
func (g *Group) Wait() error {
	<-g.ended
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}

// Close stops the actors in reverse order and waits for all of them. It returns the joined errors of the
// group's whole life, each with the name of its actor. When ctx ends first, the error also names the
// actors that still run, and matches ErrStuck. Close may be called again, and concurrently.
func (g *Group) Close(ctx context.Context) error {
	g.beginStop()
	select {
	case <-g.ended:
		return g.Wait()
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := slices.Clone(g.errs)
	for _, r := range g.actors {
		if !r.hasEnded() {
			errs = append(errs, fmt.Errorf("%s: %w: %w", r.Name, ErrStuck, ctx.Err()))
		}
	}
	return errors.Join(errs...)
}

// Run runs the actors in the given order of start until ctx ends, one of them fails, or all have ended;
// then it stops the rest and returns as Close does.
func Run(ctx context.Context, actors ...Actor) error {
	g := NewGroup(ctx)
	for _, a := range actors {
		if g.Go(a) != nil {
			break // an earlier one has failed or ctx has ended; its error says why
		}
	}
	g.stopWhenIdle()
	return g.Wait()
}

// stopWhenIdle begins to stop once every actor has ended by itself.
func (g *Group) stopWhenIdle() {
	g.mu.Lock()
	actors := slices.Clone(g.actors)
	g.mu.Unlock()
	for _, r := range actors {
		<-r.done
	}
	g.beginStop()
}

// supervise waits for a reason to stop and then stops the actors in order.
func (g *Group) supervise() {
	defer close(g.ended)
	select {
	case <-g.ctx.Done():
	case <-g.failed:
	case <-g.stop:
	}
	g.beginStop()
	g.mu.Lock()
	actors := slices.Clone(g.actors) // complete: Go refuses from here on
	g.mu.Unlock()
	for _, r := range slices.Backward(actors) {
		r.cancel()
		grace := time.NewTimer(r.Grace)
		select {
		case <-r.done:
		case <-grace.C:
			g.report(fmt.Errorf("%s: %w: grace of %s used up", r.Name, ErrStuck, r.Grace))
		}
		grace.Stop()
	}
	for _, r := range actors {
		<-r.done
	}
}

func (g *Group) beginStop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopped {
		g.stopped = true
		close(g.stop)
	}
}

func (g *Group) report(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errs = append(g.errs, err)
}

func (r *running) hasEnded() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}
