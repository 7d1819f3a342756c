package telemetry

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of what is kept.
const (
	seriesPerClient = 1000
	seriesInAll     = 20_000
	bytesInAll      = 8 << 20
	seriesBytes     = 200 // what a series counts beside its texts
	labelsMost      = 16
	textMost        = 200 // bytes of a name or value
)

// Label is a name and a value of a series.
type Label struct{ Name, Value string }

// Sample is the last value of a series.
type Sample struct {
	Name   string // letters, digits and underscores
	Labels []Label
	Value  float64
}

// Series keeps the last values of what clients pushed. Make one with NewSeries. Safe for concurrent use.
type Series struct {
	mu      sync.Mutex
	clients map[ID]map[string]*Sample
	count   int
	bytes   int
	dropped int64
	key     []byte // the key being looked up
}

// NewSeries returns an empty one.
func NewSeries() *Series { return &Series{clients: make(map[ID]map[string]*Sample)} }

// put takes a push of a client, which has been found to be well formed.
func (s *Series) put(c Client, push []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.clients[c.Instance]
	if own == nil {
		own = make(map[string]*Sample)
		s.clients[c.Instance] = own
	}
	_ = decode(push, func(p point) { s.addLocked(own, c, p) }) // decoded before without an error
}

// addLocked takes one number.
func (s *Series) addLocked(own map[string]*Sample, c Client, p point) {
	s.key = append(s.key[:0], p.name...)
	labels := 0
	each := func(key, value []byte) {
		if labels++; labels <= labelsMost {
			s.key = append(append(append(append(s.key, 0), key...), 0), value...)
		}
	}
	eachAttr(p.resource, resourceAttr, each)
	s.key = append(s.key, 0, 0)
	eachAttr(p.attrs, pointAttr, each)
	if old, ok := own[string(s.key)]; ok {
		if p.delta {
			p.value += old.Value
		}
		old.Value = p.value
		return
	}
	size := len(s.key) + seriesBytes
	full := len(own) >= seriesPerClient || s.count >= seriesInAll || s.bytes+2*size > bytesInAll
	if full || len(p.name) == 0 || len(s.key) > textMost*labelsMost {
		s.dropped++
		return
	}
	own[string(s.key)] = newSample(c, p)
	s.count++
	s.bytes += 2 * size // the key and the sample
}

// newSample makes texts of a point that any reader of metrics can take.
func newSample(c Client, p point) *Sample {
	out := &Sample{Name: plainName(p.name), Value: p.value}
	out.Labels = append(out.Labels, Label{"client_instance_id", c.Instance.String()}, Label{"client_id", plainValue([]byte(c.ClientID))})
	add := func(key, value []byte) {
		name := plainName(key)
		taken := func(l Label) bool { return l.Name == name }
		if name != "" && len(out.Labels) < labelsMost+2 && !slices.ContainsFunc(out.Labels, taken) {
			out.Labels = append(out.Labels, Label{name, plainValue(value)})
		}
	}
	eachAttr(p.attrs, pointAttr, add)
	eachAttr(p.resource, resourceAttr, add)
	return out
}

// plainName makes a name of a metric or a label: "org.apache.kafka" becomes "org_apache_kafka".
func plainName(b []byte) string {
	b = b[:min(len(b), textMost)]
	var out strings.Builder
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			out.WriteByte(c)
		default:
			out.WriteByte('_')
		}
	}
	return strings.TrimLeft(out.String(), "_0123456789")
}

func plainValue(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), textMost)]), string(utf8.RuneError))
}

// forget drops all of a client.
func (s *Series) forget(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.clients[id]
	for key := range own {
		s.bytes -= 2 * (len(key) + seriesBytes)
	}
	s.count -= len(own)
	delete(s.clients, id)
}

// All gives a copy of every series, sorted by name.
func (s *Series) All() []Sample {
	s.mu.Lock()
	out := make([]Sample, 0, s.count)
	for _, own := range s.clients {
		for _, sample := range own {
			out = append(out, *sample)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b Sample) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.CompareFunc(a.Labels, b.Labels, func(a, b Label) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
		}))
	})
	return out
}

// Count returns how many series are kept, the bytes that they count, and how many values were dropped for want of room.
func (s *Series) Count() (series, bytes int, dropped int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.bytes, s.dropped
}

// plainText gives a value of an attribute as a text.
func plainText(message []byte) (text []byte, plain bool) {
	err := fields(message, func(f field) error {
		switch {
		case f.message(anyString):
			text, plain = f.bytes, true
		case f.num == anyBool && f.kind == protowire.VarintType:
			text, plain = strconv.AppendBool(nil, f.bits != 0), true
		case f.num == anyInt && f.kind == protowire.VarintType:
			text, plain = strconv.AppendInt(nil, int64(f.bits), 10), true
		}
		return nil
	})
	return text, plain && err == nil
}
