package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/kafka/topic"
)

const (
	defaultInterval = time.Minute
	// waitingMost bounds the records that wait for the store.
	waitingMost = 64
	// writeTimeout bounds one round of writing.
	writeTimeout = 30 * time.Second
)

// Config is read once by New.
type Config struct {
	Cluster     string        // its id
	Broker      int32         // its id
	Incarnation uint64        // no other start of the broker has it
	Interval    time.Duration // between records, at most an hour; 0: a minute. It is what a crash may lose
}

// World is all that a Meter touches outside itself.
type World struct {
	Objects object.Store
	Clock   clock.Clock
	Log     *slog.Logger
	// Stored tells what the broker keeps of each topic now, each once. It may take its time.
	Stored func() []Stored
}

// Stored is what a broker keeps of one topic.
type Stored struct {
	ID         topic.ID
	Name       string
	Partitions int   // that it owns
	Bytes      int64 // in them
}

// Topic counts what clients do with one topic. nil counts nothing. Safe for concurrent use.
type Topic struct {
	meter   *Meter
	name    string
	id      topic.ID
	in, out atomic.Int64 // below 0: given up

	// Of the cutter.
	cutIn, cutOut int64
	idle          int // cuts in a row that found nothing, and no partition
}

// Produced counts bytes of batches that were accepted.
func (t *Topic) Produced(bytes int) {
	if t != nil && t.in.Add(int64(bytes)) < 0 {
		t.meter.Topic(t.id, t.name).Produced(bytes)
	}
}

// Fetched counts bytes of batches that were sent.
func (t *Topic) Fetched(bytes int) {
	if t != nil && t.out.Add(int64(bytes)) < 0 {
		t.meter.Topic(t.id, t.name).Fetched(bytes)
	}
}

// Meter counts for one incarnation of a broker. nil counts nothing. Make one with New.
type Meter struct {
	cfg    Config
	world  World
	topics atomic.Pointer[map[topic.ID]*Topic] // never changed, replaced under adding

	adding sync.Mutex

	// Of the cutter: Run, then Close.
	from     time.Time
	rest     time.Duration // of a second, that is in no record yet
	sequence int64
	waiting  []waiting // to be written, the oldest first
}

// waiting is a record that is not known to be in the store.
type waiting struct {
	record *Record
	bytes  []byte
}

// New returns a Meter that begins now.
func New(cfg Config, w World) *Meter {
	if cfg.Interval <= 0 || cfg.Interval > time.Hour {
		cfg.Interval = defaultInterval
	}
	m := &Meter{cfg: cfg, world: w, from: w.Clock.Now()}
	m.topics.Store(&map[topic.ID]*Topic{})
	return m
}

// Topic returns the counters of a topic. Those that found nothing for a while are given up: who still has them counts on what Topic
// returns then.
func (m *Meter) Topic(id topic.ID, name string) *Topic {
	if m == nil {
		return nil
	}
	if t := (*m.topics.Load())[id]; t != nil {
		return t
	}
	return m.add(id, name)
}

func (m *Meter) add(id topic.ID, name string) *Topic {
	m.adding.Lock()
	defer m.adding.Unlock()
	old := *m.topics.Load()
	if t := old[id]; t != nil {
		return t
	}
	t := &Topic{meter: m, name: name, id: id}
	now := make(map[topic.ID]*Topic, len(old)+1)
	maps.Copy(now, old)
	now[id] = t
	m.topics.Store(&now)
	return t
}

// Run cuts and writes records until ctx ends. What is counted after that is in the record of Close.
func (m *Meter) Run(ctx context.Context) error {
	for {
		timer := time.NewTimer(m.next())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		m.cut()
		if err := m.write(ctx); err != nil && ctx.Err() == nil {
			m.world.Log.Warn("usage could not be recorded yet", "waiting", len(m.waiting), "err", err)
		}
	}
}

// next is how long to the next cut: an interval, or to the end of the hour (U4).
func (m *Meter) next() time.Duration {
	now := m.world.Clock.Now()
	return max(min(m.cfg.Interval, now.Truncate(time.Hour).Add(time.Hour).Sub(now)), time.Millisecond)
}

// Close writes what is left. After an error it may be called again.
func (m *Meter) Close(ctx context.Context) error {
	if m == nil {
		return nil
	}
	var err error
	if len(m.waiting) >= waitingMost {
		err = m.write(ctx) // there must be room for the last one
	}
	if m.cut(); err == nil {
		err = m.write(ctx)
	}
	if err != nil {
		return fmt.Errorf("%d records of usage are lost: %w", len(m.waiting), err)
	}
	return nil
}

