package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/agent"
	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/proc"
	"millrace/engine"
)

// TestMain lets the test binary stand in for a broker: `child ADDRESS FOLDER`
// listens there until SIGTERM, after it has left a file named after its PID. At
// SIGUSR1 it leaves a file "drained". With a file "patient" in the folder it
// ends only at a second signal, which it notes in a file "hurried".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "child" {
		os.Exit(child(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func child(address, folder string) int {
	if address == "broken" {
		return 3
	}
	stop, drain := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(drain, syscall.SIGUSR1)
	note := func(name string) { _ = os.WriteFile(filepath.Join(folder, name), nil, 0o600) }
	go func() {
		<-drain
		note("drained")
	}()
	l, err := net.Listen("tcp", address)
	if err != nil {
		return 1
	}
	defer l.Close()
	if err := os.WriteFile(filepath.Join(folder, strconv.Itoa(os.Getpid())), nil, 0o600); err != nil {
		return 1
	}
	go answer(l)
	if first := <-stop; first == syscall.SIGINT {
		note("told to end at once")
	}
	if exists(folder, "patient") {
		note("asked")
		if second := <-stop; second == syscall.SIGINT {
			note("interrupted")
		}
		note("hurried")
	}
	return 0
}

// answer sends a byte to everybody who connects.
func answer(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte{1})
		_ = conn.Close()
	}
}

func exists(folder, name string) bool {
	_, err := os.Stat(filepath.Join(folder, name))
	return err == nil
}

// children runs the test binary as nodes. The zero value of the rest counts no
// partitions, and has nothing to delete.
type children struct {
	folder string
	owners func() map[int32]int
	remove func() error
}

func (c children) Owned(context.Context, engine.NodeSpec) (map[int32]int, error) {
	return c.owners(), nil
}

func (c children) Remove(engine.NodeSpec) error { return c.remove() }

func (c children) Command(s engine.NodeSpec) (string, []string, error) {
	self, err := proc.Self()
	return self, []string{"child", s.Listen, c.folder}, err
}

// Usable refuses the program of this name only.
func (c children) Usable(_ context.Context, s engine.NodeSpec) error {
	if s.Binary == "/nowhere" {
		return errors.New("no such file")
	}
	return nil
}

func (c children) Check(ctx context.Context, s engine.NodeSpec) error {
	if s.Listen == "broken" {
		return nil // it ends by itself
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return err
	}
	return l.Close()
}

func (c children) Probe(ctx context.Context, s engine.NodeSpec) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Listen)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

type env struct {
	t      *testing.T
	store  kv.KV
	folder string
	spec   engine.NodeSpec
	nodes  children
	engine engine.Engine // nil: nodes
	purge  func(context.Context, engine.NodeSpec) error
}

func newEnv(t *testing.T) *env {
	e := &env{t: t, store: kv.NewMemory(), folder: t.TempDir()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	e.nodes.folder = e.folder
	must(t, l.Close())
	e.spec = engine.NodeSpec{Format: engine.First, Host: "h", Cluster: "c", ID: 1, Engine: "child", Listen: address}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (e *env) want(spec engine.NodeSpec) {
	e.t.Helper()
	b, err := engine.Encode(spec)
	must(e.t, err)
	_, err = e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(spec.Key(), b)})
	must(e.t, err)
}

// start runs an agent; the function that it returns stops it and waits.
func (e *env) start() (stop func()) {
	var eng engine.Engine = e.nodes
	if e.engine != nil {
		eng = e.engine
	}
	a := agent.New(agent.Config{Host: engine.Host{Name: "h"}, LogDir: e.folder, Hang: 300 * time.Millisecond}, agent.World{
		KV: e.store, FS: disk.OS(""), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
		Engines: map[string]engine.Engine{"child": eng}, Purge: e.purge,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			must(e.t, <-done)
		}
	}
	e.t.Cleanup(stop)
	return stop
}

// await follows the node's reports until ok.
func (e *env) await(ok func(engine.NodeStatus) bool) engine.NodeStatus {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	changes := e.store.Watch(ctx, engine.StatusPrefix("h"), 0)
	for {
		item, err := e.store.Get(ctx, e.spec.StatusKey())
		if err == nil {
			s, err := engine.Decode[engine.NodeStatus](item.Value)
			must(e.t, err)
			if ok(s) {
				return s
			}
		} else if !errors.Is(err, kv.ErrNotFound) {
			e.t.Fatal(err)
		}
		if _, open := <-changes; !open {
			e.t.Fatal("the node did not get there in time")
		}
	}
}

