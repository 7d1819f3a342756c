package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/engine"
)

// prepared is children that must be prepared, and have manners.
type prepared struct {
	children
	prepare func(ctx context.Context, s engine.NodeSpec, tell func(string)) error
	manners func(s engine.NodeSpec) engine.Manners
	probe   func() error
}

func (p prepared) Prepare(ctx context.Context, s engine.NodeSpec, tell func(string)) error {
	return p.prepare(ctx, s, tell)
}

func (p prepared) Manners(s engine.NodeSpec) engine.Manners {
	if p.manners == nil {
		return engine.Manners{}
	}
	return p.manners(s)
}

func (p prepared) Probe(ctx context.Context, s engine.NodeSpec) error {
	if p.probe != nil {
		if err := p.probe(); err != nil {
			return err
		}
	}
	return p.children.Probe(ctx, s)
}

func nothing(context.Context, engine.NodeSpec, func(string)) error { return nil }

// TestPreparationIsToldAndComesBeforeEachStart: its stage is the message of a node that starts, and a process that ended is prepared for again.
func TestPreparationIsToldAndComesBeforeEachStart(t *testing.T) {
	e := newEnv(t)
	var calls atomic.Int64
	release := make(chan struct{})
	p := prepared{children: e.nodes, prepare: func(ctx context.Context, _ engine.NodeSpec, tell func(string)) error {
		calls.Add(1)
		tell("fetching")
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	e.engine = p
	e.start()
	e.want(e.spec)
	s := e.await(func(s engine.NodeStatus) bool { return s.Message == "fetching" })
	if s.State != engine.Starting || s.PID != 0 {
		t.Errorf("while it is prepared, the node is %+v", s)
	}
	close(release)
	first := e.await(ready)
	must(t, syscall.Kill(first.PID, syscall.SIGKILL))
	e.await(func(s engine.NodeStatus) bool { return ready(s) && s.PID != first.PID })
	if n := calls.Load(); n != 2 {
		t.Errorf("prepared %d times for two starts", n)
	}
}

// TestPreparationThatFailsIsAFailedStart: it is told, tried again, and another node is looked after meanwhile (A2).
func TestPreparationThatFailsIsAFailedStart(t *testing.T) {
	e := newEnv(t)
	var calls atomic.Int64
	e.engine = prepared{children: e.nodes, prepare: func(_ context.Context, s engine.NodeSpec, _ func(string)) error {
		if s.ID == 1 && calls.Add(1) < 3 {
			return errors.New("there is no Java")
		}
		return nil
	}}
	e.start()
	e.want(e.spec)
	failed := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Failed })
	if !strings.Contains(failed.Message, "there is no Java") {
		t.Errorf("the message is %q", failed.Message)
	}
	if s := e.await(ready); s.Restarts != 2 {
		t.Errorf("%d failed starts were counted, of 2", s.Restarts)
	}
}

// TestPreparationEndsWhenTheSpecAsksForSomethingElse: a node that is to be stopped does not wait for a download.
func TestPreparationEndsWhenTheSpecAsksForSomethingElse(t *testing.T) {
	e := newEnv(t)
	e.engine = prepared{children: e.nodes, prepare: func(ctx context.Context, s engine.NodeSpec, tell func(string)) error {
		tell(fmt.Sprint("round ", s.Round))
		if s.Round == 2 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	e.start()
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.Message == "round 0" })
	e.spec.Zone = "b" // nothing that the process depends on
	e.want(e.spec)
	e.spec.Stopped = true
	e.want(e.spec)
	if s := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Stopped }); s.Restarts != 0 {
		t.Errorf("a preparation that was called off counts as a failed start: %+v", s)
	}
	e.spec.Stopped, e.spec.Round = false, 1
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.Message == "round 1" })
	e.spec.Round = 2
	e.want(e.spec)
	if s := e.await(ready); s.Round != 2 {
		t.Errorf("it runs for round %d", s.Round)
	}
}

// TestAgentStopsWhilePreparing: nothing waits for a download that nobody needs.
func TestAgentStopsWhilePreparing(t *testing.T) {
	e := newEnv(t)
	e.engine = prepared{children: e.nodes, prepare: func(ctx context.Context, _ engine.NodeSpec, tell func(string)) error {
		tell("waiting")
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := e.start()
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.Message == "waiting" })
	stop()
}

