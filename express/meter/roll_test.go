package meter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/object"
)

// shelf is a store with records of several days, and what they come to.
type shelf struct {
	objects *object.Memory
	now     time.Time
	next    map[writer]int64
	all     []*Record // that were written once
	want    map[string]Entry
	seconds int64
}

var firstDay = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func newShelf() *shelf {
	return &shelf{
		objects: object.NewMemory(clock.NewManual(firstDay)), now: firstDay.Add(5 * 24 * time.Hour), next: map[writer]int64{}, want: map[string]Entry{},
	}
}

// put writes a record, which counts once however often it is put.
func (s *shelf) put(t interface{ Fatal(...any) }, r *Record) {
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	err = s.objects.Put(context.Background(), r.Key(), [][]byte{b}, object.PutOptions{IfAbsent: true})
	if err != nil && !errors.Is(err, object.ErrExists) {
		t.Fatal(err)
	}
}

// record writes the next one of a broker.
func (s *shelf) record(t interface{ Fatal(...any) }, by writer, from time.Time, topics ...Entry) {
	s.next[by]++
	r := &Record{
		Format: format, Cluster: "c", Broker: by.broker, Incarnation: by.incarnation, Sequence: s.next[by], From: from, To: from, Seconds: 60, Topics: topics,
	}
	s.put(t, r)
	s.all = append(s.all, r)
	s.seconds += r.Seconds
	for _, e := range topics {
		at := fmt.Sprint(r.Hour().Format(hourLayout), e.Name)
		sum := s.want[at]
		s.want[at] = Entry{
			Name: e.Name, In: sum.In + e.In, Out: sum.Out + e.Out, StoredByteSeconds: sum.StoredByteSeconds + e.StoredByteSeconds,
			PartitionSeconds: sum.PartitionSeconds + e.PartitionSeconds,
		}
	}
}

