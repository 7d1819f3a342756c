package api

import (
	"container/list"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Fetch session epochs with a meaning of their own (KIP-227).
const (
	epochInitial int32 = 0  // a full request that asks for a session
	epochFinal   int32 = -1 // a full request without a session; ends one that it names
)

const (
	// sessionGrace is how long a session is safe from being replaced: since its last use by any newcomer,
	// since its creation by a larger one.
	sessionGrace = 2 * time.Minute
	// sessionPartitionsMost bounds the partitions of all sessions together.
	sessionPartitionsMost = 500_000
)

// fetchKey names a partition as the client does: by id from version 13 on, by name before.
type fetchKey struct {
	name  string
	id    topic.ID
	index int32
}

// fetchPart is one partition of a fetch: what is asked for, and in a session what was last told of it.
type fetchPart struct {
	fetchKey
	currentEpoch int32 // leader epoch that the client knows; -1 none
	lastEpoch    int32 // leader epoch of the last record it has; -1 none
	offset       int64
	maxBytes     int32

	toldHW       int64 // -1: tell in any case
	toldLogStart int64
}

// session is a client's list of partitions, kept between its requests.
type session struct {
	id      int32
	byID    bool // partitions are named by topic id
	created time.Time

	// Guarded by sessions.mu.
	epoch int32 // of the next request
	used  time.Time
	parts map[fetchKey]*list.Element
	order *list.List // of *fetchPart, in the order to be served
}

// sessions keeps the fetch sessions of all clients. Safe for concurrent use.
type sessions struct {
	clock clock.Clock
	slots int

	mu         sync.Mutex
	all        map[int32]*session
	partitions int // of all sessions
}

func newSessions(clk clock.Clock, slots int) *sessions {
	return &sessions{clock: clk, slots: slots, all: make(map[int32]*session)}
}

// fetchPlan is what a request asks for once its session is taken into account.
type fetchPlan struct {
	parts   []fetchPart // in the order to be served
	session *session    // nil: none, or to be made
	create  bool        // the client would like a session
}

// sessionID is the session that the request goes on with; 0 none.
func (p *fetchPlan) sessionID() int32 {
	if p.session == nil {
		return 0
	}
	return p.session.id
}

// plan applies a request to its session. The codes are FETCH_SESSION_ID_NOT_FOUND,
// INVALID_FETCH_SESSION_EPOCH and FETCH_SESSION_TOPIC_ID_ERROR.
func (s *sessions) plan(req *kmsg.FetchRequest) (fetchPlan, kerr.Code) {
	byID := req.Version >= 13
	if req.Version < 7 {
		return fetchPlan{parts: requestedParts(req)}, kerr.None
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.SessionEpoch == epochInitial || req.SessionEpoch == epochFinal {
		if old, ok := s.all[req.SessionID]; ok {
			s.removeLocked(old)
		}
		return fetchPlan{parts: requestedParts(req), create: req.SessionEpoch == epochInitial}, kerr.None
	}
	ses, ok := s.all[req.SessionID]
	switch {
	case !ok:
		return fetchPlan{}, kerr.FetchSessionIDNotFound
	case ses.epoch != req.SessionEpoch:
		return fetchPlan{}, kerr.InvalidFetchSessionEpoch
	case ses.byID != byID:
		return fetchPlan{}, kerr.FetchSessionTopicIDError
	}
	ses.used = s.clock.Now()
	ses.epoch = nextEpoch(ses.epoch)
	s.updateLocked(ses, req)
	if s.partitions > sessionPartitionsMost { // the client starts over, and gets no session
		s.removeLocked(ses)
		return fetchPlan{}, kerr.FetchSessionIDNotFound
	}
	if ses.order.Len() == 0 { // all were forgotten: the client goes on without
		s.removeLocked(ses)
		return fetchPlan{}, kerr.None
	}
	return fetchPlan{parts: ses.list(), session: ses}, kerr.None
}

// updateLocked takes additions, changes and removals into the session.
func (s *sessions) updateLocked(ses *session, req *kmsg.FetchRequest) {
	before := len(ses.parts)
	for _, p := range requestedParts(req) {
		if el, ok := ses.parts[p.fetchKey]; ok {
			kept := el.Value.(*fetchPart)
			p.toldHW, p.toldLogStart = kept.toldHW, kept.toldLogStart
			*kept = p
			continue
		}
		ses.parts[p.fetchKey] = ses.order.PushBack(&p)
	}
	for _, t := range req.ForgottenTopics {
		for _, index := range t.Partitions {
			k := fetchKey{name: t.Topic, id: t.TopicID, index: index}
			if el, ok := ses.parts[k]; ok {
				ses.order.Remove(el)
				delete(ses.parts, k)
			}
		}
	}
	s.partitions += len(ses.parts) - before
}

func (ses *session) list() []fetchPart {
	parts := make([]fetchPart, 0, ses.order.Len())
	for el := ses.order.Front(); el != nil; el = el.Next() {
		parts = append(parts, *el.Value.(*fetchPart))
	}
	return parts
}

// requestedParts lists the partitions of a request, each once: of several mentions the last counts.
func requestedParts(req *kmsg.FetchRequest) []fetchPart {
	n := 0
	for _, t := range req.Topics {
		n += len(t.Partitions)
	}
	parts := make([]fetchPart, 0, n)
	seen := make(map[fetchKey]int, n)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			part := fetchPart{
				fetchKey:     fetchKey{name: t.Topic, id: t.TopicID, index: p.Partition},
				currentEpoch: p.CurrentLeaderEpoch, lastEpoch: p.LastFetchedEpoch,
				offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes, toldHW: -1, toldLogStart: -1,
			}
			if req.Version < 9 || part.currentEpoch < 0 { // here every negative epoch stands for none
				part.currentEpoch = -1
			}
			if req.Version < 12 {
				part.lastEpoch = -1
			}
			if at, again := seen[part.fetchKey]; again {
				parts[at] = part
				continue
			}
			seen[part.fetchKey] = len(parts)
			parts = append(parts, part)
		}
	}
	return parts
}

