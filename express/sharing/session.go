package sharing

import (
	"slices"

	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Epochs of share sessions with a meaning of their own.
const (
	EpochInitial int32 = 0  // opens a session, and ends the one before
	EpochFinal   int32 = -1 // ends the session
)

// Member is who has a share session: one session for each member of a group.
type Member struct {
	Group, ID string
}

// session is what a member reads.
type session struct {
	epoch int32 // of the next request
	conn  uint64
	parts []topic.Partition // in the order to be served
}

// sessions are guarded by Manager.mu.
type sessions struct {
	all        map[Member]*session
	byConn     map[uint64]Member
	members    map[string]int // sessions of each group
	partitions int
}

func newSessions() sessions {
	return sessions{all: map[Member]*session{}, byConn: map[uint64]Member{}, members: map[string]int{}}
}

func (s *sessions) add(who Member, ses *session) {
	s.all[who] = ses
	s.byConn[ses.conn] = who
	s.members[who.Group]++
	s.partitions += len(ses.parts)
}

func (s *sessions) remove(who Member) *session {
	ses := s.all[who]
	if ses == nil {
		return nil
	}
	delete(s.all, who)
	if s.byConn[ses.conn] == who {
		delete(s.byConn, ses.conn)
	}
	if s.members[who.Group]--; s.members[who.Group] == 0 {
		delete(s.members, who.Group)
	}
	s.partitions -= len(ses.parts)
	return ses
}

// Open is what a fetch asks of its session.
type Open struct {
	Member
	Conn             uint64 // of the client; the session ends with it
	Epoch            int32
	Add, Forget      []topic.Partition
	Acknowledgements bool // the request has some
}

// Open applies a fetch to its session and returns what to fetch, in the order to serve. Errors: ShareSessionNotFound,
// InvalidShareSessionEpoch, ShareSessionLimitReached, InvalidRequest.
func (m *Manager) Open(o Open) ([]topic.Partition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.sessions.all[o.Member]
	switch {
	case o.Epoch == EpochFinal && old == nil, o.Epoch != EpochInitial && old == nil:
		return nil, kerr.ShareSessionNotFound
	case o.Epoch == EpochFinal:
		return nil, nil
	case o.Epoch == EpochInitial && o.Acknowledgements:
		return nil, kerr.InvalidRequest
	case o.Epoch == EpochInitial:
		return m.openLocked(o)
	case o.Epoch != old.epoch:
		return nil, kerr.InvalidShareSessionEpoch
	}
	before := len(old.parts)
	old.update(o.Add, o.Forget)
	m.sessions.partitions += len(old.parts) - before
	if m.sessions.partitions > m.cfg.MaxPartitions {
		m.sessions.remove(o.Member)
		return nil, kerr.ShareSessionLimitReached
	}
	old.epoch = nextEpoch(old.epoch)
	return rotated(old.parts, o.Epoch), nil
}

func (m *Manager) openLocked(o Open) ([]topic.Partition, error) {
	m.sessions.remove(o.Member)
	parts := unique(o.Add)
	if len(m.sessions.all) >= m.cfg.MaxSessions() || m.sessions.partitions+len(parts) > m.cfg.MaxPartitions {
		return nil, kerr.ShareSessionLimitReached
	}
	m.sessions.add(o.Member, &session{epoch: 1, conn: o.Conn, parts: parts})
	return rotated(parts, o.Epoch), nil
}

func (s *session) update(add, forget []topic.Partition) {
	if len(add) == 0 && len(forget) == 0 {
		return
	}
	gone := map[topic.Partition]bool{}
	for _, p := range forget {
		gone[p] = true
	}
	s.parts = slices.DeleteFunc(unique(append(slices.Clone(s.parts), add...)), func(p topic.Partition) bool { return gone[p] })
}

// Use applies an acknowledgement to its session. Errors: ShareSessionNotFound, InvalidShareSessionEpoch.
func (m *Manager) Use(who Member, epoch int32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ses := m.sessions.all[who]
	switch {
	case epoch == EpochInitial:
		return kerr.InvalidShareSessionEpoch
	case ses == nil:
		return kerr.ShareSessionNotFound
	case epoch == EpochFinal:
		return nil
	case epoch != ses.epoch:
		return kerr.InvalidShareSessionEpoch
	}
	ses.epoch = nextEpoch(ses.epoch)
	return nil
}

// End ends a session, if there is one, and begins to release what its member holds (SH3).
func (m *Manager) End(who Member) {
	m.mu.Lock()
	ses := m.sessions.remove(who)
	var held []*sharePartition
	if ses != nil {
		// All share-partitions of the group, not only those of the session: what was forgotten may be held still.
		for k, sp := range m.parts {
			if k.Group == who.Group {
				held = append(held, sp)
			}
		}
	}
	last := ses != nil && m.sessions.members[who.Group] == 0
	m.mu.Unlock()
	for _, sp := range held {
		sp.release(who.ID)
	}
	if last {
		m.dropGroup(who.Group)
	}
}

// Disconnected ends the session of a connection that was closed.
func (m *Manager) Disconnected(conn uint64) {
	m.mu.Lock()
	who, ok := m.sessions.byConn[conn]
	m.mu.Unlock()
	if ok {
		m.End(who)
	}
}

// Moved puts partitions that records were read of at the end of a session's order.
func (m *Manager) Moved(who Member, read []topic.Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ses := m.sessions.all[who]
	if ses == nil || len(read) == 0 {
		return
	}
	parts := make([]topic.Partition, 0, len(ses.parts))
	var last []topic.Partition
	for _, p := range ses.parts {
		if slices.Contains(read, p) {
			last = append(last, p)
		} else {
			parts = append(parts, p)
		}
	}
	ses.parts = append(parts, last...)
}

func (o Member) key(p topic.Partition) state.Key {
	return state.Key{Group: o.Group, Topic: p.Topic, Partition: p.Index}
}

func unique(parts []topic.Partition) []topic.Partition {
	seen := make(map[topic.Partition]bool, len(parts))
	return slices.DeleteFunc(slices.Clone(parts), func(p topic.Partition) bool {
		was := seen[p]
		seen[p] = true
		return was
	})
}

// rotated begins at another place in each epoch, so that none is always the last.
func rotated(parts []topic.Partition, epoch int32) []topic.Partition {
	if len(parts) < 2 {
		return slices.Clone(parts)
	}
	n := int(epoch) % len(parts)
	return append(slices.Clone(parts[n:]), parts[:n]...)
}

// nextEpoch counts from 1 on and wraps to 1.
func nextEpoch(epoch int32) int32 {
	if epoch < 0 || epoch == 1<<31-1 {
		return 1
	}
	return epoch + 1
}