// check compares what is read with what was written.
func (s *shelf) check(t interface {
	Fatal(...any)
	Errorf(string, ...any)
}, when string) {
	got, seconds := map[string]Entry{}, int64(0)
	err := Read(context.Background(), s.objects, firstDay, firstDay.Add(10*24*time.Hour), func(r *Record) error {
		seconds += r.Seconds
		for _, e := range r.Topics {
			at := fmt.Sprint(r.Hour().Format(hourLayout), e.Name)
			sum := got[at]
			got[at] = Entry{
				Name: e.Name, In: sum.In + e.In, Out: sum.Out + e.Out, StoredByteSeconds: sum.StoredByteSeconds + e.StoredByteSeconds,
				PartitionSeconds: sum.PartitionSeconds + e.PartitionSeconds,
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(s.want) || seconds != s.seconds {
		t.Errorf("%s: read %v in %d seconds, want %v in %d", when, got, seconds, s.want, s.seconds)
	}
}

// count is how many objects there are.
func (s *shelf) count(t interface{ Fatal(...any) }) int {
	all, err := s.objects.List(context.Background(), Root, "", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// fill writes records of three brokers over the first days.
func (s *shelf) fill(t interface{ Fatal(...any) }, n int) {
	topics := ids(3)
	for i := range n {
		by := writer{int32(i%3 + 1), uint64(i % 2)}
		s.record(t, by, firstDay.Add(time.Duration(i)*7*time.Minute), Entry{Name: "t" + fmt.Sprint(i%3), ID: topics[i%3], In: int64(i) + 1, Out: 1 << 40, StoredByteSeconds: 3, PartitionSeconds: 60})
	}
}

var errCrash = errors.New("crash")

// U6: broken off at any call to the store, with its effect or without, a roll leaves reports as they were, and the next one ends it.
func TestRollIsBrokenOffAnywhere(t *testing.T) {
	for _, most := range []int{sumMost, 3} { // by days, by hours
		for _, lost := range []bool{false, true} {
			for at := 0; ; at++ {
				s := newShelf()
				s.fill(t, 40)
				calls, crashed := 0, false
				crashing := object.Faulty(s.objects, func(_ context.Context, op object.Op) error {
					if calls++; crashed || calls > at {
						if lost && !crashed && (op.Kind == object.OpPut || op.Kind == object.OpDelete) {
							crashed = true
							return &object.LostAnswer{Err: errCrash}
						}
						crashed = true
						return errCrash
					}
					return nil
				})
				err := rolling{crashing, s.now, most}.all(t.Context())
				s.check(t, fmt.Sprint("broken off at call ", at))
				for round := range 3 {
					later := s.now.Add(time.Duration(round+1) * grace)
					if err := (rolling{s.objects, later, most}).all(t.Context()); err != nil {
						t.Fatal(err)
					}
					s.check(t, fmt.Sprintf("call %d, round %d", at, round))
				}
				if n := s.count(t); most == sumMost && n != 1 {
					t.Errorf("%d objects are left of one day", n)
				}
				if t.Failed() {
					return
				}
				if err == nil {
					break
				}
			}
		}
	}
}

// U6: whoever rolls up at the same time, and whatever comes late or again, each record counts once.
func TestRollBesideOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShelf()
		topics := ids(3)
		most := rapid.SampledFrom([]int{sumMost, 2}).Draw(t, "most")
		roll := func(objects object.Store) { _ = rolling{objects, s.now, most}.all(context.Background()) }
		t.Repeat(map[string]func(*rapid.T){
			"record": func(t *rapid.T) {
				by := writer{rapid.Int32Range(1, 2).Draw(t, "broker"), rapid.Uint64Range(0, 1).Draw(t, "incarnation")}
				at := firstDay.Add(time.Duration(rapid.IntRange(0, 3*24*60-1).Draw(t, "minute")) * time.Minute)
				i := rapid.IntRange(0, 2).Draw(t, "topic")
				s.record(t, by, at, Entry{Name: fmt.Sprint("t", i), ID: topics[i], In: rapid.Int64Range(1, 1<<40).Draw(t, "in")})
			},
			"again": func(t *rapid.T) { // a writer that does not know whether its record arrived
				if len(s.all) > 0 {
					s.put(t, s.all[rapid.IntRange(0, len(s.all)-1).Draw(t, "which")])
				}
			},
			"later": func(*rapid.T) { s.now = s.now.Add(grace / 2) },
			"roll":  func(*rapid.T) { roll(s.objects) },
			"beside": func(t *rapid.T) { // another one does all of it between two calls of the first, which may be held up for long
				calls, at := 0, rapid.IntRange(1, 12).Draw(t, "call")
				first := rolling{objects: nil, now: s.now, most: most}
				first.objects = object.Faulty(s.objects, func(context.Context, object.Op) error {
					if calls++; calls == at {
						roll(s.objects)
						s.now = s.now.Add(2 * grace)
						roll(s.objects)
					}
					return nil
				})
				_ = first.all(context.Background())
			},
			"": func(t *rapid.T) { s.check(t, "read") },
		})
	})
}

// U6: where a day has a sum for each hour, who finds that another has begun with them writes none: it has not read what stands there.
func TestRollBesideOneThatSumsHours(t *testing.T) {
	s := newShelf()
	by := writer{1, 1}
	add := func(hour int) {
		s.record(t, by, firstDay.Add(time.Duration(hour)*time.Hour), Entry{Name: "t", ID: ids(1)[0], In: int64(hour) + 1})
	}
	add(1)
	add(2)
	add(3)
	listed, err := s.objects.List(t.Context(), Root, "", page)
	if err != nil {
		t.Fatal(err)
	}
	add(0)
	puts := 0
	other := object.Faulty(s.objects, func(ctx context.Context, op object.Op) error {
		if op.Kind == object.OpPut {
			if puts++; puts == 2 {
				return rolling{s.objects, s.now, 1}.day(ctx, firstDay.Format(dayLayout), listed)
			}
		}
		return nil
	})
	if err := (rolling{other, s.now, 1}).all(t.Context()); err != nil || puts < 2 {
		t.Fatal(puts, err)
	}
	s.check(t, "two at a time")
}

// Reports that have begun find the records that they have listed: those stay for a while after they were summed.
func TestRollKeepsRecordsForAWhile(t *testing.T) {
	s := newShelf()
	s.fill(t, 40)
	for _, after := range []time.Duration{0, grace - time.Second} {
		if err := Roll(t.Context(), s.objects, s.now.Add(after)); err != nil || s.count(t) != 41 {
			t.Errorf("%v after: %d objects, %v", after, s.count(t), err)
		}
	}
	if err := Roll(t.Context(), s.objects, s.now.Add(2*grace)); err != nil || s.count(t) != 1 {
		t.Errorf("at last: %d objects, %v", s.count(t), err)
	}
}

// Days that are not over for long enough stay as they are, and so does what cannot be read.
func TestRollLeavesAlone(t *testing.T) {
	s := newShelf()
	s.now = firstDay.Add(24*time.Hour + rest - time.Second)
	s.fill(t, 40)
	if err := Roll(t.Context(), s.objects, s.now); err != nil || s.count(t) != 40 {
		t.Errorf("a day that is over since less than two hours: %d objects, %v", s.count(t), err)
	}
	bad := s.all[7].Key()
	if err := s.objects.Put(t.Context(), bad, [][]byte{[]byte("{}")}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Roll(t.Context(), s.objects, s.now.Add(time.Hour)); !errors.Is(err, ErrCorrupt) || s.count(t) != 40 {
		t.Errorf("a record that is damaged: %d objects, %v", s.count(t), err)
	}
}

// What is read of a sum is what was written, and nothing that cannot be is taken.
func FuzzDecodeSum(f *testing.F) {
	s := newShelf()
	s.fill(f, 40)
	if err := Roll(context.Background(), s.objects, s.now); err != nil {
		f.Fatal(err)
	}
	key := Root + "20260301/sum-00000001"
	b, err := read(context.Background(), s.objects, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key, b)
	f.Add(key, []byte(`{"format":2}`))
	f.Add(key, []byte(`{"format":1,"cluster":"c","day":"2026-03-01T00:00:00Z","number":1,"made":"2026-03-05T00:00:00Z","hours":[],"sources":[{"broker":1,"incarnation":"1","sequences":[[2,1]]}]}`))
	f.Fuzz(func(t *testing.T, key string, b []byte) {
		s, err := decodeSum(key, b)
		if err != nil {
			return
		}
		if !isSum(s.Key()) || s.Key() != key {
			t.Errorf("%q is taken for %q", key, s.Key())
		}
		covered := covers([]*Sum{s})
		for _, one := range s.Sources {
			for _, r := range one.Sequences {
				if !covered(name{by: writer{one.Broker, one.Incarnation}, sequence: r[0]}) || !covered(name{by: writer{one.Broker, one.Incarnation}, sequence: r[1]}) {
					t.Errorf("%v is not covered", r)
				}
			}
		}
	})
}
