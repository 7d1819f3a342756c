package share

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/kafka/kerr"
)

var began = time.UnixMilli(1_700_000_000_000)

// spans makes log batches of the given sizes, one after the other from offset 0.
func spans(sizes ...int64) []Span {
	var out []Span
	at := int64(0)
	for _, n := range sizes {
		out = append(out, Span{First: at, Last: at + n - 1})
		at += n
	}
	return out
}

func fresh(t *testing.T) *Partition {
	t.Helper()
	p, err := New(DefaultLimits(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// got is an Acquire of everything at NextFetch, as text: "first-last xcount".
func got(p *Partition, now time.Time, member string, maxRecords int, read []Span) string {
	from := p.NextFetch()
	i := slices.IndexFunc(read, func(s Span) bool { return s.Last >= from })
	if i < 0 {
		return ""
	}
	return text(p.Acquire(now, Request{Member: member, MaxRecords: maxRecords, BatchSize: 500, From: from, Read: read[i:]}))
}

func text(ds []Delivery) string {
	var parts []string
	for _, d := range ds {
		parts = append(parts, fmt.Sprintf("%d-%d x%d", d.First, d.Last, d.Count))
	}
	return strings.Join(parts, ", ")
}

func (p *Partition) must(t *testing.T, member string, kind int8, first, last int64) {
	t.Helper()
	c, err := p.Acknowledge(began, member, []Ack{{First: first, Last: last, Types: []int8{kind}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Settle(c.ID, true)
}

func want(t *testing.T, have, want string) {
	t.Helper()
	if have != want {
		t.Errorf("acquired %q, want %q", have, want)
	}
}

func TestWholeBatchesAreAcquired(t *testing.T) {
	p := fresh(t)
	want(t, got(p, began, "a", 5, spans(3, 4, 4)), "0-6 x1")
	want(t, got(p, began, "b", 5, spans(3, 4, 4)), "7-10 x1")
	want(t, got(p, began, "c", 5, spans(3, 4, 4)), "")
}

func TestRecordLimitIsStrict(t *testing.T) {
	p := fresh(t)
	r := Request{Member: "a", MaxRecords: 3, RecordLimit: true, BatchSize: 1, Read: spans(10)}
	want(t, text(p.Acquire(began, r)), "0-2 x1")
	r.Member, r.From = "b", p.NextFetch()
	want(t, text(p.Acquire(began, r)), "3-5 x1")
	if p.Next() != 10 {
		t.Errorf("next is %d: the rest of the batch belongs to what is in flight", p.Next())
	}
}

func TestAnswerIsCutAtBatchesOfTheLog(t *testing.T) {
	p := fresh(t)
	out := p.Acquire(began, Request{Member: "a", MaxRecords: 100, BatchSize: 5, Read: spans(3, 3, 3, 3, 3)})
	want(t, text(out), "0-5 x1, 6-11 x1, 12-14 x1")
	p.must(t, "a", Release, 0, 14)
	want(t, got(p, began, "a", 100, spans(3, 3, 3, 3, 3)), "0-5 x2, 6-11 x2, 12-14 x2")
}

func TestReleasedRecordsComeFirst(t *testing.T) {
	p := fresh(t)
	want(t, got(p, began, "a", 100, spans(10)), "0-9 x1")
	p.must(t, "a", Release, 2, 3)
	p.must(t, "a", Release, 6, 6)
	p.must(t, "a", Accept, 4, 5)
	want(t, got(p, began, "b", 100, spans(10, 5)), "2-3 x2, 6-6 x2, 10-14 x1")
}

// A record that was delivered often is delivered in ever smaller parts, and the last time alone: a bad one shall not archive
// the good ones around it.
func TestWornRecordsComeInSmallParts(t *testing.T) {
	p := fresh(t)
	for range 3 {
		got(p, began, "a", 100, spans(16))
		p.must(t, "a", Release, 0, 15)
	}
	want(t, got(p, began, "a", 100, spans(16, 4)), "0-7 x4")
	want(t, got(p, began, "a", 100, spans(16, 4)), "8-15 x4")
	p.must(t, "a", Release, 0, 15)
	want(t, got(p, began, "a", 100, spans(16, 4)), "0-0 x5")
	want(t, got(p, began, "a", 100, spans(16, 4)), "1-1 x5")
	p.must(t, "a", Release, 0, 1)
	if p.Start() != 2 {
		t.Errorf("start is %d: five deliveries are all there are", p.Start())
	}
}

func TestRoomIsBounded(t *testing.T) {
	p := fresh(t)
	l := DefaultLimits()
	l.MaxInFlight = 10
	p.SetLimits(l)
	want(t, got(p, began, "a", 100, spans(4, 4, 4, 4)), "0-11 x1")
	if p.CanAcquire() {
		t.Error("there is room")
	}
	want(t, got(p, began, "a", 100, spans(4, 4, 4, 4)), "")
	p.must(t, "a", Release, 4, 7)
	if !p.CanAcquire() {
		t.Error("what came back cannot be delivered")
	}
	want(t, got(p, began, "b", 100, spans(4, 4, 4, 4)), "4-7 x2")
}

// A batch of the log with very many records does not make the state large.
func TestHugeBatchIsAcquiredInParts(t *testing.T) {
	p := fresh(t)
	read := spans(1 << 30)
	want(t, got(p, began, "a", 10, read), "0-65535 x1")
	if p.InFlight() != batchMost {
		t.Errorf("%d in flight", p.InFlight())
	}
	p.must(t, "a", Accept, 0, 65535)
	want(t, got(p, began, "a", 10, read), "65536-131071 x1")
}

func TestLockRunsOut(t *testing.T) {
	p := fresh(t)
	got(p, began, "a", 100, spans(4))
	at, ok := p.Deadline()
	if !ok || !at.Equal(began.Add(30*time.Second)) {
		t.Fatalf("deadline %v %v", at, ok)
	}
	if c := p.Expire(at.Add(-1)); len(c.Batches) != 0 {
		t.Errorf("%+v expired too early", c)
	}
	c := p.Expire(at)
	if len(c.Batches) != 1 || c.Batches[0] != (Batch{0, 3, Available, 1}) {
		t.Errorf("stored %+v", c)
	}
	if _, err := p.Acknowledge(at, "a", []Ack{{0, 3, []int8{Accept}}}); kerr.Of(err) != kerr.InvalidRecordState {
		t.Errorf("acknowledged after the lock: %v", err)
	}
	want(t, got(p, at, "b", 100, spans(4)), "0-3 x2")
	if _, err := p.Acknowledge(at.Add(10*time.Second), "b", []Ack{{0, 3, []int8{Renew}}}); err != nil {
		t.Fatal(err)
	}
	if c := p.Expire(at.Add(30 * time.Second)); len(c.Batches) != 0 {
		t.Errorf("%+v expired in spite of the renewal", c)
	}
	if c := p.Expire(at.Add(40 * time.Second)); len(c.Batches) != 1 {
		t.Errorf("the renewed lock never ends: %+v", c)
	}
}

// A lock that ends while an acknowledgement is being stored ends if that fails, and not before.
func TestLockRunsOutWhileStoring(t *testing.T) {
	p := fresh(t)
	got(p, began, "a", 100, spans(4))
	c, err := p.Acknowledge(began, "a", []Ack{{0, 3, []int8{Accept}}})
	if err != nil {
		t.Fatal(err)
	}
	late := began.Add(time.Hour)
	if c := p.Expire(late); len(c.Batches) != 0 {
		t.Fatalf("%+v expired", c)
	}
	p.Settle(c.ID, false)
	if at, ok := p.Deadline(); !ok || at.After(late) {
		t.Fatalf("deadline %v %v", at, ok)
	}
	if c := p.Expire(late); len(c.Batches) != 1 || c.Batches[0].State != Available {
		t.Errorf("stored %+v", c)
	}
}

func TestRefusals(t *testing.T) {
	p := fresh(t)
	f := func(member string, first, last int64, kind int8, code kerr.Code) {
		t.Helper()
		_, err := p.Acknowledge(began, member, []Ack{{first, last, []int8{kind}}})
		var e *Error
		if kerr.Of(err) != code || err != nil && !errors.As(err, &e) {
			t.Errorf("%s acknowledges %d-%d: %v, want %v", member, first, last, err, code)
		}
	}
	f("a", 0, 3, Accept, kerr.InvalidRecordState)
	got(p, began, "a", 100, spans(4))
	f("b", 0, 3, Accept, kerr.InvalidRecordState)
	f("a", 0, 4, Accept, kerr.InvalidRequest)
	f("a", 4, 4, Accept, kerr.InvalidRequest)
	l := DefaultLimits()
	l.Renew = false
	p.SetLimits(l)
	f("a", 0, 3, Renew, kerr.InvalidRecordState)
	p.must(t, "a", Accept, 0, 3)
	f("b", 0, 3, Accept, kerr.None) // long done
	f("a", 0, 4, Accept, kerr.InvalidRecordState)
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, b := range [][]Batch{
		{{First: 3, Last: 2}}, {{First: 0, Last: 1}, {First: 1, Last: 2}}, {{First: -1, Last: 2}},
		{{First: 0, Last: 1, State: Acquired}}, {{First: 0, Last: 1, State: 3}}, {{First: 0, Last: 1, Count: -1}},
	} {
		if _, err := New(DefaultLimits(), 0, b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: %v", b, err)
		}
	}
	if _, err := New(DefaultLimits(), -1, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("start -1: %v", err)
	}
}

// Records between what was stored had been acquired when the broker fell: they come again.
func TestGapsInStoredStateAreAvailable(t *testing.T) {
	p, err := New(DefaultLimits(), 2, []Batch{{4, 5, Acknowledged, 1}, {8, 9, Available, 2}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, got(p, began, "a", 100, spans(12)), "2-3 x1, 6-7 x1, 8-9 x3, 10-11 x1")
}

func BenchmarkAcquireAcknowledge(b *testing.B) {
	p, err := New(DefaultLimits(), 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	at := int64(0)
	for b.Loop() {
		read := []Span{{First: at, Last: at + 99}}
		p.Acquire(began, Request{Member: "a", MaxRecords: 100, BatchSize: 100, From: at, Read: read})
		for o := at; o < at+100; o += 10 {
			c, err := p.Acknowledge(began, "a", []Ack{{o, o + 9, []int8{Accept}}})
			if err != nil {
				b.Fatal(err)
			}
			p.Settle(c.ID, true)
		}
		at += 100
	}
}
