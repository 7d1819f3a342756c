package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"millrace/agent"
	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/engine"
)

// registered is an agent of a host that has no nodes.
func registered(store kv.KV, holder, boot string) *agent.Agent {
	return agent.New(agent.Config{Host: engine.Host{Name: "h", Address: "10.0.0." + holder, Version: "1", Holder: holder, Boot: boot}},
		agent.World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
}

// record is the host's record; ok is false where there is none.
func record(t *testing.T, store kv.KV) (h engine.Host, lease kv.LeaseID, ok bool) {
	t.Helper()
	item, err := store.Get(context.Background(), engine.HostPrefix+"h")
	if errors.Is(err, kv.ErrNotFound) {
		return h, 0, false
	}
	must(t, err)
	h, err = engine.Decode[engine.Host](item.Value)
	must(t, err)
	return h, item.Lease, true
}

// run is Run until stop; done has its error.
func run(a *agent.Agent) (stop func(), done chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	done = make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return cancel, done
}

func TestHostIsRegisteredWhileItsAgentRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		a := registered(store, "1", "boot")
		must(t, a.Join(context.Background()))
		stop, done := run(a)
		time.Sleep(time.Minute)
		if h, lease, ok := record(t, store); !ok || lease == 0 || h.Address != "10.0.0.1" || !a.Snapshot().Joined {
			t.Errorf("record %+v under lease %d (%v)", h, lease, ok)
		}
		stop()
		must(t, <-done)
		if h, _, ok := record(t, store); ok || a.Snapshot().Joined {
			t.Errorf("after the stop: %+v", h)
		}
	})
}

func TestNameOfAnotherLiveHostIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		must(t, registered(store, "1", "boot").Join(context.Background()))
		began := time.Now()
		err := registered(store, "2", "boot").Join(context.Background())
		if !errors.Is(err, agent.ErrTaken) || !strings.Contains(err.Error(), "10.0.0.1") || !strings.Contains(err.Error(), "--name") {
			t.Errorf("error %v", err)
		}
		if time.Since(began) > 0 {
			t.Errorf("said after %v", time.Since(began))
		}
		if h, _, _ := record(t, store); h.Holder != "1" {
			t.Errorf("the record is %+v", h)
		}
	})
}

// racing lets another agent register between the look and the write of the first.
type racing struct {
	kv.KV
	other func()
}

func (r *racing) Txn(ctx context.Context, cond []kv.Cond, ops []kv.Op) (int64, error) {
	if other := r.other; other != nil {
		r.other = nil
		other()
	}
	return r.KV.Txn(ctx, cond, ops)
}

func TestTwoAgentsOfOneNameAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		raced := &racing{KV: store, other: func() { must(t, registered(store, "2", "boot").Join(context.Background())) }}
		if err := registered(raced, "1", "boot").Join(context.Background()); !errors.Is(err, agent.ErrTaken) {
			t.Errorf("error %v", err)
		}
		if h, _, _ := record(t, store); h.Holder != "2" {
			t.Errorf("the record is %+v", h)
		}
	})
}

// An agent that was killed leaves its record for a while: the next one on the same directory takes it over at once.
func TestNextAgentOfTheSameHostJoinsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		must(t, registered(store, "1", "boot").Join(context.Background()))
		_, first, _ := record(t, store)
		began := time.Now()
		must(t, registered(store, "1", "boot").Join(context.Background()))
		if _, lease, _ := record(t, store); lease == first || time.Since(began) > 0 {
			t.Errorf("the lease was %d and is %d, after %v", first, lease, time.Since(began))
		}
	})
}

// After a reboot the former record ends by itself; a copy of the directory on another machine finds that it does not.
func TestSameDirectoryElsewhereWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		must(t, registered(store, "1", "boot").Join(context.Background()))
		_, lease, _ := record(t, store)
		err := registered(store, "1", "copy").Join(context.Background())
		if !errors.Is(err, agent.ErrTaken) {
			t.Errorf("a copy beside a live agent: %v", err)
		}
		joined := make(chan error, 1)
		go func() { joined <- registered(store, "1", "second boot").Join(context.Background()) }()
		time.Sleep(3 * time.Second)
		store.ExpireLease(lease)
		must(t, <-joined)
		if h, _, _ := record(t, store); h.Boot != "second boot" {
			t.Errorf("record %+v", h)
		}
	})
}