// TestNodeThatIsAliveAndDoesNotServeIsLeftAlone: it is shown as one that starts, and outlives the time after which a silent one is killed.
func TestNodeThatIsAliveAndDoesNotServeIsLeftAlone(t *testing.T) {
	e := newEnv(t)
	var fenced atomic.Bool
	probed := make(chan struct{}, 1)
	e.engine = prepared{children: e.nodes, prepare: nothing, probe: func() error {
		select {
		case probed <- struct{}{}:
		default:
		}
		if fenced.Load() {
			return fmt.Errorf("%w: no leader", engine.ErrAlive)
		}
		return nil
	}}
	e.start()
	e.want(e.spec)
	first := e.await(ready)
	fenced.Store(true)
	s := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Starting })
	if !strings.Contains(s.Message, "no leader") {
		t.Errorf("the message is %q", s.Message)
	}
	for range 5 { // one every 250 ms, and a silent node is killed after 300
		<-probed
	}
	fenced.Store(false)
	if again := e.await(ready); again.PID != first.PID {
		t.Errorf("process %d was replaced by %d", first.PID, again.PID)
	}
}

// TestDeafNodeIsNotSignalled: SIGUSR1 would end it.
func TestDeafNodeIsNotSignalled(t *testing.T) {
	e := newEnv(t)
	e.engine = prepared{
		children: e.nodes, prepare: nothing, manners: func(engine.NodeSpec) engine.Manners { return engine.Manners{Deaf: true} },
	}
	e.spec.Drain = true
	stop := e.start()
	e.want(e.spec)
	e.await(ready)
	stop()
	if exists(e.folder, "drained") {
		t.Error("it was told to drain")
	}
}

// apart is prepared, with another folder for nodes above 100: what holds the others up does not hold up these.
type apart struct {
	folder string
	prepared
}

func (a apart) Command(s engine.NodeSpec) (string, []string, error) {
	if s.ID > 100 {
		return children{folder: a.folder}.Command(s)
	}
	return a.prepared.Command(s)
}

// TestLastOnesEndLast: a node that others of its cluster need to end well ends after them when the agent stops.
func TestLastOnesEndLast(t *testing.T) {
	e := newEnv(t)
	e.engine = apart{t.TempDir(), prepared{children: e.nodes, prepare: nothing, manners: func(s engine.NodeSpec) engine.Manners {
		return engine.Manners{Last: s.ID > 100, End: 10 * time.Second}
	}}}
	stop := e.start()
	last := newEnv(t).spec // another address
	last.ID = 101
	e.want(last)
	e.want(e.spec)
	first := e.await(ready)
	lastEnv := &env{t: t, store: e.store, spec: last}
	lastEnv.await(ready)
	patient := filepath.Join(e.folder, "patient") // with it, a node ends at a second signal
	must(t, os.WriteFile(patient, nil, 0o600))
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
	}()
	e.file("asked")
	if s := lastEnv.await(ready); !alive(s.PID) {
		t.Error("the last node has ended before the first")
	}
	must(t, os.Remove(patient))
	must(t, syscall.Kill(first.PID, syscall.SIGINT))
	<-done
}

// fetching is prepared, with another version to be had.
type fetching struct {
	prepared
	fetch func(ctx context.Context, s engine.NodeSpec) error
}

func (f fetching) Fetch(ctx context.Context, s engine.NodeSpec, _ func(string)) error {
	return f.fetch(ctx, s)
}

// Command depends on the version, as that of a program that has several does.
func (f fetching) Command(s engine.NodeSpec) (string, []string, error) {
	path, args, err := f.children.Command(s)
	return path, append(args[:2:2], args[2]+"/"+s.Version), err
}

// TestVersionIsFetchedWhileTheOldOneRuns: the process is stopped once the other version is there, and goes on where it cannot be had (A9).
func TestVersionIsFetchedWhileTheOldOneRuns(t *testing.T) {
	e := newEnv(t)
	for _, v := range []string{"one", "two"} {
		must(t, os.Mkdir(filepath.Join(e.folder, v), 0o700))
	}
	asked, answer := make(chan string), make(chan error)
	e.engine = fetching{prepared{children: e.nodes, prepare: nothing}, func(ctx context.Context, s engine.NodeSpec) error {
		select {
		case asked <- s.Version:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-answer:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	stop := e.start()
	e.spec.Version = "one"
	e.want(e.spec)
	first := e.await(ready)
	e.spec.Version, e.spec.Round = "two", 1
	e.want(e.spec)
	if v := <-asked; v != "two" {
		t.Errorf("%q is fetched", v)
	}
	answer <- errors.New("no network")
	s := e.await(func(s engine.NodeStatus) bool { return s.Refused == 1 })
	if s.PID != first.PID || !alive(first.PID) || !strings.Contains(s.Message, "no network") {
		t.Errorf("after a version that cannot be had: %+v", s)
	}
	e.spec.Round = 2
	e.want(e.spec)
	<-asked
	if !alive(first.PID) {
		t.Error("the process was stopped before the other version was there")
	}
	answer <- nil
	e.await(func(s engine.NodeStatus) bool { return ready(s) && s.Round == 2 && s.PID != first.PID })
	e.spec.Version = "one"
	e.want(e.spec)
	<-asked
	stop() // nothing waits for it
}