func ready(s engine.NodeStatus) bool { return s.State == engine.Ready }

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestNodeRunsIsRestartedAndStops(t *testing.T) {
	e := newEnv(t)
	stop := e.start()
	e.want(e.spec)
	first := e.await(ready)
	must(t, syscall.Kill(first.PID, syscall.SIGKILL))
	second := e.await(func(s engine.NodeStatus) bool { return ready(s) && s.PID != first.PID })
	if second.Restarts != 1 {
		t.Errorf("restarts %d, want 1", second.Restarts)
	}
	stop()
	if alive(second.PID) {
		t.Error("the node runs on after the agent has stopped")
	}
	if s := e.await(func(engine.NodeStatus) bool { return true }); s.State != engine.Stopped {
		t.Errorf("last state %s", s.State)
	}
}

func TestRunningNodeIsAdopted(t *testing.T) {
	e := newEnv(t)
	p, err := proc.Start(context.Background(), procSpec(t, e))
	must(t, err)
	b, err := engine.Encode(engine.NodeStatus{Format: engine.First, State: engine.Ready, PID: p.PID(), Began: p.Started()})
	must(t, err)
	_, err = e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(e.spec.StatusKey(), b)})
	must(t, err)
	e.want(e.spec)
	stop := e.start()
	s := e.await(func(s engine.NodeStatus) bool { return ready(s) && !s.Changed.IsZero() })
	if s.PID != p.PID() {
		t.Fatalf("node %d runs, want the adopted %d", s.PID, p.PID())
	}
	stop()
	<-p.Done()
}

func TestOldReportsAreCorrected(t *testing.T) {
	e := newEnv(t)
	p, err := proc.Start(context.Background(), procSpec(t, e))
	must(t, err)
	report := engine.NodeStatus{Format: engine.First, State: engine.Ready, PID: p.PID(), Began: p.Started()}
	settled := func() engine.NodeState {
		t.Helper()
		b, err := engine.Encode(report)
		must(t, err)
		_, err = e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(e.spec.StatusKey(), b)})
		must(t, err)
		must(t, agent.New(agent.Config{Host: engine.Host{Name: "h"}}, agent.World{KV: e.store, Clock: clock.System{}}).Settle(context.Background()))
		return e.await(func(engine.NodeStatus) bool { return true }).State
	}
	if s := settled(); s != engine.Ready {
		t.Errorf("a running node is %s", s)
	}
	must(t, p.Kill())
	<-p.Done()
	if s := settled(); s != engine.Stopped {
		t.Errorf("a node that is gone is %s", s)
	}
}

func procSpec(t *testing.T, e *env) proc.Spec {
	path, args, err := e.nodes.Command(e.spec)
	must(t, err)
	return proc.Spec{Path: path, Args: args, Discard: true}
}

func TestChangedAndRemovedSpecs(t *testing.T) {
	e := newEnv(t)
	e.start()
	e.want(e.spec)
	first := e.await(ready)
	e.spec.Stopped = true
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.State == engine.Stopped })
	if alive(first.PID) {
		t.Fatal("a stopped node runs on")
	}
	e.spec.Stopped = false
	e.want(e.spec)
	second := e.await(ready)
	_, err := e.store.Txn(context.Background(), nil, []kv.Op{kv.Delete(e.spec.Key())})
	must(t, err)
	e.await(func(s engine.NodeStatus) bool { return s.State == engine.Stopped })
	if alive(second.PID) {
		t.Fatal("a removed node runs on")
	}
}

// A5: somebody else at the node's address is not taken for the node, and it starts once the address is free.
func TestTakenAddressIsToldAndNotTakenForReady(t *testing.T) {
	e := newEnv(t)
	other, err := net.Listen("tcp", e.spec.Listen)
	must(t, err)
	defer other.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changes := e.store.Watch(ctx, engine.StatusPrefix("h"), 0)
	e.start()
	e.want(e.spec)
	for seen := 0; seen < 3; {
		event, open := <-changes
		if !open {
			t.Fatal("no more reports")
		}
		s, err := engine.Decode[engine.NodeStatus](event.Item.Value)
		must(t, err)
		if s.State != engine.Failed || !strings.Contains(s.Message, "address already in use") {
			t.Fatalf("reported %+v", s)
		}
		seen++
	}
	must(t, other.Close())
	e.await(ready)
}