// conclude notes what a session's client is told and leaves out of results what it knows already. For a
// full request that asked for a session it makes one. It returns the session id for the answer.
func (s *sessions) conclude(plan *fetchPlan, byID bool, results []fetchResult) (id int32, changed []fetchResult) {
	if plan.session == nil {
		if !plan.create || len(plan.parts) == 0 {
			return 0, results
		}
		return s.create(plan, byID, results), results
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = results[:0]
	for _, r := range results {
		el, ok := plan.session.parts[r.key]
		if !ok {
			continue // forgotten by a later request
		}
		if !el.Value.(*fetchPart).tell(&r) {
			continue
		}
		if r.bytes > 0 {
			plan.session.order.MoveToBack(el) // the others come first next time
		}
		changed = append(changed, r)
	}
	return plan.session.id, changed
}

// tell says whether the client must hear of r, and notes it. After an error it hears of the partition again.
func (p *fetchPart) tell(r *fetchResult) bool {
	if r.code != kerr.None || r.diverging != nil {
		p.toldHW = -1
		return true
	}
	must := r.bytes > 0 || p.toldHW != r.offsets.HW || p.toldLogStart != r.offsets.LogStart
	p.toldHW, p.toldLogStart = r.offsets.HW, r.offsets.LogStart
	return must
}

// create makes a session of a full request, if there is room; else it returns 0, which is no session.
func (s *sessions) create(plan *fetchPlan, byID bool, results []fetchResult) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.partitions+len(plan.parts) > sessionPartitionsMost || !s.makeRoomLocked(now, len(plan.parts)) {
		return 0
	}
	ses := &session{
		id: s.newIDLocked(), byID: byID, epoch: 1, created: now, used: now,
		parts: make(map[fetchKey]*list.Element, len(plan.parts)), order: list.New(),
	}
	for i := range plan.parts {
		p := plan.parts[i]
		p.tell(&results[i])
		ses.parts[p.fetchKey] = ses.order.PushBack(&p)
	}
	s.all[ses.id] = ses
	s.partitions += len(ses.parts)
	return ses.id
}

// makeRoomLocked removes a session if all slots are taken: the one unused for longest, if that is long
// enough, else the smallest of those that are old enough, if it is smaller than the newcomer.
func (s *sessions) makeRoomLocked(now time.Time, size int) bool {
	if len(s.all) < s.slots {
		return true
	}
	var idle, small *session
	for _, ses := range s.all {
		if idle == nil || ses.used.Before(idle.used) {
			idle = ses
		}
		if now.Sub(ses.created) > sessionGrace && (small == nil || len(ses.parts) < len(small.parts)) {
			small = ses
		}
	}
	switch {
	case idle != nil && now.Sub(idle.used) > sessionGrace:
		s.removeLocked(idle)
	case small != nil && len(small.parts) < size:
		s.removeLocked(small)
	default:
		return false
	}
	return true
}

func (s *sessions) removeLocked(ses *session) {
	delete(s.all, ses.id)
	s.partitions -= len(ses.parts)
}

// newIDLocked gives a positive id that nobody can guess: whoever knows it may use the session.
func (s *sessions) newIDLocked() int32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		id := int32(binary.BigEndian.Uint32(b[:]) >> 1)
		if _, taken := s.all[id]; id > 0 && !taken {
			return id
		}
	}
}

// nextEpoch counts from 1 on and wraps to 1.
func nextEpoch(epoch int32) int32 {
	if epoch < 0 || epoch == 1<<31-1 {
		return 1
	}
	return epoch + 1
}
