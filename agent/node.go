package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"millrace/base/proc"
	"millrace/engine"
)

// Pauses of the supervisor.
const (
	firstProbe  = 2 * time.Millisecond  // between probes of a node that starts,
	lastProbe   = 50 * time.Millisecond // growing to this
	readyProbe  = time.Second           // between probes of a node that serves
	probeLimit  = time.Second           // for one probe
	firstPause  = 50 * time.Millisecond
	servedPause = 200 * time.Millisecond
	logKept     = 16 << 20 // bytes of output after which the next start begins a new file
)

// node supervises one process. Its fields belong to run's goroutine, except
// where a comment says otherwise.
type node struct {
	agent  *Agent
	engine engine.Engine
	log    *slog.Logger
	gone   chan struct{} // closed when the spec was removed
	kick   chan struct{} // capacity 1: wanted has changed

	mu     sync.Mutex
	wanted engine.NodeSpec // guarded by mu

	spec    engine.NodeSpec
	process *proc.Process
	status  engine.NodeStatus
	pause   time.Duration
}

func newNode(a *Agent, spec engine.NodeSpec, eng engine.Engine) *node {
	return &node{
		agent: a, engine: eng, spec: spec, wanted: spec,
		log:  a.world.Log.With("cluster", spec.Cluster, "broker", spec.ID),
		gone: make(chan struct{}), kick: make(chan struct{}, 1),
	}
}

// change hands a new spec to the supervisor. It does not block.
func (n *node) change(spec engine.NodeSpec) {
	n.mu.Lock()
	n.wanted = spec
	n.mu.Unlock()
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

func (n *node) latest() engine.NodeSpec {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wanted
}

// run supervises until ctx ends or the spec is removed, then stops the process.
func (n *node) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.agent.wait.Go(func() {
		select {
		case <-n.gone:
			cancel()
		case <-ctx.Done():
		}
	})
	n.adopt(ctx)
	for ctx.Err() == nil {
		n.spec = n.latest()
		if n.spec.Stopped {
			n.stop(ctx)
			n.report(ctx, engine.Stopped, "")
			n.idle(ctx)
			continue
		}
		if n.process == nil && !n.start(ctx) {
			continue
		}
		n.watch(ctx)
	}
	n.stop(ctx)
	n.report(ctx, engine.Stopped, "")
}

// adopt takes over the process that an earlier agent left running (A1).
func (n *node) adopt(ctx context.Context) {
	s, ok := n.reported(ctx)
	if !ok {
		return
	}
	p, err := proc.Adopt(s.PID, s.Began)
	if err != nil {
		return // it is gone; a new one is started
	}
	n.process = p
	n.log.Info("running broker adopted", "pid", s.PID)
}

// idle waits for something to change.
func (n *node) idle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-n.kick:
	}
}

// start starts the process; after a failure it pauses and returns false.
func (n *node) start(ctx context.Context) bool {
	n.rotate()
	path, args, err := n.engine.Command(n.spec)
	if err == nil {
		err = n.engine.Check(ctx, n.spec)
	}
	if err == nil {
		n.process, err = proc.Start(ctx, proc.Spec{Path: path, Args: args, LogFile: n.agent.logFile(n.spec)})
	}
	if err != nil {
		n.log.Error("broker could not be started", "err", err)
		n.failed(ctx, err.Error(), n.agent.cfg.MaxPause)
		return false
	}
	n.log.Info("broker started", "pid", n.process.PID())
	return true
}

// rotate sets a large log file aside; one older file is kept.
func (n *node) rotate() {
	name := n.agent.logFile(n.spec)
	info, err := n.agent.world.FS.Stat(name)
	if err != nil || info.Size() < logKept {
		return
	}
	if err := n.agent.world.FS.Rename(name, name+".1"); err != nil {
		n.log.Warn("log file could not be set aside", "err", err)
	}
}

