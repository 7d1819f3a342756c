package sim

import (
	"context"
	"time"

	"millrace/express/partition"
	"millrace/kafka/topic"
)

// lookEvery is how often the inside of the brokers is looked at.
const lookEvery = 37 * time.Millisecond

// watcher looks into the brokers and compares what they serve with what was served before (E5, N1).
type watcher struct {
	world  *World
	stands map[topic.Partition]stand              // where each partition was seen at its highest epoch
	lapsed map[*process]map[topic.Partition]int64 // high watermarks of processes whose lease was over when they were looked at last
}

// stand is where a partition was seen.
type stand struct {
	partition.Offsets
	broker int32
}

func (w *World) look(ctx context.Context) {
	v := &watcher{world: w, stands: map[topic.Partition]stand{}, lapsed: map[*process]map[topic.Partition]int64{}}
	for sleep(ctx, lookEvery) {
		v.once()
	}
}

// once looks at everything that is served at this moment.
func (v *watcher) once() {
	served := map[topic.Partition]stand{}
	for _, m := range v.world.machines {
		m.mu.Lock()
		p := m.process
		m.mu.Unlock()
		if p == nil {
			continue
		}
		v.lease(p)
		for _, open := range p.partitions() {
			at := stand{open.Offsets(), m.id}
			if p.gate.isDead() {
				break
			}
			// With logs in the store an owner may serve on that does not know yet that it was replaced: it cannot acknowledge.
			if other, twice := served[open.ID()]; twice && (!v.world.plan.Object || other.Epoch == at.Epoch) {
				v.world.fault("N1: %s-%d is served by broker %d at epoch %d and broker %d at epoch %d",
					open.Name(), open.ID().Index, other.broker, other.Epoch, at.broker, at.Epoch)
			}
			served[open.ID()] = at
			v.compare(open, at)
		}
	}
}

// lease judges a process whose lease is over: nothing becomes acknowledged any more (E2).
func (v *watcher) lease(p *process) {
	deadline, ok := p.kv.deadline()
	if !v.world.plan.Object || !ok || p.clock.Now().Before(deadline) {
		delete(v.lapsed, p)
		return
	}
	now, before := map[topic.Partition]int64{}, v.lapsed[p]
	for _, open := range p.partitions() {
		at := open.Offsets()
		now[open.ID()] = at.HW
		if hw, seen := before[open.ID()]; seen && hw < at.HW && !p.gate.isDead() {
			v.world.fault("E2: broker %d moves the high watermark of %s-%d from %d to %d, %v after its lease was over",
				p.machine.id, open.Name(), open.ID().Index, hw, at.HW, p.clock.Now().Sub(deadline))
		}
	}
	v.lapsed[p] = now
}

// compare judges one partition against where it was before: of two owners, the one at the higher epoch has all that the other
// ever told.
func (v *watcher) compare(p *partition.Partition, now stand) {
	if now.LSO > now.HW || now.HW > now.End || now.LogStart > now.LSO {
		v.world.fault("E5: %s-%d at broker %d: log start %d, LSO %d, HW %d, end %d",
			p.Name(), p.ID().Index, now.broker, now.LogStart, now.LSO, now.HW, now.End)
	}
	old, ok := v.stands[p.ID()]
	if !ok {
		v.stands[p.ID()] = now
		return
	}
	older, newer := old, now
	if now.Epoch < old.Epoch {
		older, newer = now, old
		if !v.world.plan.Object {
			v.world.fault("E5: %s-%d is served by broker %d at epoch %d, after broker %d had it at %d",
				p.Name(), p.ID().Index, now.broker, now.Epoch, old.broker, old.Epoch)
		}
	}
	back := func(what string, before, after int64) {
		if after < before {
			v.world.fault("E5: %s of %s-%d goes back from %d (broker %d, epoch %d) to %d (broker %d, epoch %d)",
				what, p.Name(), p.ID().Index, before, older.broker, older.Epoch, after, newer.broker, newer.Epoch)
		}
	}
	back("the high watermark", older.HW, newer.HW)
	back("the last stable offset", older.LSO, newer.LSO)
	back("the log start", older.LogStart, newer.LogStart)
	v.stands[p.ID()] = newer
}