// cut makes a record of what has come since the last one, unless too many wait: then it comes into a later one (U3).
func (m *Meter) cut() {
	if len(m.waiting) >= waitingMost {
		return
	}
	now := m.world.Clock.Now()
	passed := now.Sub(m.from) + m.rest
	seconds := int64(passed / time.Second)
	m.rest = passed - time.Duration(seconds)*time.Second
	r := &Record{
		Format: format, Cluster: m.cfg.Cluster, Broker: m.cfg.Broker, Incarnation: m.cfg.Incarnation, Sequence: m.sequence + 1,
		From: m.from.UTC(), Seconds: seconds,
	}
	// A cut that came late, or waited for the store, still counts for one hour.
	r.To = earlier(now.UTC(), r.Hour().Add(time.Hour))
	r.To = later(r.To, r.From)
	r.Topics = m.gather(seconds)
	m.from = now
	if seconds == 0 && len(r.Topics) == 0 {
		return
	}
	m.sequence++
	m.waiting = append(m.waiting, waiting{record: r})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// gather takes what was counted and what is stored, and gives up topics that are gone.
func (m *Meter) gather(seconds int64) []Entry {
	stored := make(map[topic.ID]Stored)
	for _, s := range m.world.Stored() {
		stored[s.ID] = s
		m.Topic(s.ID, s.Name)
	}
	m.adding.Lock()
	defer m.adding.Unlock()
	var all []Entry
	topics := *m.topics.Load()
	var gone []*Topic
	for id, t := range topics {
		s, kept := stored[id]
		e := t.take()
		e.StoredByteSeconds, e.PartitionSeconds = s.Bytes*seconds, int64(s.Partitions)*seconds
		if e.some() {
			all = append(all, e)
		}
		if t.idle++; kept || e.some() {
			t.idle = 0
		}
		if t.idle > 1 {
			gone = append(gone, t)
		}
	}
	return append(all, m.giveUpLocked(gone)...)
}

// giveUpLocked takes counters out of the map, and then what has come to them until then. What comes later finds them given up.
func (m *Meter) giveUpLocked(gone []*Topic) (last []Entry) {
	if len(gone) == 0 {
		return nil
	}
	left := maps.Clone(*m.topics.Load())
	for _, t := range gone {
		delete(left, t.id)
	}
	m.topics.Store(&left)
	for _, t := range gone {
		in, out := t.in.Swap(math.MinInt64), t.out.Swap(math.MinInt64)
		if e := (Entry{Name: t.name, ID: t.id, In: in - t.cutIn, Out: out - t.cutOut}); e.some() {
			last = append(last, e)
		}
	}
	return last
}

// take is what has come since the last cut.
func (t *Topic) take() Entry {
	in, out := t.in.Load(), t.out.Load()
	e := Entry{Name: t.name, ID: t.id, In: in - t.cutIn, Out: out - t.cutOut}
	t.cutIn, t.cutOut = in, out
	return e
}

func (e *Entry) some() bool {
	return e.In != 0 || e.Out != 0 || e.StoredByteSeconds != 0 || e.PartitionSeconds != 0
}

// write puts what waits into the store, in order.
func (m *Meter) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for len(m.waiting) > 0 {
		w := &m.waiting[0]
		if w.bytes == nil {
			var err error
			if w.bytes, err = w.record.Encode(); err != nil {
				return err
			}
		}
		if err := m.put(ctx, w); err != nil {
			return err
		}
		m.waiting = m.waiting[1:]
	}
	m.waiting = nil
	return nil
}

// errForeign: another record stands where ours belongs.
var errForeign = errors.New("meter: another process counts under the same broker and incarnation")

// put writes one record, or finds that it is there (U2).
func (m *Meter) put(ctx context.Context, w *waiting) error {
	key := w.record.Key()
	err := m.world.Objects.Put(ctx, key, [][]byte{w.bytes}, object.PutOptions{IfAbsent: true})
	if err == nil {
		return nil
	}
	if !errors.Is(err, object.ErrExists) {
		return fmt.Errorf("write %s: %w", key, err)
	}
	found, err := read(ctx, m.world.Objects, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if !bytes.Equal(found, w.bytes) {
		return fmt.Errorf("%w: %s", errForeign, key)
	}
	return nil
}
