package meter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"millrace/kafka/topic"
)

// Root is where records lie in the object store.
const Root = "usage/"

// Errors of records.
var (
	ErrCorrupt = errors.New("meter: record is damaged")
	ErrNewer   = errors.New("meter: record was written by a newer version of millrace")
)

// format is the newest version that this code reads, and the one that it writes.
const format = 1

// recordMost bounds the bytes of a record: a hundred thousand topics.
const recordMost = 64 << 20

// Record is what one broker counted in part of one hour.
type Record struct {
	Format      int       `json:"format"`
	Cluster     string    `json:"cluster"`
	Broker      int32     `json:"broker"`
	Incarnation uint64    `json:"incarnation,string"`
	Sequence    int64     `json:"sequence"` // of the incarnation, from 1
	From        time.Time `json:"from"`     // both within one hour of UTC, the end of which To may be
	To          time.Time `json:"to"`
	Seconds     int64     `json:"broker_seconds"`
	Topics      []Entry   `json:"topics,omitempty"` // in no order, each once
}

// Entry is one topic in a Record.
type Entry struct {
	Name              string   `json:"name"`
	ID                topic.ID `json:"id"`
	In                int64    `json:"in,omitempty"`
	Out               int64    `json:"out,omitempty"`
	StoredByteSeconds int64    `json:"stored_byte_seconds,omitempty"`
	PartitionSeconds  int64    `json:"partition_seconds,omitempty"`
}

// hourLayout names the folder of an hour.
const hourLayout = "2006010215"

// Hour is the hour of UTC that the record counts for.
func (r *Record) Hour() time.Time { return r.From.UTC().Truncate(time.Hour) }

// Key is where the record lies.
func (r *Record) Key() string {
	return fmt.Sprintf("%s%s/%d-%016x-%08d", Root, r.Hour().Format(hourLayout), r.Broker, r.Incarnation, r.Sequence)
}

// Encode gives the bytes of the record.
func (r *Record) Encode() ([]byte, error) { return json.Marshal(r) }

// Decode reads what Encode gave for this key; ErrCorrupt or ErrNewer.
func Decode(key string, b []byte) (*Record, error) {
	return decode(key, b, (*Record).check)
}

// decode reads strictly what lies under a key, and holds it to what the key says.
func decode[T any](key string, b []byte, check func(*T, string) error) (*T, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, key, err)
	}
	if head.Format > format {
		return nil, fmt.Errorf("%w: %s: format %d", ErrNewer, key, head.Format)
	}
	v := new(T)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		err = check(v, key)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, key, err)
	}
	return v, nil
}

var (
	errPlace  = errors.New("it is another record than its name says")
	errTimes  = errors.New("its times are not within an hour")
	errCounts = errors.New("a count is out of range")
	errTwice  = errors.New("a topic is there twice, or without an id")
)

// check says what of a record cannot be.
func (r *Record) check(key string) error {
	if r.Format != format || r.Sequence < 1 || r.Seconds < 0 {
		return errCounts
	}
	if year := r.From.Year(); year < 1970 || year > 9999 || r.To.Before(r.From) || r.To.After(r.Hour().Add(time.Hour)) {
		return errTimes
	}
	if r.Key() != key {
		return errPlace
	}
	seen := make(map[topic.ID]bool, len(r.Topics))
	for _, e := range r.Topics {
		if seen[e.ID] || e.ID == (topic.ID{}) {
			return errTwice
		}
		seen[e.ID] = true
		if min(e.In, e.Out, e.StoredByteSeconds, e.PartitionSeconds) < 0 || max(e.In, e.Out, e.PartitionSeconds) > math.MaxInt64>>16 {
			return errCounts
		}
	}
	return nil
}

// hourOf reads the hour from a key; ok is false for what is no record's.
func hourOf(key string) (hour time.Time, ok bool) {
	folder, name, ok := strings.Cut(strings.TrimPrefix(key, Root), "/")
	if !ok || strings.Count(name, "-") != 2 {
		return hour, false
	}
	if _, err := strconv.Atoi(folder); err != nil {
		return hour, false
	}
	hour, err := time.Parse(hourLayout, folder)
	return hour, err == nil
}