func TestFailingNodeSaysWhyAndKeepsNoOtherWaiting(t *testing.T) {
	e := newEnv(t)
	e.start()
	broken := e.spec
	broken.ID, broken.Listen = 2, "broken"
	e.want(broken)
	e.want(e.spec)
	e.await(ready)
	e.spec = broken
	s := e.await(func(s engine.NodeStatus) bool { return s.Restarts >= 2 })
	if !strings.Contains(s.Message, "code 3") && s.State == engine.Failed {
		t.Errorf("message %q does not say how the node ended", s.Message)
	}
}

// file waits for a file that a child leaves.
func (e *env) file(name string) {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !exists(e.folder, name); {
		if time.Now().After(deadline) {
			e.t.Fatalf("no file %q", name)
		}
		runtime.Gosched()
	}
}

func TestHungNodeIsKilledAndStartedAgain(t *testing.T) {
	e := newEnv(t)
	stop := e.start()
	e.want(e.spec)
	first := e.await(ready)
	must(t, syscall.Kill(first.PID, syscall.SIGSTOP))
	e.await(func(s engine.NodeStatus) bool {
		return s.State == engine.Failed && strings.Contains(s.Message, "hung") || ready(s) && s.PID != first.PID
	})
	second := e.await(func(s engine.NodeStatus) bool { return ready(s) && s.PID != first.PID })
	if alive(first.PID) || second.Restarts != 1 {
		t.Errorf("the hung process lives: %v, restarts %d", alive(first.PID), second.Restarts)
	}
	stop()
}

// TestAdoptedNodeThatHangsIsKilled: it has served before, so its silence is not that of a start.
func TestAdoptedNodeThatHangsIsKilled(t *testing.T) {
	e := newEnv(t)
	p, err := proc.Start(context.Background(), procSpec(t, e))
	must(t, err)
	e.file(strconv.Itoa(p.PID()))
	must(t, p.Signal(syscall.SIGSTOP))
	b, err := engine.Encode(engine.NodeStatus{Format: engine.First, State: engine.Ready, PID: p.PID(), Began: p.Started()})
	must(t, err)
	_, err = e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(e.spec.StatusKey(), b)})
	must(t, err)
	e.want(e.spec)
	e.start()
	e.await(func(s engine.NodeStatus) bool { return ready(s) && s.PID != p.PID() && s.PID != 0 })
	<-p.Done()
}

func TestNodeIsToldToDrain(t *testing.T) {
	e := newEnv(t)
	e.start()
	e.want(e.spec)
	first := e.await(ready)
	e.spec.Drain = true
	e.want(e.spec)
	e.file("drained")
	if s := e.await(ready); s.PID != first.PID {
		t.Error("it was started anew")
	}
	must(t, os.Remove(filepath.Join(e.folder, "drained")))
	must(t, syscall.Kill(first.PID, syscall.SIGKILL))
	e.file("drained") // the next process is told too
}

func TestPartitionsAreCounted(t *testing.T) {
	e := newEnv(t)
	var mu sync.Mutex
	owners := map[int32]int{1: 3}
	set := func(o map[int32]int) { mu.Lock(); owners = o; mu.Unlock() }
	e.nodes.owners = func() map[int32]int { mu.Lock(); defer mu.Unlock(); return owners }
	e.start()
	e.want(e.spec)
	if s := e.await(ready); s.Owners != nil {
		t.Errorf("counted without being asked: %v", s.Owners)
	}
	e.spec.Count = 7
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.Counted == 7 && s.Owners[1] == 3 })
	set(map[int32]int{1: 0, 2: 3})
	e.await(func(s engine.NodeStatus) bool { return s.Owners[2] == 3 && s.Owners[1] == 0 })
	e.spec.Count = 8
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.Counted == 8 })
	e.spec.Count = 0
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.Owners == nil && s.Counted == 0 })
}

func TestNewRoundIsANewProcess(t *testing.T) {
	e := newEnv(t)
	stop := e.start()
	e.want(e.spec)
	first := e.await(ready)
	e.spec.Round = 5
	e.want(e.spec)
	second := e.await(func(s engine.NodeStatus) bool { return ready(s) && s.Round == 5 })
	if second.PID == first.PID || second.Restarts != 0 {
		t.Errorf("pid %d after %d, %d restarts that nobody asked for", second.PID, first.PID, second.Restarts)
	}
	stop()
}

// TestAdoptedNodeOfAnEarlierRound: the round went on while no agent ran.
func TestAdoptedNodeOfAnEarlierRound(t *testing.T) {
	e := newEnv(t)
	p, err := proc.Start(context.Background(), procSpec(t, e))
	must(t, err)
	e.file(strconv.Itoa(p.PID()))
	b, err := engine.Encode(engine.NodeStatus{Format: engine.First, State: engine.Ready, PID: p.PID(), Began: p.Started(), Round: 4})
	must(t, err)
	_, err = e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(e.spec.StatusKey(), b)})
	must(t, err)
	e.spec.Round = 5
	e.want(e.spec)
	e.start()
	e.await(func(s engine.NodeStatus) bool { return ready(s) && s.Round == 5 && s.PID != p.PID() })
	<-p.Done()
}

