package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"millrace/base/disk"
	"millrace/express/catalog"
	"millrace/express/node"
	"millrace/express/partition"
	"millrace/test/sim/network"
)

// machine is a host with a disk, on which one broker process runs after the other.
type machine struct {
	world *World
	id    int32
	name  string // the host part of its address
	log   *slog.Logger
	wake  chan struct{} // someone wants the supervisor to look; capacity 1

	mu      sync.Mutex
	rng     *rand.Rand
	disk    *disk.Mem
	process *process // the one that counts; nil: none runs
	down    bool     // shall not run
	starts  int
}

// process is one incarnation of a broker.
type process struct {
	machine *machine
	gate    *gate
	clock   *skewed
	host    *network.Host
	kv      *kvView
	drain   chan struct{}
	hurry   chan struct{}
	rush    func() // closes hurry, once
	stop    context.CancelFunc
	done    chan struct{} // closed when Run has returned and nothing of the process is left
	err     error         // of Run, once done is closed

	mu     sync.Mutex
	served func() []*partition.Partition
}

func newMachine(w *World, id int32, rng *rand.Rand) *machine {
	m := &machine{
		world: w, id: id, name: fmt.Sprintf("10.0.0.%d", id), log: w.log.With("broker", id),
		rng: rng, disk: disk.NewMem(), wake: make(chan struct{}, 1),
	}
	return m
}

func (m *machine) address() string { return net.JoinHostPort(m.name, "9092") }

// supervise does what an agent does: it starts the broker, and again whenever it has ended, until ctx ends.
func (m *machine) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		p, down := m.process, m.down
		if p == nil && !down {
			p = m.startLocked(ctx)
		}
		m.mu.Unlock()
		if p == nil {
			select {
			case <-m.wake:
			case <-ctx.Done():
			}
			continue
		}
		select {
		case <-p.done:
			m.ended(p)
		case <-m.wake: // it was killed
			m.mu.Lock()
			killed := m.process != p
			m.mu.Unlock()
			if !killed {
				continue
			}
		case <-ctx.Done():
			return
		}
		m.mu.Lock()
		pause := 50*time.Millisecond + time.Duration(m.rng.Int64N(int64(time.Second)))
		m.mu.Unlock()
		sleep(ctx, pause)
	}
}

// startLocked starts a process on what is on the disk.
func (m *machine) startLocked(ctx context.Context) *process {
	w := m.world
	m.starts++
	p := &process{
		machine: m, clock: &skewed{offset: w.plan.skew(m.rng)}, drain: make(chan struct{}, 1), hurry: make(chan struct{}),
		done: make(chan struct{}), gate: newGate(ctx, rand.New(rand.NewPCG(m.rng.Uint64(), uint64(m.id)))),
	}
	p.rush = sync.OnceFunc(func() { close(p.hurry) })
	p.host = w.network.Host(m.name, p.clock.Now)
	p.kv = newKVView(p.gate, w.kv, p.clock)
	cfg := node.Config{
		ID: m.id, Zone: "zone-" + strconv.Itoa(int(m.id)), Listen: m.address(), Dir: "broker", Prefix: prefix, LogFileSize: 1 << 20,
		Memory: 32 << 20, DrainTimeout: 20 * time.Second,
	}
	if w.plan.Object {
		cfg.Log, cfg.LogGroups = catalog.LogObject, w.plan.Groups
	}
	world := node.World{
		KV: p.kv, Objects: storeView{p.gate, w.objects}, FS: disk.Faulty(m.disk, p.gate.diskHook), Clock: p.clock,
		Log: m.log.With("start", m.starts), Drain: p.drain, Hurry: p.hurry, Listen: p.host.Listen, Dial: p.host.Dial,
		Inside: p.inside,
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	m.process = p
	w.processes.Go(func() {
		defer close(p.done)
		p.err = node.Run(run, cfg, world)
		stop()
		p.host.Kill(0)
		_ = p.kv.Close()
	})
	return p
}

func (p *process) inside(served func() []*partition.Partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served = served
}

// partitions is what the process serves.
func (p *process) partitions() []*partition.Partition {
	p.mu.Lock()
	served := p.served
	p.mu.Unlock()
	if served == nil || p.gate.isDead() {
		return nil
	}
	return served()
}

// ended takes note of a process that has ended by itself, or was told to.
func (m *machine) ended(p *process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != p {
		return
	}
	m.world.event("broker %d has ended: %v", m.id, p.err)
	m.process = nil
}

// kill ends the process at once, and with it, if the machine loses its power too, what was not synced. Its heirs may start
// right away: what is left of it reaches nobody any more.
func (m *machine) kill(power bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.process
	if p == nil {
		return
	}
	var after time.Duration
	if power {
		after = time.Duration(m.rng.Int64N(int64(2 * time.Second)))
	}
	p.host.Kill(after) // first of all: an answer that is on its way is of what is durable now
	p.gate.change(func() { p.gate.dead, p.gate.strike = true, nil })
	if power {
		m.disk = m.disk.CrashClone(m.rng)
	} else {
		m.disk = m.disk.KillClone()
	}
	m.disk.SetCapacity(0)
	p.rush()
	p.stop()
	m.process = nil
	m.wakeUp()
}

func (m *machine) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// with does something to the process that runs, if one does.
func (m *machine) with(f func(p *process)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		f(m.process)
	}
}

// freeze stops the process, or lets it go on.
func (p *process) freeze(frozen bool) {
	p.gate.mu.Lock()
	same := p.gate.frozen == frozen || p.gate.dead
	p.gate.mu.Unlock()
	switch {
	case same:
	case frozen:
		p.host.Freeze()
		p.clock.stop()
		p.gate.change(func() { p.gate.frozen = true })
	default:
		p.clock.goOn()
		p.gate.change(func() { p.gate.frozen = false })
		p.host.Thaw()
	}
}

// sleep waits for d and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