// failed reports and pauses before the next start: not at all the first time,
// and longer each time up to most.
func (n *node) failed(ctx context.Context, message string, most time.Duration) {
	n.status.Restarts++
	n.report(ctx, engine.Failed, message)
	n.pause = min(n.pause, most)
	if n.pause > 0 {
		n.log.Warn("broker keeps ending, waiting before the next start", "pause", n.pause)
		t := time.NewTimer(n.pause)
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-n.kick:
		case <-t.C:
		}
	}
	n.pause = min(max(2*n.pause, firstPause), most)
}

// mostPause is how long to wait at most before starting a node again that ended
// in this state after running so long. One that served gets little, however
// often it ends: its partitions have nobody else.
func (n *node) mostPause(state engine.NodeState, ran time.Duration) time.Duration {
	switch {
	case ran >= n.agent.cfg.Stable:
		return 0
	case state == engine.Starting:
		return n.agent.cfg.MaxPause
	default:
		return servedPause
	}
}

// watch follows the running process until it ends, must be changed, or ctx ends.
func (n *node) watch(ctx context.Context) {
	clk := n.agent.world.Clock
	began := clk.Now()
	answered := began
	state := engine.Starting
	n.report(ctx, state, "")
	pause := firstProbe
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.process.Done():
			message := n.process.Status().String()
			n.process = nil
			n.log.Warn("broker ended", "how", message, "log", n.agent.logFile(n.spec))
			n.failed(ctx, message, n.mostPause(state, clk.Now().Sub(began)))
			return
		case <-n.kick:
			if n.mustRestart() {
				n.stop(ctx)
				return
			}
		case <-timer.C:
			if err := n.probe(ctx); err == nil || state == engine.Ready && cutOff(err) {
				answered, pause = clk.Now(), readyProbe
				if state != engine.Ready {
					state = engine.Ready
					n.log.Info("broker is ready", "took_ms", answered.Sub(began).Milliseconds())
					n.report(ctx, state, "")
				}
			} else {
				state = n.silent(ctx, state, clk.Now().Sub(answered), err)
				pause = min(2*pause, lastProbe)
			}
			timer.Reset(pause)
		}
	}
}

// silent handles a probe that failed. A process that served and then hangs is
// killed (A4); one that starts may take long to recover its log.
func (n *node) silent(ctx context.Context, state engine.NodeState, since time.Duration, err error) engine.NodeState {
	if state == engine.Starting {
		return state
	}
	if state == engine.Ready && since >= n.agent.cfg.HangReport {
		state = engine.Failed
		n.log.Warn("broker does not answer", "since", since, "err", err)
		n.report(ctx, state, "does not answer: "+err.Error())
	}
	if since >= n.agent.cfg.HangKill {
		n.log.Error("broker is killed because it does not answer", "since", since)
		if err := n.process.Kill(); err != nil {
			n.log.Warn("broker could not be killed", "err", err)
		}
	}
	return state
}

// cutOff says that the node took the probe's connection and closed it, as it
// does when its clients use up the connections that it allows: it is alive.
func cutOff(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

func (n *node) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	return n.engine.Probe(ctx, n.spec)
}

// mustRestart says whether the latest spec asks for another process.
func (n *node) mustRestart() bool {
	latest := n.latest()
	if latest.Stopped {
		return true
	}
	path, args, err := n.engine.Command(latest)
	oldPath, oldArgs, oldErr := n.engine.Command(n.spec)
	return err != nil || oldErr != nil || path != oldPath || !slices.Equal(args, oldArgs)
}

// stop ends the process and waits for it.
func (n *node) stop(ctx context.Context) {
	if n.process == nil {
		return
	}
	if err := n.process.Stop(context.WithoutCancel(ctx), n.agent.cfg.Grace); err != nil {
		n.log.Error("broker could not be stopped", "err", err)
	}
	n.log.Info("broker stopped", "how", n.process.Status().String())
	n.process = nil
}