func TestStopHasNoTimeForHandOvers(t *testing.T) {
	e := newEnv(t)
	must(t, os.WriteFile(filepath.Join(e.folder, "patient"), nil, 0o600))
	stop := e.start()
	e.want(e.spec)
	e.await(ready)
	e.spec.Stopped = true
	e.want(e.spec)
	e.file("asked")
	if exists(e.folder, "hurried") {
		t.Error("a node that hands over is hurried while the agent runs")
	}
	stop()
	if !exists(e.folder, "hurried") {
		t.Error("the node was not told a second time")
	}
}

func TestRemovedNodeLeavesNothing(t *testing.T) {
	e := newEnv(t)
	tried := 0
	e.nodes.remove = func() error {
		if tried++; tried == 1 {
			return errors.New("disk fell off")
		}
		return nil
	}
	e.start()
	e.want(e.spec)
	first := e.await(ready)
	e.spec.Stopped, e.spec.Remove = true, true
	e.want(e.spec)
	s := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Failed || s.State == engine.Removed })
	if s.State == engine.Failed && !strings.Contains(s.Message, "fell off") {
		t.Errorf("message %q", s.Message)
	}
	e.want(e.spec) // wakes it before its pause is over
	e.await(func(s engine.NodeStatus) bool { return s.State == engine.Removed })
	if alive(first.PID) || tried != 2 {
		t.Errorf("alive %v, %d tries", alive(first.PID), tried)
	}
}

// A10: the object store is emptied last, only where the spec says so, and Purged is said only when it is.
func TestPurge(t *testing.T) {
	e := newEnv(t)
	var did []string
	e.nodes.remove = func() error { did = append(did, "remove"); return nil }
	e.purge = func(_ context.Context, s engine.NodeSpec) error {
		if did = append(did, "purge "+s.Cluster); len(did) == 3 {
			return errors.New("bucket is away")
		}
		return nil
	}
	e.start()
	e.want(e.spec)
	first := e.await(ready)
	e.spec.Stopped, e.spec.Remove = true, true
	e.want(e.spec)
	if s := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Removed }); s.Purged || alive(first.PID) {
		t.Errorf("not told to purge: %+v", s)
	}
	if !exists(e.folder, "told to end at once") {
		t.Error("a node whose data goes was asked to hand over")
	}
	e.spec.Purge = true
	e.want(e.spec)
	if s := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Failed }); s.Purged || !strings.Contains(s.Message, "bucket is away") {
		t.Errorf("while the store is away: %+v", s)
	}
	e.want(e.spec)
	e.await(func(s engine.NodeStatus) bool { return s.State == engine.Removed && s.Purged })
	if got := strings.Join(did, ", "); got != "remove, remove, purge c, remove, purge c" {
		t.Errorf("did %s", got)
	}
}

func TestPurgeWithoutTheMeansIsToldSo(t *testing.T) {
	e := newEnv(t)
	e.nodes.remove = func() error { return nil }
	e.spec.Stopped, e.spec.Remove, e.spec.Purge = true, true, true
	e.want(e.spec)
	e.start()
	if s := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Failed }); s.Purged || !strings.Contains(s.Message, "cannot delete") {
		t.Errorf("%+v", s)
	}
}

// What an earlier agent left running of a broker that has moved is stopped and deleted by the next.
func TestMovedNodeIsStoppedWhenItsAgentIsBack(t *testing.T) {
	e := newEnv(t)
	removed := false
	e.nodes.remove = func() error { removed = true; return nil }
	p, err := proc.Start(context.Background(), procSpec(t, e))
	must(t, err)
	b, err := engine.Encode(engine.NodeStatus{Format: engine.First, State: engine.Ready, PID: p.PID(), Began: p.Started()})
	must(t, err)
	_, err = e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(e.spec.StatusKey(), b)})
	must(t, err)
	e.spec.Stopped, e.spec.Remove, e.spec.Moved = true, true, true
	e.want(e.spec)
	e.start()
	e.await(func(s engine.NodeStatus) bool { return s.State == engine.Removed && s.PID == 0 })
	<-p.Done()
	if !removed {
		t.Error("its data was not deleted")
	}
}