func TestHostRegistersAgainAfterItsLeaseWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		a := registered(store, "1", "boot")
		must(t, a.Join(context.Background()))
		stop, done := run(a)
		store.SetAway(true)
		time.Sleep(time.Minute)
		if a.Snapshot().Joined {
			t.Error("it takes itself for registered after a minute without the store")
		}
		store.SetAway(false)
		time.Sleep(time.Minute)
		if _, lease, ok := record(t, store); !ok || lease == 0 || !a.Snapshot().Joined {
			t.Error("it has not registered again")
		}
		stop()
		must(t, <-done)
	})
}

func TestAgentEndsWhenItsNameWasTakenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		a := registered(store, "1", "boot")
		must(t, a.Join(context.Background()))
		stop, done := run(a)
		defer time.AfterFunc(time.Hour, stop).Stop() // it would run on
		_, lease, _ := record(t, store)
		h, err := engine.Encode(engine.Host{Format: engine.First, Name: "h", Holder: "2"})
		must(t, err)
		_, err = store.Txn(context.Background(), nil, []kv.Op{kv.Put(engine.HostPrefix+"h", h)})
		must(t, err)
		store.ExpireLease(lease)
		if err := <-done; !errors.Is(err, agent.ErrTaken) {
			t.Errorf("error %v", err)
		}
		if h, _, _ := record(t, store); h.Holder != "2" {
			t.Errorf("the other's record is %+v", h)
		}
	})
}

// With another host that could take over, a node is not hurried when its agent stops.
func TestNodesHandOverWhereThereAreOtherHosts(t *testing.T) {
	e := newEnv(t)
	must(t, os.WriteFile(e.folder+"/patient", nil, 0o600))
	h, err := engine.Encode(engine.Host{Format: engine.First, Name: "other"})
	must(t, err)
	_, err = e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(engine.HostPrefix+"other", h)})
	must(t, err)
	stop := e.start()
	e.want(e.spec)
	pid := e.await(func(s engine.NodeStatus) bool { return s.State == engine.Ready }).PID
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	e.file("asked")
	must(t, syscall.Kill(pid, syscall.SIGTERM)) // it has handed over; the agent's own word would be SIGINT, and have come before
	<-stopped
	if exists(e.folder, "interrupted") {
		t.Error("the node was hurried")
	}
}

// A program that this host cannot run stops nothing: the running process goes on, and the status says why.
func TestProgramThatCannotBeRunIsRefused(t *testing.T) {
	e := newEnv(t)
	stop := e.start()
	e.want(e.spec)
	before := e.await(ready)
	other := e.spec
	other.Binary, other.Round = "/nowhere", 7
	e.want(other)
	s := e.await(func(s engine.NodeStatus) bool { return s.Refused == 7 })
	if s.PID != before.PID || s.State != engine.Ready || s.Round != before.Round || !strings.Contains(s.Message, "no such file") {
		t.Errorf("status %+v, before %+v", s, before)
	}
	e.want(e.spec)
	s = e.await(func(s engine.NodeStatus) bool { return s.Refused == 0 })
	if s.PID != before.PID || s.Message != "" {
		t.Errorf("status %+v, before %+v", s, before)
	}
	stop()
}

// What a newer control plane asks for, or an engine that is not here, is answered and not passed over.
func TestSpecThatCannotBeUsedIsReported(t *testing.T) {
	e := newEnv(t)
	stop := e.start()
	_, err := e.store.Txn(context.Background(), nil, []kv.Op{kv.Put(e.spec.Key(), []byte(`{"format":99}`))})
	must(t, err)
	e.await(func(s engine.NodeStatus) bool {
		return s.State == engine.Failed && strings.Contains(s.Message, "newer version")
	})
	other := e.spec
	other.Engine = "steam"
	e.want(other)
	e.await(func(s engine.NodeStatus) bool { return strings.Contains(s.Message, "steam") })
	e.want(e.spec)
	e.await(ready)
	stop()
}
