package agent

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
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
	firstPause  = 50 * time.Millisecond
	servedPause = 200 * time.Millisecond
	logKept     = 16 << 20 // bytes of output after which the next start begins a new file
	setAside    = ".1"     // behind the name of the file before
)

// node supervises one process. Its fields belong to run's goroutine, except
// where a comment says otherwise.
type node struct {
	agent  *Agent
	key    string // of the spec
	engine engine.Engine
	log    *slog.Logger
	gone   chan struct{} // closed when the spec was removed
	kick   chan struct{} // capacity 1: wanted has changed
	ended  chan struct{} // closed when run has returned

	mu     sync.Mutex
	wanted engine.NodeSpec // guarded by mu

	over    <-chan struct{} // closed when the agent stops
	spec    engine.NodeSpec
	process *proc.Process
	served  bool // the adopted process has served before
	status  engine.NodeStatus
	unsaved bool // the status could not be written
	pause   time.Duration
}

func newNode(a *Agent, spec engine.NodeSpec, eng engine.Engine) *node {
	return &node{
		agent: a, key: spec.Key(), engine: eng, spec: spec, wanted: spec,
		log:  a.world.Log.With("cluster", spec.Cluster, "broker", spec.ID),
		gone: make(chan struct{}), kick: make(chan struct{}, 1), ended: make(chan struct{}),
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
	defer close(n.ended)
	n.over = ctx.Done()
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
		switch {
		case n.spec.Stopped:
			n.stop(ctx)
			n.rest(ctx)
		case n.process != nil && n.status.Round != n.spec.Round && !n.refuse(ctx, n.spec):
			n.stop(ctx)
		case n.process != nil || n.start(ctx):
			n.watch(ctx)
		}
	}
	n.stop(ctx)
	if n.status.State != engine.Removed {
		n.report(ctx, engine.Stopped, "")
	}
	n.agent.show(n.key, nil)
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
	n.served = s.State == engine.Ready
	n.status.Round = s.Round
	n.log.Info("running broker adopted", "pid", s.PID)
}

// rest reports that the node is stopped, after what it kept is deleted where
// the spec says so, and waits for something to change.
func (n *node) rest(ctx context.Context) {
	state, message := engine.Stopped, ""
	var again <-chan time.Time
	n.status.Purged = false
	if n.spec.Remove {
		state = engine.Removed
		if err := n.delete(ctx); err != nil {
			n.log.Error("broker's data could not be deleted, trying again", "err", err)
			state, message = engine.Failed, err.Error()
			again = time.After(n.agent.cfg.MaxPause)
		}
	}
	n.report(ctx, state, message)
	select {
	case <-ctx.Done():
	case <-n.kick:
	case <-again:
	}
}

// delete removes what the node keeps on its host, what it has printed too, and, where it was told to (A10), what its cluster keeps in the
// object store.
func (n *node) delete(ctx context.Context) error {
	err := n.engine.Remove(n.spec)
	if err == nil {
		err = n.forget()
	}
	if err != nil || !n.spec.Purge {
		return err
	}
	if n.agent.world.Purge == nil {
		return errNoPurge
	}
	if err := n.agent.world.Purge(ctx, n.spec); err != nil {
		return fmt.Errorf("object store of cluster %s: %w", n.spec.Cluster, err)
	}
	n.status.Purged = true
	return nil
}

// forget removes the files of what the node has printed.
func (n *node) forget() error {
	fs, file := n.agent.world.FS, n.agent.logFile(n.spec)
	var faults []error
	for _, name := range []string{file, file + setAside} {
		if err := fs.Remove(name); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			faults = append(faults, fmt.Errorf("log of the broker: %w", err))
		}
	}
	return errors.Join(faults...)
}

// errNoPurge: a spec asks for what this agent was not given the means for.
var errNoPurge = errors.New("this agent cannot delete from the object store")

// start starts the process; after a failure it pauses and returns false.
func (n *node) start(ctx context.Context) bool {
	if err := n.prepare(ctx); err != nil {
		if errors.Is(err, errChanged) || ctx.Err() != nil {
			return false
		}
		n.log.Error("broker could not be prepared", "err", err)
		n.failed(ctx, err.Error(), preparePause)
		return false
	}
	n.rotate()
	path, args, err := n.engine.Command(n.spec)
	if err == nil {
		err = n.usable(ctx, n.spec)
	}
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
	n.served = false
	n.status.Round, n.status.Refused = n.spec.Round, 0
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
	if err := n.agent.world.FS.Rename(name, name+setAside); err != nil {
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
// after running so long. One that served gets little, however often it ends:
// its partitions have nobody else.
func (n *node) mostPause(served bool, ran time.Duration) time.Duration {
	switch {
	case ran >= n.agent.cfg.Stable:
		return 0
	case served:
		return servedPause
	default:
		return n.agent.cfg.MaxPause
	}
}

// mustRestart says whether the latest spec asks for another process.
func (n *node) mustRestart(latest engine.NodeSpec) bool {
	if latest.Stopped || latest.Round != n.status.Round {
		return true
	}
	return n.otherCommand(latest)
}

// otherCommand says whether the latest spec asks for another program or other arguments.
func (n *node) otherCommand(latest engine.NodeSpec) bool {
	path, args, err := n.engine.Command(latest)
	oldPath, oldArgs, oldErr := n.engine.Command(n.spec)
	return err != nil || oldErr != nil || path != oldPath || !slices.Equal(args, oldArgs)
}

// usableLimit bounds a look at a program.
const usableLimit = 15 * time.Second

func (n *node) usable(ctx context.Context, spec engine.NodeSpec) error {
	ctx, cancel := context.WithTimeout(ctx, usableLimit)
	defer cancel()
	return n.engine.Usable(ctx, spec)
}

// refuse says that the running process goes on, because the program that is to follow it cannot be run here (A9).
func (n *node) refuse(ctx context.Context, latest engine.NodeSpec) bool {
	if latest.Stopped {
		return false
	}
	err := n.usable(ctx, latest)
	if err == nil || ctx.Err() != nil {
		return false
	}
	if n.status.Refused != latest.Round {
		n.log.Error("broker keeps its program, the other cannot be run", "err", err)
	}
	n.status.Refused = latest.Round
	n.report(ctx, n.status.State, err.Error())
	return true
}

// stop ends the process and waits for it. The first SIGTERM lets it hand over
// what it has; a second signal makes it end at once. It gets that one when its
// time is up, or when the agent stops and this is the only host: the others stop
// too, so there is nobody to hand over to.
func (n *node) stop(ctx context.Context) {
	p := n.process
	if p == nil {
		return
	}
	n.after()
	patience, hurry := n.patience()
	ask := syscall.SIGTERM
	if n.latest().Remove {
		ask = syscall.SIGINT // what it has goes with it, so there is nothing to hand over
	}
	if err := p.Signal(ask); err == nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-p.Done():
		case <-timer.C:
			n.log.Warn("broker takes too long to hand over", "after", patience)
		case <-hurry:
			_ = p.Signal(syscall.SIGINT) // not a second SIGTERM, which the kernel may merge with the first
		}
	}
	if err := p.Stop(context.WithoutCancel(ctx), n.agent.cfg.Grace); err != nil {
		n.log.Error("broker could not be stopped", "err", err)
	}
	n.log.Info("broker stopped", "how", p.Status().String())
	n.process = nil
}
