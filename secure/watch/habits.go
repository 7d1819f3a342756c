package watch

import (
	"container/list"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// ErrNewer: the state was saved by a newer version of Millrace.
var ErrNewer = errors.New("watch: state saved by a newer version of millrace")

const stateFormat = 1

// memory is what the rules go by, of the subjects that were seen last (A3).
type memory struct {
	Format   int                 `json:"format"`
	Seen     map[string]uint64   `json:"seen"` // last line by writer
	Subjects map[string]*subject `json:"subjects"`

	most  int
	order *list.List // keys of Subjects, the one seen last in front
	at    map[string]*list.Element
}

// subject is a principal, an address, a pair of both, or what an alert is about.
type subject struct {
	Last     time.Time `json:"last"`
	Told     time.Time `json:"told,omitzero"`    // last alert
	Counts   []count   `json:"counts,omitempty"` // refusals, oldest first
	Evidence []Line    `json:"lines,omitempty"`  // of them
	Networks []string  `json:"nets,omitempty"`   // from which it logged in
	Hour     time.Time `json:"hour,omitzero"`    // for which Read counts
	Read     int64     `json:"read,omitempty"`   // bytes
	Hours    int       `json:"hours,omitempty"`  // in which it read something
	Habit    float64   `json:"habit,omitempty"`  // bytes an hour, of hours in which it read
}

// count is refusals at about one time.
type count struct {
	At time.Time `json:"at"`
	N  int64     `json:"n"`
}

func newMemory(most int) *memory {
	return &memory{
		Format: stateFormat, Seen: map[string]uint64{}, Subjects: map[string]*subject{},
		most: most, order: list.New(), at: map[string]*list.Element{},
	}
}

// subject is the one of a key, made where there is none.
func (m *memory) subject(key string, now time.Time) *subject {
	s := m.Subjects[key]
	if s == nil {
		if len(m.Subjects) >= m.most {
			oldest := m.order.Back()
			name, _ := oldest.Value.(string)
			m.order.Remove(oldest)
			delete(m.Subjects, name)
			delete(m.at, name)
		}
		s = &subject{}
		m.Subjects[key] = s
		m.at[key] = m.order.PushFront(key)
	}
	m.order.MoveToFront(m.at[key])
	s.Last = now
	return s
}

func (m *memory) restore(state []byte) error {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(state, &head); err != nil {
		return fmt.Errorf("state of watch: %w", err)
	}
	if head.Format > stateFormat {
		return fmt.Errorf("%w: format %d, this binary reads up to %d", ErrNewer, head.Format, stateFormat)
	}
	if err := json.Unmarshal(state, m); err != nil {
		return fmt.Errorf("state of watch: %w", err)
	}
	maps.DeleteFunc(m.Subjects, func(_ string, s *subject) bool { return s == nil })
	if m.Seen == nil {
		m.Seen = map[string]uint64{}
	}
	keys := slices.SortedFunc(maps.Keys(m.Subjects), func(a, b string) int { return m.Subjects[a].Last.Compare(m.Subjects[b].Last) })
	for i, key := range keys {
		if i < len(keys)-m.most {
			delete(m.Subjects, key)
			continue
		}
		m.at[key] = m.order.PushFront(key)
	}
	return nil
}

// mostCounts and mostNetworks bound what is kept of one subject.
const (
	mostCounts   = 64
	mostNetworks = 32
)

// refused counts refusals and returns how many there were within a while.
func (s *subject) refused(at time.Time, n int64, within time.Duration, line Line) int64 {
	s.Counts = slices.DeleteFunc(s.Counts, func(c count) bool { return c.At.Before(at.Add(-within)) })
	if len(s.Counts) == 0 {
		s.Evidence = nil
	}
	if len(s.Counts) == mostCounts {
		s.Counts[1].N += s.Counts[0].N // counted a little longer than it should be
		s.Counts = s.Counts[1:]
	}
	s.Counts = append(s.Counts, count{at, n})
	if len(s.Evidence) == mostEvidence {
		s.Evidence = slices.Delete(s.Evidence, mostEvidence/2, mostEvidence/2+1)
	}
	s.Evidence = append(s.Evidence, line)
	return s.refusals(at, within)
}

func (s *subject) refusals(at time.Time, within time.Duration) (n int64) {
	for _, c := range s.Counts {
		if !c.At.Before(at.Add(-within)) {
			n += c.N
		}
	}
	return n
}

// network is what addresses are told apart by: 256 of IPv4, a site of IPv6. "" stands for loopback and for what is no address.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.IsLoopback() {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// arrives says whether the network is another than those that it came from so far; the first one is not.
func (s *subject) arrives(from string) bool {
	if i := slices.Index(s.Networks, from); i >= 0 {
		s.Networks = append(slices.Delete(s.Networks, i, i+1), from)
		return false
	}
	known := len(s.Networks) > 0
	if len(s.Networks) == mostNetworks {
		s.Networks = s.Networks[1:]
	}
	s.Networks = append(s.Networks, from)
	return known
}

// habitWeight is what an hour counts in the habit, so that about the last ten hours of reading make it.
const habitWeight = 0.2

// reads adds bytes to the hour and says what the habit was before it; known is false while there is none.
func (s *subject) reads(at time.Time, bytes int64, least int) (thisHour int64, habit float64, known bool) {
	hour := at.Truncate(time.Hour)
	if hour.After(s.Hour) {
		if s.Read > 0 {
			if s.Hours == 0 {
				s.Habit = float64(s.Read)
			} else {
				s.Habit += habitWeight * (float64(s.Read) - s.Habit)
			}
			s.Hours++
		}
		s.Hour, s.Read = hour, 0
	}
	s.Read += bytes
	return s.Read, s.Habit, s.Hours >= least
}
