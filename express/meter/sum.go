package meter

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/kafka/topic"
)

// Sum is what records of one day of UTC come to, by hour and topic, with their names: whatever of them is still there, or comes back, is
// summed already.
type Sum struct {
	Format  int       `json:"format"`
	Cluster string    `json:"cluster"`
	Day     time.Time `json:"day"`    // its begin
	Number  int64     `json:"number"` // of the day's sums, from 1
	Made    time.Time `json:"made"`
	Hours   []Hour    `json:"hours"`   // by hour, each once
	Sources []Source  `json:"sources"` // by broker and incarnation, each once
}

// Hour is one of a Sum's.
type Hour struct {
	Hour    time.Time `json:"hour"`
	Seconds int64     `json:"broker_seconds"`
	Topics  []Entry   `json:"topics,omitempty"` // by id, each once
}

// Source names records of one incarnation of a broker by their sequences.
type Source struct {
	Broker      int32      `json:"broker"`
	Incarnation uint64     `json:"incarnation,string"`
	Sequences   [][2]int64 `json:"sequences"` // first and last, ascending, with gaps between
}

// dayLayout names the folder of a day's sums.
const dayLayout = "20060102"

// Key is where the sum lies.
func (s *Sum) Key() string {
	return fmt.Sprintf("%s%s/sum-%08d", Root, s.Day.UTC().Format(dayLayout), s.Number)
}

// decodeSum reads what was written under this key; ErrCorrupt or ErrNewer.
func decodeSum(key string, b []byte) (*Sum, error) { return decode(key, b, (*Sum).check) }

var errOrder = errors.New("it is not in order")

// check says what of a sum cannot be.
func (s *Sum) check(key string) error {
	if year := s.Day.Year(); year < 1970 || year > 9999 || !s.Day.Equal(s.Day.UTC().Truncate(24*time.Hour)) {
		return errTimes
	}
	if s.Format != format || s.Number < 1 {
		return errCounts
	}
	if s.Key() != key {
		return errPlace
	}
	last := s.Day.Add(-time.Hour)
	for _, h := range s.Hours {
		if !h.Hour.After(last) || !h.Hour.Equal(h.Hour.Truncate(time.Hour)) || h.Hour.Sub(s.Day) >= 24*time.Hour {
			return errTimes
		}
		if last = h.Hour; h.Seconds < 0 {
			return errCounts
		}
		before := topic.ID{}
		for _, e := range h.Topics {
			if slices.Compare(e.ID[:], before[:]) <= 0 {
				return errTwice
			}
			if before = e.ID; min(e.In, e.Out, e.StoredByteSeconds, e.PartitionSeconds) < 0 {
				return errCounts
			}
		}
	}
	return checkSources(s.Sources)
}

func checkSources(all []Source) error {
	for i, one := range all {
		if i > 0 && compareSources(all[i-1], one) >= 0 || len(one.Sequences) == 0 {
			return errOrder
		}
		last := int64(-1)
		for _, r := range one.Sequences {
			if r[0] < 1 || r[1] < r[0] || r[0] <= last+1 {
				return errOrder
			}
			last = r[1]
		}
	}
	return nil
}

func compareSources(a, b Source) int {
	return cmp.Or(cmp.Compare(a.Broker, b.Broker), cmp.Compare(a.Incarnation, b.Incarnation))
}

// writer is an incarnation of a broker.
type writer struct {
	broker      int32
	incarnation uint64
}

// name is what the key of a record says.
type name struct {
	hour     time.Time
	by       writer
	sequence int64
}

// nameOf reads the key of a record; ok is false for what is none.
func nameOf(key string) (n name, ok bool) {
	if n.hour, ok = hourOf(key); !ok {
		return n, false
	}
	parts := strings.Split(key[strings.LastIndexByte(key, '/')+1:], "-") // three, hourOf says
	broker, err1 := strconv.ParseInt(parts[0], 10, 32)
	incarnation, err2 := strconv.ParseUint(parts[1], 16, 64)
	sequence, err3 := strconv.ParseInt(parts[2], 10, 64)
	n.by, n.sequence = writer{int32(broker), incarnation}, sequence
	return n, errors.Join(err1, err2, err3) == nil
}

