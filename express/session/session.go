package session

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

// Key names a partition as the client does: by id from version 13 on, by name before.
type Key struct {
	Name  string
	ID    topic.ID
	Index int32
}

// Part is one partition of a fetch: what is asked for, and in a session what was last told of it.
type Part struct {
	Key
	CurrentEpoch int32 // leader epoch that the client knows; -1 none
	LastEpoch    int32 // leader epoch of the last record it has; -1 none
	Offset       int64 // from which to read
	MaxBytes     int32 // of records that the client wants at most, as it says

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
	parts map[Key]*list.Element
	order *list.List // of *Part, in the order to be served
}

// Outcome is what of a partition's result a session goes by.
type Outcome struct {
	Key
	HW, LogStart int64
	Bytes        int  // of records
	News         bool // the client must hear of it whatever else: an error, or where to go
}

// Sessions keeps the fetch sessions of all clients. Safe for concurrent use. Make it with New.
type Sessions struct {
	clock clock.Clock
	slots int

	mu         sync.Mutex
	all        map[int32]*session
	partitions int // of all sessions
}

// New keeps at most slots sessions.
func New(clk clock.Clock, slots int) *Sessions {
	return &Sessions{clock: clk, slots: slots, all: make(map[int32]*session)}
}

// Plan is what a request asks for once its session is taken into account.
type Plan struct {
	Parts   []Part   // in the order to be served
	session *session // nil: none, or to be made
	create  bool     // the client would like a session
}

// ID is the session that the request goes on with; 0 none.
func (p *Plan) ID() int32 {
	if p.session == nil {
		return 0
	}
	return p.session.id
}

// Plan applies a request to its session. The codes are FETCH_SESSION_ID_NOT_FOUND,
// INVALID_FETCH_SESSION_EPOCH and FETCH_SESSION_TOPIC_ID_ERROR.
func (s *Sessions) Plan(req *kmsg.FetchRequest) (Plan, kerr.Code) {
	byID := req.Version >= 13
	if req.Version < 7 {
		return Plan{Parts: requestedParts(req)}, kerr.None
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.SessionEpoch == epochInitial || req.SessionEpoch == epochFinal {
		if old, ok := s.all[req.SessionID]; ok {
			s.removeLocked(old)
		}
		return Plan{Parts: requestedParts(req), create: req.SessionEpoch == epochInitial}, kerr.None
	}
	ses, ok := s.all[req.SessionID]
	switch {
	case !ok:
		return Plan{}, kerr.FetchSessionIDNotFound
	case ses.epoch != req.SessionEpoch:
		return Plan{}, kerr.InvalidFetchSessionEpoch
	case ses.byID != byID:
		return Plan{}, kerr.FetchSessionTopicIDError
	}
	ses.used = s.clock.Now()
	ses.epoch = nextEpoch(ses.epoch)
	s.updateLocked(ses, req)
	if s.partitions > sessionPartitionsMost { // the client starts over, and gets no session
		s.removeLocked(ses)
		return Plan{}, kerr.FetchSessionIDNotFound
	}
	if ses.order.Len() == 0 { // all were forgotten: the client goes on without
		s.removeLocked(ses)
		return Plan{}, kerr.None
	}
	return Plan{Parts: ses.list(), session: ses}, kerr.None
}

// updateLocked takes additions, changes and removals into the session.
func (s *Sessions) updateLocked(ses *session, req *kmsg.FetchRequest) {
	before := len(ses.parts)
	for _, p := range requestedParts(req) {
		if el, ok := ses.parts[p.Key]; ok {
			kept := el.Value.(*Part)
			p.toldHW, p.toldLogStart = kept.toldHW, kept.toldLogStart
			*kept = p
			continue
		}
		ses.parts[p.Key] = ses.order.PushBack(&p)
	}
	for _, t := range req.ForgottenTopics {
		for _, index := range t.Partitions {
			k := Key{Name: t.Topic, ID: t.TopicID, Index: index}
			if el, ok := ses.parts[k]; ok {
				ses.order.Remove(el)
				delete(ses.parts, k)
			}
		}
	}
	s.partitions += len(ses.parts) - before
}

func (ses *session) list() []Part {
	parts := make([]Part, 0, ses.order.Len())
	for el := ses.order.Front(); el != nil; el = el.Next() {
		parts = append(parts, *el.Value.(*Part))
	}
	return parts
}

// requestedParts lists the partitions of a request, each once: of several mentions the last counts.
func requestedParts(req *kmsg.FetchRequest) []Part {
	n := 0
	for _, t := range req.Topics {
		n += len(t.Partitions)
	}
	parts := make([]Part, 0, n)
	seen := make(map[Key]int, n)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			part := Part{
				Key:          Key{Name: t.Topic, ID: t.TopicID, Index: p.Partition},
				CurrentEpoch: p.CurrentLeaderEpoch, LastEpoch: p.LastFetchedEpoch,
				Offset: p.FetchOffset, MaxBytes: p.PartitionMaxBytes, toldHW: -1, toldLogStart: -1,
			}
			if req.Version < 9 || part.CurrentEpoch < 0 { // here every negative epoch stands for none
				part.CurrentEpoch = -1
			}
			if req.Version < 12 {
				part.LastEpoch = -1
			}
			if at, again := seen[part.Key]; again {
				parts[at] = part
				continue
			}
			seen[part.Key] = len(parts)
			parts = append(parts, part)
		}
	}
	return parts
}

