package group

import (
	"maps"
	"slices"

	"millrace/kafka/kerr"
)

// prepareOrComplete starts a rebalance, or goes on with the one there is.
func (m *Machine) prepareOrComplete(g *group, reason string) {
	switch g.state {
	case Empty, CompletingRebalance, Stable:
		m.prepare(g, reason)
	default:
		m.completeIfReady(g)
	}
}

// prepare starts a rebalance: members in the sync phase are sent back to join.
func (m *Machine) prepare(g *group, reason string) {
	if g.state == CompletingRebalance {
		m.resetAssignments(g, kerr.RebalanceInProgress)
	}
	clear(g.unsynced)
	m.timers.cancel(timerKey{kind: syncTimer, group: g.name})

	first := g.state == Empty
	g.enter(PreparingRebalance, m.now.UnixMilli())
	m.tell(g, "group rebalances", reason)
	switch {
	case first:
		// Members of a new application start one after the other; waiting a little saves a rebalance for each.
		g.newcomer = false
		delay := m.limits.InitialRebalanceDelay
		m.timers.set(timer{
			key: timerKey{kind: joinTimer, group: g.name}, at: m.now.Add(delay), initial: true,
			delay: delay, remaining: max(g.rebalanceTimeout()-delay, 0),
		})
	case g.allJoined():
		m.complete(g)
	default:
		m.waitForJoins(g)
	}
}

func (m *Machine) waitForJoins(g *group) {
	m.timers.set(timer{key: timerKey{kind: joinTimer, group: g.name}, at: m.now.Add(g.rebalanceTimeout())})
}

// completeIfReady ends the join phase when all members are in it; the first rebalance of a group ends by time alone.
func (m *Machine) completeIfReady(g *group) {
	if g.state == PreparingRebalance && g.previous != Empty && g.allJoined() {
		m.complete(g)
	}
}

// complete ends the join phase: dynamic members that did not rejoin are out, and the others learn the new generation. If
// nobody is left, the log learns that the group is empty.
func (m *Machine) complete(g *group) {
	m.timers.cancel(timerKey{kind: joinTimer, group: g.name})
	for _, mem := range slices.Clone(g.order) {
		if mem.join == nil && mem.instance == nil {
			m.timers.cancel(sessionKey(g, mem.id))
			g.remove(mem.id)
		}
	}
	if len(g.order) > 0 && !g.elect() {
		m.tell(g, "rebalance postponed", "no member rejoined")
		m.waitForJoins(g) // only static members are left; their sessions decide
		return
	}
	g.nextGeneration(m.now.UnixMilli())
	if g.state == Empty {
		m.tell(g, "group is empty", "")
		// On failure the log still has the last generation. Should it be loaded, its members will time out.
		m.log(g, []Record{g.record(nil)}, func(kerr.Code) {})
		return
	}
	m.tell(g, "group has a new generation", "")
	for _, mem := range g.order {
		m.answerJoin(g, mem, g.joined(mem, g.leader == mem.id))
		m.touch(g, mem)
		mem.isNew = false
		g.unsynced[mem.id] = true
	}
	m.timers.set(timer{
		key: timerKey{kind: syncTimer, group: g.name}, at: m.now.Add(g.rebalanceTimeout()), generation: g.generation,
	})
}

func (m *Machine) resetAssignments(g *group, code kerr.Code) {
	for _, mem := range g.order {
		g.assign(mem, nil)
		if mem.sync != nil {
			m.answerSync(mem, syncError(code))
			m.touch(g, mem)
		}
	}
}

// expire handles one deadline that has passed.
func (m *Machine) expire(t *timer) {
	g := m.groups[t.key.group]
	if g == nil || g.state == Dead {
		return
	}
	switch t.key.kind {
	case sessionTimer:
		m.expireSession(g, t.key.member)
	case joinTimer:
		m.expireJoin(g, t)
	case syncTimer:
		m.expireSync(g, t)
	case kindTimer:
		m.expireKind(g, t)
	}
}

func (m *Machine) expireSession(g *group, id string) {
	mem := g.members[id]
	switch {
	case g.pending[id]:
		g.remove(id)
		if g.state == PreparingRebalance && g.allJoined() {
			m.complete(g)
		}
	case mem != nil && !mem.alive():
		m.tell(g, "member failed", "session of "+id+" expired")
		m.removeMember(g, mem)
		switch {
		case g.state == Stable, g.state == CompletingRebalance:
			m.prepareOrComplete(g, "session of "+id+" expired")
		case g.state == PreparingRebalance && g.allJoined():
			m.complete(g)
		}
	}
}

// removeMember takes a member out of the group; it is told to start over if it waits for anything.
func (m *Machine) removeMember(g *group, mem *member) {
	m.answerJoin(g, mem, joinError("", kerr.UnknownMemberID))
	m.answerSync(mem, syncError(kerr.UnknownMemberID))
	m.timers.cancel(sessionKey(g, mem.id))
	g.remove(mem.id)
}

func (m *Machine) expireJoin(g *group, t *timer) {
	if g.state != PreparingRebalance {
		return
	}
	if !t.initial || !g.newcomer || t.remaining == 0 {
		m.complete(g)
		return
	}
	// Somebody came while we waited: wait again, but never longer than the rebalance timeout in all.
	g.newcomer = false
	delay := min(m.limits.InitialRebalanceDelay, t.remaining)
	m.timers.set(timer{
		key: t.key, at: m.now.Add(delay), initial: true, delay: delay, remaining: max(t.remaining-t.delay, 0),
	})
}

func (m *Machine) expireSync(g *group, t *timer) {
	if t.generation != g.generation || len(g.unsynced) == 0 {
		return
	}
	if g.state != CompletingRebalance && g.state != Stable {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(g.unsynced)) {
		if mem := g.members[id]; mem != nil {
			m.removeMember(g, mem)
		}
	}
	m.prepare(g, "members did not send SyncGroup in time")
}