// isSum says that a key is that of a sum.
func isSum(key string) bool {
	day, rest, ok := strings.Cut(strings.TrimPrefix(key, Root), "/")
	return ok && len(day) == len(dayLayout) && strings.HasPrefix(rest, "sum-")
}

// covers says which records are in some of the sums.
func covers(sums []*Sum) func(name) bool {
	all := map[writer][][2]int64{}
	for _, s := range sums {
		for _, one := range s.Sources {
			by := writer{one.Broker, one.Incarnation}
			all[by] = append(all[by], one.Sequences...)
		}
	}
	return func(n name) bool {
		return slices.ContainsFunc(all[n.by], func(r [2]int64) bool { return r[0] <= n.sequence && n.sequence <= r[1] })
	}
}

// summing adds records up.
type summing struct {
	cluster string
	seconds map[time.Time]int64
	topics  map[time.Time]map[topic.ID]*Entry
	entries int // of all hours
	most    int // that there may be
	sources map[writer][]int64
}

// Faults of records that cannot be summed; they stay as they are.
var (
	errMany     = errors.New("meter: more topics than one sum may have")
	errOverflow = errors.New("meter: a sum would be out of range")
)

// add adds a record of the name up.
func (s *summing) add(n name, r *Record) error {
	if s.cluster != "" && s.cluster != r.Cluster {
		return fmt.Errorf("%w: %s: it is of cluster %s, others of %s", ErrCorrupt, r.Key(), r.Cluster, s.cluster)
	}
	s.cluster = r.Cluster
	hour := r.Hour()
	topics := s.topics[hour]
	if topics == nil {
		topics = map[topic.ID]*Entry{}
		s.topics[hour] = topics
	}
	for _, e := range r.Topics {
		sum := topics[e.ID]
		if sum == nil {
			if s.entries++; s.entries > s.most {
				return errMany
			}
			topics[e.ID] = &e
			continue
		}
		for _, f := range []struct {
			to *int64
			n  int64
		}{{&sum.In, e.In}, {&sum.Out, e.Out}, {&sum.StoredByteSeconds, e.StoredByteSeconds}, {&sum.PartitionSeconds, e.PartitionSeconds}} {
			if *f.to > math.MaxInt64-f.n {
				return errOverflow
			}
			*f.to += f.n
		}
	}
	s.seconds[hour] += r.Seconds
	s.sources[n.by] = append(s.sources[n.by], n.sequence)
	return nil
}

// sum is what was added, as a sum of the day.
func (s *summing) sum(day time.Time, number int64, made time.Time) *Sum {
	all := &Sum{Format: format, Cluster: s.cluster, Day: day, Number: number, Made: made.UTC()}
	for hour, topics := range s.topics {
		h := Hour{Hour: hour, Seconds: s.seconds[hour]}
		for _, e := range topics {
			h.Topics = append(h.Topics, *e)
		}
		slices.SortFunc(h.Topics, func(a, b Entry) int { return slices.Compare(a.ID[:], b.ID[:]) })
		all.Hours = append(all.Hours, h)
	}
	slices.SortFunc(all.Hours, func(a, b Hour) int { return a.Hour.Compare(b.Hour) })
	for by, sequences := range s.sources {
		all.Sources = append(all.Sources, Source{by.broker, by.incarnation, ranges(sequences)})
	}
	slices.SortFunc(all.Sources, compareSources)
	return all
}

// ranges are the first and last of numbers that follow one another.
func ranges(numbers []int64) (all [][2]int64) {
	slices.Sort(numbers)
	for _, n := range numbers {
		if last := len(all) - 1; last >= 0 && n <= all[last][1]+1 {
			all[last][1] = n
			continue
		}
		all = append(all, [2]int64{n, n})
	}
	return all
}