// Conclude notes what a session's client is told and leaves out of results, in place, what it knows already. For a full request that
// asked for a session it makes one. It returns the session id for the answer. There is one result for each of plan.Parts, in
// their order.
func Conclude[R any](s *Sessions, plan *Plan, byID bool, results []R, outcome func(*R) Outcome) (id int32, changed []R) {
	if plan.session == nil {
		if !plan.create || len(plan.Parts) == 0 {
			return 0, results
		}
		return create(s, plan, byID, results, outcome), results
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = results[:0]
	for _, result := range results {
		r := outcome(&result)
		el, ok := plan.session.parts[r.Key]
		if !ok {
			continue // forgotten by a later request
		}
		if !el.Value.(*Part).tell(&r) {
			continue
		}
		if r.Bytes > 0 {
			plan.session.order.MoveToBack(el) // the others come first next time
		}
		changed = append(changed, result)
	}
	return plan.session.id, changed
}

// tell says whether the client must hear of r, and notes it. After an error it hears of the partition again.
func (p *Part) tell(r *Outcome) bool {
	if r.News {
		p.toldHW = -1
		return true
	}
	must := r.Bytes > 0 || p.toldHW != r.HW || p.toldLogStart != r.LogStart
	p.toldHW, p.toldLogStart = r.HW, r.LogStart
	return must
}

// create makes a session of a full request, if there is room; else it returns 0, which is no session.
func create[R any](s *Sessions, plan *Plan, byID bool, results []R, outcome func(*R) Outcome) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.partitions+len(plan.Parts) > sessionPartitionsMost || !s.makeRoomLocked(now, len(plan.Parts)) {
		return 0
	}
	ses := &session{
		id: s.newIDLocked(), byID: byID, epoch: 1, created: now, used: now,
		parts: make(map[Key]*list.Element, len(plan.Parts)), order: list.New(),
	}
	for i := range plan.Parts {
		p := plan.Parts[i]
		told := outcome(&results[i])
		p.tell(&told)
		ses.parts[p.Key] = ses.order.PushBack(&p)
	}
	s.all[ses.id] = ses
	s.partitions += len(ses.parts)
	return ses.id
}

// makeRoomLocked removes a session if all slots are taken: the one unused for longest, if that is long
// enough, else the smallest of those that are old enough, if it is smaller than the newcomer.
func (s *Sessions) makeRoomLocked(now time.Time, size int) bool {
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

func (s *Sessions) removeLocked(ses *session) {
	delete(s.all, ses.id)
	s.partitions -= len(ses.parts)
}

// newIDLocked gives a positive id that nobody can guess: whoever knows it may use the session.
func (s *Sessions) newIDLocked() int32 {
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
