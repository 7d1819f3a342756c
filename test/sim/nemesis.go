package sim

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// act is one end of a fault.
type act struct {
	at    time.Duration
	fault Fault
	begin bool
}

// afflict has the plan's faults happen, one after the other, from now on.
func (w *World) afflict(ctx context.Context) {
	var acts []act
	for _, f := range w.plan.Faults {
		acts = append(acts, act{f.At, f, true}, act{f.At + f.For, f, false})
	}
	slices.SortStableFunc(acts, func(a, b act) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	for _, a := range acts {
		if a.at > w.plan.Load+2*time.Second || !sleep(ctx, time.Until(began.Add(a.at))) {
			break
		}
		m := w.machines[a.fault.Broker]
		if a.begin {
			w.event("%v", a.fault)
			w.strike(m, a.fault)
		} else {
			w.relieve(m, a.fault)
		}
	}
}

func (w *World) strike(m *machine, f Fault) {
	other := w.machines[f.Other%len(w.machines)].name
	alter := func(s service, change func(*mood)) {
		m.with(func(p *process) { p.gate.change(func() { change(&p.gate.moods[s]) }) })
	}
	switch f.Kind {
	case Kill:
		m.kill(false)
	case PowerOff:
		m.kill(true)
	case CrashAt:
		m.with(func(p *process) {
			p.gate.change(func() {
				p.gate.kind, p.gate.count, p.gate.after = step(f.Step), f.Count, f.After
				p.gate.strike = func() {
					w.event("broker %d crashes at step %d", m.id, f.Step)
					m.kill(true)
				}
			})
		})
	case Freeze:
		m.with(func(p *process) { p.freeze(true) })
	case CutEtcd:
		alter(etcd, func(m *mood) { m.away = true })
	case CutStore:
		alter(store, func(m *mood) { m.away = true })
	case CutPeers:
		w.network.Cut(m.name, other, true)
	case CutClient:
		w.network.Cut(m.name, clientMachine(f.Other), true)
	case Break:
		w.network.Break(m.name, other)
	case BadEtcd:
		alter(etcd, func(m *mood) { m.fail, m.lose, m.delay = 0.2, 0.2, 100*time.Millisecond })
	case BadStore:
		alter(store, func(m *mood) { m.fail, m.lose, m.delay = 0.3, 0.3, time.Second })
	case BadDisk:
		alter(device, func(m *mood) { m.fail = 0.2 })
	case FullDisk:
		m.mu.Lock()
		m.disk.SetCapacity(m.disk.Used() + int64(f.Count)*300)
		m.mu.Unlock()
	case LoseLease:
		m.with(func(p *process) { p.kv.expire() })
	case LoseWatch:
		m.with(func(p *process) { p.kv.loseWatches() })
	case Restart:
		m.with(func(p *process) { p.stop() })
	case Drain:
		m.with(func(p *process) {
			select {
			case p.drain <- struct{}{}:
			default:
			}
		})
	case Away:
		m.setDown(true)
		m.kill(f.After)
	case Jump:
		by := -f.For
		if f.After {
			by = f.For
		}
		m.with(func(p *process) { p.clock.jump(by) })
	}
}

func (w *World) relieve(m *machine, f Fault) {
	usual := func(s service) {
		m.with(func(p *process) { p.gate.change(func() { p.gate.moods[s] = calm()[s] }) })
	}
	switch f.Kind {
	case Freeze:
		m.with(func(p *process) { p.freeze(false) })
	case CutEtcd, BadEtcd:
		usual(etcd)
	case CutStore, BadStore:
		usual(store)
	case BadDisk:
		usual(device)
	case CutPeers:
		w.network.Cut(m.name, w.machines[f.Other].name, false)
	case CutClient:
		w.network.Cut(m.name, clientMachine(f.Other), false)
	case FullDisk:
		m.mu.Lock()
		m.disk.SetCapacity(0)
		m.mu.Unlock()
	case Away:
		m.setDown(false)
	case Kill, PowerOff, CrashAt, Break, LoseLease, LoseWatch, Restart, Drain, Jump:
	}
}

// heal ends all that is wrong.
func (w *World) heal() {
	w.event("all is well")
	w.network.Join()
	for _, m := range w.machines {
		m.setDown(false)
		m.mu.Lock()
		m.disk.SetCapacity(0)
		m.mu.Unlock()
		m.with(func(p *process) {
			p.gate.change(func() { p.gate.moods, p.gate.strike = calm(), nil })
			p.freeze(false)
		})
	}
}

func (m *machine) setDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
	m.wakeUp()
}
