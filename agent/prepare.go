package agent

import (
	"context"
	"errors"
	"time"

	"millrace/engine"
)

// preparePause is the longest pause between attempts to prepare a node: each may cost the host and a far server much.
const preparePause = 30 * time.Second

// errChanged: the spec asks for something else by now.
var errChanged = errors.New("the spec has changed")

// prepare has an engine that is a Preparer make ready what the process needs, and reports its stages. It returns errChanged where the spec
// came to ask for something else meanwhile; what else is new is in n.spec then.
func (n *node) prepare(ctx context.Context) error {
	p, ok := n.engine.(engine.Preparer)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stages, done := make(chan string), make(chan error, 1)
	spec := n.spec
	go func() {
		done <- p.Prepare(ctx, spec, func(stage string) {
			select {
			case stages <- stage:
			case <-ctx.Done():
			}
		})
	}()
	for {
		select {
		case stage := <-stages:
			n.report(ctx, engine.Starting, stage)
		case <-n.kick:
			if latest := n.latest(); latest.Stopped || latest.Round != spec.Round || n.otherCommand(latest) {
				cancel(errChanged)
			} else {
				n.spec = latest
			}
		case err := <-done:
			if cause := context.Cause(ctx); errors.Is(cause, errChanged) {
				return cause
			}
			return err
		}
	}
}

// manners are how the node's program behaves.
func (n *node) manners() engine.Manners { return n.mannersOf(n.spec) }

func (n *node) mannersOf(spec engine.NodeSpec) engine.Manners {
	if m, ok := n.engine.(engine.Mannered); ok {
		return m.Manners(spec)
	}
	return engine.Manners{}
}

// removePatience is how long a program that ends in its own time has where all that it keeps is to be deleted.
const removePatience = 10 * time.Second

// patience is how long the process has after the first signal, and what ends that time at once; nil: nothing does.
func (n *node) patience() (time.Duration, <-chan struct{}) {
	m := n.manners()
	switch {
	case m.End <= 0:
		return n.agent.cfg.DrainGrace, n.agent.hurry
	case n.latest().Remove:
		return min(m.End, removePatience), nil
	}
	return m.End, nil
}

// after waits, where the agent stops and the node is one of the Last, until those of its cluster that need it to end well have ended. Each
// of them has bounded time for that.
func (n *node) after() {
	select {
	case <-n.over:
	default:
		return
	}
	if !n.manners().Last {
		return
	}
	var first []*node
	n.agent.setFellows(func(all map[string]*node) {
		for _, f := range all {
			first = append(first, f)
		}
	})
	for _, f := range first {
		if spec := f.latest(); spec.Cluster == n.spec.Cluster && !f.mannersOf(spec).Last {
			<-f.ended
		}
	}
}

// hang is for how long the process may be silent.
func (n *node) hang() time.Duration {
	if d := n.manners().Hang; d > 0 {
		return d
	}
	return n.agent.cfg.Hang
}

// fetched is the end of a Fetch.
type fetched struct {
	version string
	round   int64 // of the spec that asked for it
	err     error
}

// fetch begins to get another version than the one that runs, where the engine can, and says that the process is not to be stopped before that has
// ended.
func (w *watch) fetch(ctx context.Context, latest engine.NodeSpec) bool {
	f, ok := w.engine.(engine.Fetcher)
	if !ok || latest.Stopped || latest.Version == w.spec.Version || latest.Version == w.got {
		return false
	}
	if w.getting != "" {
		return true
	}
	w.getting = latest.Version
	w.log.Info("another version is fetched while the broker runs", "version", latest.Version)
	w.fetches.Go(func() {
		err := f.Fetch(ctx, latest, func(string) {})
		select {
		case w.fetched <- fetched{latest.Version, latest.Round, err}:
		case <-ctx.Done():
		}
	})
	return true
}

// have is after a Fetch: the spec is looked at again, or, where nothing was got, refused as one whose program cannot be run (A9).
func (w *watch) have(ctx context.Context, f fetched) {
	w.getting = ""
	if f.err != nil {
		w.log.Error("broker keeps its version, the other cannot be had", "err", f.err)
		w.status.Refused = f.round
		w.report(ctx, w.state, f.err.Error())
		if latest := w.latest(); latest.Version == f.version && latest.Round == f.round {
			return // until it is asked for again
		}
	} else {
		w.got = f.version
	}
	select {
	case w.kick <- struct{}{}:
	default:
	}
}
