package meter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/kafka/topic"
)

// bench is a store, and one broker after the other that counts into it.
type bench struct {
	clock   *clock.Manual
	memory  *object.Memory
	objects object.Store
	stored  []Stored
	started uint64
	before  error // what the store says instead of doing it
	after   error // what it says after it has done it
}

var start = time.Date(2026, 3, 1, 10, 30, 0, 0, time.UTC)

func newBench() *bench {
	b := &bench{clock: clock.NewManual(start)}
	b.memory = object.NewMemory(b.clock)
	b.objects = &flaky{b.memory, b}
	return b
}

// flaky fails as the bench says, once for each.
type flaky struct {
	object.Store
	b *bench
}

func (f *flaky) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) error {
	if err := f.b.before; err != nil {
		return err
	}
	err := f.Store.Put(ctx, key, body, o)
	if late := f.b.after; late != nil {
		f.b.after = nil
		return late
	}
	return err
}

func (b *bench) start() *Meter {
	b.started++
	return New(Config{Cluster: "c", Broker: 1, Incarnation: b.started}, World{
		Objects: b.objects, Clock: b.clock, Log: slog.New(slog.DiscardHandler), Stored: func() []Stored { return b.stored },
	})
}

func (b *bench) report(t interface{ Fatal(...any) }) Usage {
	u, err := Report(context.Background(), b.memory, Query{From: start, To: start.Add(20 * 24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func ids(n int) []topic.ID {
	all := make([]topic.ID, n)
	for i := range all {
		all[i][0] = byte(i + 1)
	}
	return all
}

var errAway = errors.New("away")

// U2, U3: whatever the store does, and however brokers stop, each byte that was counted is reported once; a crash loses what is in no
// record.
func TestEachByteIsReportedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, m := newBench(), (*Meter)(nil)
		m = b.start()
		topics := ids(3)
		var in, out, lastIn, lastOut [3]int64 // counted, and of that what is in no record yet
		lose := func() {
			for i := range topics {
				in[i], out[i] = in[i]-lastIn[i], out[i]-lastOut[i]
			}
			for _, w := range m.waiting {
				if _, err := b.memory.Stat(context.Background(), w.record.Key()); err == nil {
					continue // it arrived
				}
				for _, e := range w.record.Topics {
					i := e.ID[0] - 1
					in[i], out[i] = in[i]-e.In, out[i]-e.Out
				}
			}
		}
		cut := func() {
			if len(m.waiting) < waitingMost {
				lastIn, lastOut = [3]int64{}, [3]int64{}
			}
			m.cut()
		}
		t.Repeat(map[string]func(*rapid.T){
			"count": func(t *rapid.T) {
				i, n := rapid.IntRange(0, 2).Draw(t, "topic"), rapid.Int64Range(1, 1<<40).Draw(t, "bytes")
				c := m.Topic(topics[i], fmt.Sprint("t", i))
				if rapid.Bool().Draw(t, "in") {
					c.Produced(int(n))
					in[i], lastIn[i] = in[i]+n, lastIn[i]+n
				} else {
					c.Fetched(int(n))
					out[i], lastOut[i] = out[i]+n, lastOut[i]+n
				}
			},
			"record": func(t *rapid.T) {
				b.clock.Advance(time.Duration(rapid.IntRange(1, 120).Draw(t, "seconds")) * time.Second)
				cut()
				_ = m.write(context.Background())
			},
			"store": func(t *rapid.T) {
				b.before, b.after = nil, nil
				switch rapid.IntRange(0, 2).Draw(t, "what") {
				case 1:
					b.before = errAway
				case 2:
					b.after = errAway
				}
			},
			"crash": func(*rapid.T) {
				lose()
				lastIn, lastOut = [3]int64{}, [3]int64{}
				m = b.start()
			},
			"stop": func(t *rapid.T) {
				cut()
				err := m.Close(context.Background())
				if err == nil && len(m.waiting) > 0 {
					t.Fatal("closed, and records wait")
				}
				lose()
				m = b.start()
			},
		})
		b.before, b.after = nil, nil
		if err := m.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		var gotIn, gotOut [3]int64
		for _, r := range b.report(t).Rows {
			gotIn[r.ID[0]-1] += r.In
			gotOut[r.ID[0]-1] += r.Out
		}
		if gotIn != in || gotOut != out {
			t.Fatalf("reported %v in and %v out, counted %v and %v", gotIn, gotOut, in, out)
		}
	})
}

// U1, U2: nothing is lost to counters that are added and given up while others count.
func TestCountingAtOnceLosesNothing(t *testing.T) {
	b := newBench()
	m := b.start()
	const counters, times = 8, 2000
	var all sync.WaitGroup
	for i := range counters {
		all.Go(func() {
			for n := range times {
				id := topic.ID{1 + byte(n%7), byte(i % 2)}
				m.Topic(id, "t").Produced(3)
				m.Topic(id, "t").Fetched(5)
			}
		})
	}
	counted := make(chan struct{})
	go func() { all.Wait(); close(counted) }()
	for ended := false; !ended; {
		select {
		case <-counted:
			ended = true
		default:
		}
		m.cut()
		if err := m.write(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := b.report(t).Total(); got.In != 3*counters*times || got.Out != 5*counters*times {
		t.Errorf("reported %d in and %d out, want %d and %d", got.In, got.Out, 3*counters*times, 5*counters*times)
	}
}

func TestWhatIsStoredCountsByTime(t *testing.T) {
	b := newBench()
	orders := ids(1)[0]
	b.stored = []Stored{{ID: orders, Name: "orders", Partitions: 6, Bytes: 3 << 30}}
	m := b.start()
	for range 90 { // an hour and a half, from half past
		b.clock.Advance(time.Minute)
		m.cut()
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	// The bound on waiting records holds the later ones back, into one.
	u := b.report(t)
	if sum := u.Total(); math.Abs(sum.StoredGBHours-4.5) > 1e-9 || math.Abs(sum.PartitionHours-9) > 1e-9 || math.Abs(u.BrokerHours-1.5) > 1e-9 {
		t.Errorf("%v GB-hours, %v partition-hours, %v broker-hours", sum.StoredGBHours, sum.PartitionHours, u.BrokerHours)
	}
	if len(u.Rows) != 2 || u.Rows[0].Hour.Hour() != 10 || math.Abs(u.Rows[0].PartitionHours-3) > 1e-9 {
		t.Errorf("rows %+v", u.Rows)
	}
}

// U3: while the store does not answer, records wait up to a bound, and what comes then is in the last one.
func TestStoreIsAwayForLong(t *testing.T) {
	b := newBench()
	b.before = errAway
	m := b.start()
	id := ids(1)[0]
	for range 3 * waitingMost {
		m.Topic(id, "orders").Produced(7)
		b.clock.Advance(time.Minute)
		m.cut()
		if err := m.write(context.Background()); !errors.Is(err, errAway) {
			t.Fatal(err)
		}
	}
	if len(m.waiting) != waitingMost {
		t.Errorf("%d records wait", len(m.waiting))
	}
	if err := m.Close(context.Background()); !errors.Is(err, errAway) {
		t.Errorf("close: %v", err)
	}
	b.before = nil
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if sum := b.report(t).Total(); sum.In != 7*3*waitingMost {
		t.Errorf("%d bytes", sum.In)
	}
}

// U4, and the rhythm of Run.
func TestRecordsLieWithinOneHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := object.NewMemory(clock.System{})
		began := time.Now()
		id := ids(1)[0]
		m := New(Config{Cluster: "c", Broker: 3, Incarnation: 9, Interval: 7 * time.Minute}, World{
			Objects: memory, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Stored: func() []Stored { return nil },
		})
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- m.Run(ctx) }()
		for range 150 {
			time.Sleep(30 * time.Second)
			m.Topic(id, "orders").Produced(1)
			time.Sleep(30 * time.Second)
		}
		cancel()
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
		if err := m.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		u, err := Report(context.Background(), memory, Query{From: began, To: began.Add(24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Rows) != 3 || u.Rows[0].In != 60 || u.Rows[1].In != 60 || u.Rows[2].In != 30 || math.Abs(u.BrokerHours-2.5) > 1e-9 {
			t.Errorf("%v broker-hours, %+v", u.BrokerHours, u.Rows)
		}
		one, err := Report(context.Background(), memory, Query{From: began.Add(time.Hour), To: began.Add(2 * time.Hour), Topic: "orders"})
		if err != nil || len(one.Rows) != 1 || one.Rows[0].In != 60 {
			t.Errorf("the second hour: %+v, %v", one, err)
		}
	})
}

func TestTopicsThatAreGoneAreGivenUp(t *testing.T) {
	b := newBench()
	m := b.start()
	id := ids(1)[0]
	kept := m.Topic(id, "orders")
	for range 2 {
		m.cut()
	}
	if len(*m.topics.Load()) != 0 {
		t.Fatal("its counters are kept")
	}
	kept.Produced(11) // by who found it before it was given up
	kept.Fetched(5)
	m.Topic(id, "orders").Produced(2)
	m.cut()
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if sum := b.report(t).Total(); sum.In != 13 || sum.Out != 5 {
		t.Errorf("%d bytes in and %d out, want 13 and 5", sum.In, sum.Out)
	}
}

// U2, U5.
func TestForeignRecordsAreNotSummed(t *testing.T) {
	b := newBench()
	ctx := context.Background()
	one, two := b.start(), b.start()
	two.cfg.Incarnation = one.cfg.Incarnation
	id := ids(1)[0]
	one.Topic(id, "orders").Produced(1)
	two.Topic(id, "orders").Produced(2)
	if err := one.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := two.Close(ctx); !errors.Is(err, errForeign) {
		t.Errorf("the second: %v", err)
	}
	found, err := b.memory.List(ctx, Root, "", 10)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d records, %v", len(found), err)
	}
	bytes, err := read(ctx, b.memory, found[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  string
		body string
		want error
	}{
		"a copy":         {strings.Replace(found[0].Key, "/1-", "/2-", 1), string(bytes), ErrCorrupt},
		"another hour":   {strings.Replace(found[0].Key, "2026030110", "2026030111", 1), string(bytes), ErrCorrupt},
		"a newer one":    {found[0].Key, strings.Replace(string(bytes), `"format":1`, `"format":2,"extra":1`, 1), ErrNewer},
		"an extra field": {found[0].Key, strings.Replace(string(bytes), `"format":1`, `"format":1,"extra":1`, 1), ErrCorrupt},
		"less than none": {found[0].Key, strings.Replace(string(bytes), `"in":1`, `"in":-1`, 1), ErrCorrupt},
		"cut off":        {found[0].Key, string(bytes[:len(bytes)-2]), ErrCorrupt},
	} {
		fresh := object.NewMemory(b.clock)
		if err := fresh.Put(ctx, c.key, [][]byte{[]byte(c.body)}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := Report(ctx, fresh, Query{From: start, To: start.Add(24 * time.Hour)}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := Report(ctx, b.memory, Query{From: start, To: start.Add(40 * 24 * time.Hour)}); !errors.Is(err, ErrRange) {
		t.Errorf("too long: %v", err)
	}
	if _, err := Report(ctx, b.memory, Query{From: start, To: start.Add(-2 * time.Hour)}); !errors.Is(err, ErrRange) {
		t.Errorf("backwards: %v", err)
	}
}

func TestNobodyCountsNothing(t *testing.T) {
	var m *Meter
	m.Topic(topic.ID{}, "").Produced(1)
	m.Topic(topic.ID{}, "").Fetched(1)
	if err := m.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	r := &Record{Format: 1, Cluster: "c", Broker: 1, Incarnation: 2, Sequence: 3, From: start, To: start.Add(time.Minute), Seconds: 60,
		Topics: []Entry{{Name: "orders", ID: ids(1)[0], In: 1, Out: 2, StoredByteSeconds: 3, PartitionSeconds: 4}}}
	b, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Key(), b)
	f.Add("usage/x", []byte("{}"))
	f.Fuzz(func(t *testing.T, key string, b []byte) {
		r, err := Decode(key, b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(key, again); err != nil || r.Key() != key {
			t.Fatalf("%s is not read again: %v", again, err)
		}
	})
}

func BenchmarkProduced(b *testing.B) {
	m := newBench().start()
	topics := ids(200)
	for _, id := range topics {
		m.Topic(id, "orders")
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			m.Topic(topics[i%len(topics)], "orders").Produced(100)
		}
	})
}
