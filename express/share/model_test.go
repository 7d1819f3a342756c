package share

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/kafka/kerr"
)

// rec is what the plain model knows of one record.
type rec struct {
	state  State
	count  int16
	member string
	until  time.Time
	change int64
	next   State
}

// world drives a Partition and a model of single records side by side.
type world struct {
	*rapid.T
	p       *Partition
	limits  Limits
	now     time.Time
	recs    map[int64]*rec // from start to next
	start   int64
	next    int64
	log     []Span // what can be read
	end     int64
	pending []Change         // begun and not settled
	stored  []Batch          // as the coordinator has it
	storedS int64            // start offset there
	final   map[int64]bool   // S2: acknowledged or archived, and stored
	most    map[int64]int16  // S3: deliveries seen
	floor   int64            // S4: highest start seen, back to what was stored at a restart
	seen    map[string]int64 // how often something happened, so that the test is known to get there
}

func newWorld(t *rapid.T) *world {
	w := &world{
		T: t, now: time.UnixMilli(1_700_000_000_000), recs: map[int64]*rec{}, final: map[int64]bool{}, most: map[int64]int16{},
		seen: map[string]int64{},
		limits: Limits{
			MaxDeliveries: rapid.SampledFrom([]int16{1, 1, 2, 3, 5}).Draw(t, "deliveries"), MaxInFlight: rapid.IntRange(5, 40).Draw(t, "in flight"),
			Lock: 10 * time.Second, Renew: true,
		},
	}
	p, err := New(w.limits, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.p = p
	return w
}

var members = []string{"a", "b", "c"}

func (w *world) member() string { return rapid.SampledFrom(members).Draw(w.T, "member") }

// produce adds a batch to the log, perhaps after a hole, perhaps of an aborted transaction.
func (w *world) produce() {
	first := w.end
	if rapid.IntRange(0, 9).Draw(w.T, "hole") == 0 {
		first += int64(rapid.IntRange(1, 4).Draw(w.T, "hole size"))
	}
	n := int64(rapid.IntRange(1, 12).Draw(w.T, "records"))
	w.log = append(w.log, Span{First: first, Last: first + n - 1, Aborted: rapid.IntRange(0, 9).Draw(w.T, "aborted") == 0})
	w.end = first + n
}

// compact removes a batch from the middle of the log.
func (w *world) compact() {
	if len(w.log) < 3 {
		return
	}
	i := rapid.IntRange(0, len(w.log)-2).Draw(w.T, "compacted")
	w.log = slices.Delete(w.log, i, i+1)
}

// read gives the log's batches from the one that holds from on.
func (w *world) read(from int64) []Span {
	i := slices.IndexFunc(w.log, func(s Span) bool { return s.Last >= from })
	if i < 0 {
		return nil
	}
	n := rapid.IntRange(1, 4).Draw(w.T, "batches")
	return slices.Clone(w.log[i:min(i+n, len(w.log))])
}

func (w *world) acquire() {
	from := w.p.NextFetch()
	w.checkNextFetch(from)
	r := Request{
		Member: w.member(), MaxRecords: rapid.IntRange(1, 15).Draw(w.T, "max"), RecordLimit: rapid.Bool().Draw(w.T, "strict"),
		BatchSize: rapid.IntRange(1, 10).Draw(w.T, "size"), From: from, Read: w.read(from),
	}
	room := w.p.CanAcquire()
	out := w.p.Acquire(w.now, r)
	if len(out) > 0 && !room {
		w.Fatalf("acquired %v where CanAcquire said no", out)
	}
	w.acquired(r, out)
	if len(r.Read) > 0 && room && len(out) == 0 && !w.explained(r) {
		w.Fatalf("nothing acquired of %v, next fetch %d, state %v", r, from, w.p.runs)
	}
}

// explained says whether there is a reason that a read where CanAcquire said yes gave nothing.
func (w *world) explained(r Request) bool {
	for _, s := range r.Read {
		if s.Aborted {
			return true
		}
	}
	// What was to be delivered again was compacted away.
	return r.Read[0].First > r.From && r.From < w.next
}

// acquired checks a grant against the model and takes it over, with what the read showed to be missing or aborted.
func (w *world) acquired(r Request, out []Delivery) {
	total, last := int64(0), int64(-1)
	got := map[int64]int16{}
	for _, d := range out {
		if d.First <= last || d.Last < d.First {
			w.Fatalf("deliveries out of order: %v", out)
		}
		last = d.Last
		total += d.Last - d.First + 1
		for o := d.First; o <= d.Last; o++ {
			got[o] = d.Count
		}
	}
	if r.RecordLimit && total > int64(r.MaxRecords) {
		w.Fatalf("%d records, at most %d were asked for", total, r.MaxRecords)
	}
	for o, count := range got {
		m := w.recs[o]
		switch {
		case o < w.start:
			w.Fatalf("%d delivered below the start %d", o, w.start)
		case m == nil && o < w.next, m != nil && (m.state != Available || m.change != 0):
			w.Fatalf("%d delivered, but it is %+v (S1, S2)", o, m)
		case m == nil && count != 1, m != nil && count != m.count+1:
			w.Fatalf("%d delivered for the %dth time, but it is %+v", o, count, m)
		case count > w.limits.MaxDeliveries:
			w.Fatalf("%d delivered for the %dth time (S3)", o, count)
		case w.final[o]:
			w.Fatalf("%d was done, and delivered again (S2)", o)
		case count > 1:
			w.seen["again"]++
		}
		w.most[o] = max(w.most[o], count)
	}
	w.follow(got, r.Member)
}

// follow takes over from the partition which records it has now, and checks what it says of those that did not change.
func (w *world) follow(got map[int64]int16, member string) {
	for _, r := range w.p.runs {
		for o := r.first; o <= r.last; o++ {
			m := w.recs[o]
			count, delivered := got[o]
			switch {
			case delivered:
				w.recs[o] = &rec{state: Acquired, count: count, member: member, until: w.now.Add(w.limits.Lock)}
			case m == nil && (r.state == Archived || r.free()):
				w.recs[o] = &rec{state: r.state, count: r.count} // skipped: a hole, aborted, or the rest of a batch
			case m != nil && m.state == Available && m.change == 0 && r.state == Archived:
				m.state, m.count = Archived, r.count // the one of an aborted record counts a delivery that was not made
			}
		}
	}
	w.next = w.p.next
	w.moved()
}

// moved takes the start over, after checking that everything that it passed was done.
func (w *world) moved() {
	if w.p.start < w.floor {
		w.Fatalf("start went from %d to %d (S4)", w.floor, w.p.start)
	}
	for o := w.start; o < w.p.start; o++ {
		if m := w.recs[o]; m != nil && (!m.state.final() || m.change != 0) {
			if m.state == Available && len(w.log) > 0 {
				// archived just now: it must be out of the log or of an aborted transaction
				i := slices.IndexFunc(w.log, func(s Span) bool { return s.First <= o && o <= s.Last })
				if i < 0 || w.log[i].Aborted {
					continue
				}
			}
			w.Fatalf("start passed %d, which is %+v", o, m)
		}
		delete(w.recs, o)
	}
	w.start, w.floor = w.p.start, w.p.start
	for o := range w.recs {
		if o < w.start {
			delete(w.recs, o)
		}
	}
}

// acknowledge sends acknowledgements, mostly of what the member holds.
func (w *world) acknowledge() {
	member := w.member()
	var acks []Ack
	at := w.start - 2
	for range rapid.IntRange(1, 3).Draw(w.T, "acks") {
		first := at + int64(rapid.IntRange(0, 8).Draw(w.T, "first"))
		if o, ok := w.heldFrom(first, member); ok && rapid.IntRange(0, 4).Draw(w.T, "own") > 0 {
			first = o
		}
		last := first + int64(rapid.IntRange(0, 6).Draw(w.T, "length"))
		types := []int8{int8(rapid.IntRange(0, 4).Draw(w.T, "type"))}
		if rapid.Bool().Draw(w.T, "each") {
			types = rapid.SliceOfN(rapid.Int8Range(0, 4), int(last-first+1), int(last-first+1)).Draw(w.T, "types")
		}
		acks = append(acks, Ack{First: first, Last: last, Types: types})
		at = last + 1
	}
	want := w.wantCode(member, acks)
	c, err := w.p.Acknowledge(w.now, member, acks)
	if got := kerr.Of(err); got != want && !(err == nil && want == kerr.None) {
		w.Fatalf("acknowledge %v of %s: %v, want %v", acks, member, err, want)
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		w.Fatalf("%v is not an *Error", err)
	}
	w.begin(c)
	if err != nil {
		w.renewed()
		return
	}
	w.each(acks, func(o int64, kind int8) {
		m := w.recs[o]
		switch kind {
		case Renew:
			m.until = w.now.Add(w.limits.Lock)
			w.seen["renew"]++
		case Accept:
			m.change, m.next = c.ID, Acknowledged
		case Release:
			m.change, m.next = c.ID, w.back(m)
		default:
			m.change, m.next = c.ID, Archived
		}
	})
	w.seen["acknowledged"]++
}

// renewed takes over the locks that a refused request has renewed (S6).
func (w *world) renewed() {
	for o, m := range w.recs {
		if r := w.p.runs[w.p.find(o)]; m.state == Acquired && m.change == 0 && r.until.After(m.until) {
			m.until = r.until
		}
	}
}

func (w *world) each(acks []Ack, f func(o int64, kind int8)) {
	for _, a := range acks {
		for o := a.First; o <= a.Last; o++ {
			kind := a.Types[0]
			if len(a.Types) > 1 {
				kind = a.Types[o-a.First]
			}
			if o >= w.start {
				f(o, kind)
			}
		}
	}
}

// wantCode is what the model answers.
func (w *world) wantCode(member string, acks []Ack) kerr.Code {
	for _, a := range acks {
		switch {
		case a.Last < w.start:
			continue
		case len(w.recs) == 0:
			return kerr.InvalidRecordState
		case a.Last >= w.next:
			return kerr.InvalidRequest
		}
		for o := max(a.First, w.start); o <= a.Last; o++ {
			if m := w.recs[o]; m.state != Acquired || m.change != 0 || m.member != member {
				return kerr.InvalidRecordState
			}
		}
	}
	return kerr.None
}

func (w *world) heldFrom(from int64, member string) (int64, bool) {
	for o := max(from, w.start); o < w.next; o++ {
		if m := w.recs[o]; m.state == Acquired && m.change == 0 && m.member == member {
			return o, true
		}
	}
	return 0, false
}

func (w *world) back(m *rec) State {
	if m.count >= w.limits.MaxDeliveries {
		w.seen["worn out"]++
		return Archived
	}
	return Available
}

func (w *world) release() {
	member := w.member()
	c := w.p.Release(member)
	w.begin(c)
	for _, m := range w.recs {
		if m.state == Acquired && m.change == 0 && m.member == member {
			m.change, m.next = c.ID, w.back(m)
			w.seen["released"]++
		}
	}
}

func (w *world) begin(c Change) {
	if len(c.Batches) > 0 && c.ID != 0 {
		w.pending = append(w.pending, c)
	}
}

// store is what the coordinator does with a change.
func (w *world) store(c Change) {
	w.storedS = max(w.storedS, c.Start)
	w.stored = Combine(w.stored, c.Batches, w.storedS)
	for _, b := range c.Batches {
		for o := b.First; o <= b.Last && b.State.final(); o++ {
			w.final[o] = true
		}
	}
}

// settle ends the oldest change.
func (w *world) settle(ok bool) {
	if len(w.pending) == 0 {
		return
	}
	c := w.pending[0]
	w.pending = w.pending[1:]
	if ok {
		w.store(c)
	}
	w.p.Settle(c.ID, ok)
	for _, m := range w.recs {
		if m.change != c.ID {
			continue
		}
		m.change = 0
		if ok {
			m.state, m.member, m.until = m.next, "", time.Time{}
		}
		m.next = 0
	}
	w.moved()
}

func (w *world) expire(d time.Duration) {
	w.now = w.now.Add(d)
	for _, m := range w.recs {
		if m.state == Acquired && m.change == 0 {
			if at, ok := w.p.Deadline(); !ok || at.After(m.until) {
				w.Fatalf("deadline %v, a lock ends at %v (S8)", at, m.until)
			}
		}
	}
	c := w.p.Expire(w.now)
	if len(c.Batches) > 0 && w.Bool("stored") {
		w.store(c)
	}
	for _, m := range w.recs {
		if m.state == Acquired && m.change == 0 && !m.until.After(w.now) {
			m.state = w.back(m)
			m.member, m.until = "", time.Time{}
			w.seen["expired"]++
		}
	}
	w.moved()
}

// Bool draws one.
func (w *world) Bool(label string) bool { return rapid.Bool().Draw(w.T, label) }

// retain moves the log's start.
func (w *world) retain() {
	if len(w.log) < 2 || rapid.IntRange(0, 3).Draw(w.T, "retain") > 0 {
		return
	}
	w.log = w.log[1:]
	to := w.log[0].First
	w.p.MoveStart(to)
	if to > w.start {
		for o := range w.recs {
			if o < to {
				delete(w.recs, o)
			}
		}
		w.start, w.floor, w.next = to, to, max(w.next, to)
		w.seen["log start"]++
	}
	w.moved()
}

// restart loads what was stored into a new Partition: what was in the air is lost.
func (w *world) restart() {
	p, err := New(w.limits, w.storedS, w.stored)
	if err != nil {
		w.Fatalf("restart from %d %v: %v", w.storedS, w.stored, err)
	}
	w.p, w.pending, w.recs = p, nil, map[int64]*rec{}
	w.start, w.next, w.floor = p.start, p.next, p.start
	for _, r := range p.runs {
		for o := r.first; o <= r.last; o++ {
			w.recs[o] = &rec{state: r.state, count: r.count}
		}
	}
	for o := range w.final {
		if m := w.recs[o]; o >= w.start && (m == nil || !m.state.final()) {
			w.Fatalf("%d was stored as done, after the restart it is %+v (S5)", o, m)
		}
	}
	for o, m := range w.recs {
		if m.count > w.most[o] {
			w.Fatalf("%d was delivered %d times, after the restart %d", o, w.most[o], m.count)
		}
	}
	w.seen["restart"]++
}

func (w *world) checkNextFetch(got int64) {
	want := w.next
	for o := w.start; o < w.next; o++ {
		if m := w.recs[o]; m.state == Available && m.change == 0 {
			want = o
			break
		}
	}
	if got != want {
		w.Fatalf("next fetch at %d, want %d", got, want)
	}
}

// check compares every record, and the runs with S4.
func (w *world) check() {
	at, complete := w.p.start, int32(0)
	for _, r := range w.p.runs {
		if r.first != at || r.last < r.first {
			w.Fatalf("runs %v from %d (S4)", w.p.runs, w.p.start)
		}
		at = r.last + 1
		for o := r.first; o <= r.last; o++ {
			m := w.recs[o]
			if m == nil || m.state != r.state || m.count != r.count || m.member != r.member || m.change != r.change || m.next != r.next ||
				!m.until.Equal(r.until) {
				w.Fatalf("%d is %+v, want %+v", o, r, m)
			}
			if r.to().final() {
				complete++
			}
		}
	}
	if at != w.p.next || w.p.next != w.next || w.p.Complete() != complete {
		w.Fatalf("next %d, runs end at %d, want %d; complete %d, want %d", w.p.next, at, w.next, w.p.Complete(), complete)
	}
	if n := len(w.p.runs); int64(n) > w.next-w.start || n > w.limits.MaxInFlight+40 {
		w.Fatalf("%d runs for %d offsets (S7)", n, w.next-w.start)
	}
}

func TestAgainstRecords(t *testing.T) {
	seen := map[string]int64{}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"produce":  func(*rapid.T) { w.produce() },
			"acquire":  func(*rapid.T) { w.acquire() },
			"acquire2": func(*rapid.T) { w.acquire() },
			"ack":      func(*rapid.T) { w.acknowledge() },
			"ack2":     func(*rapid.T) { w.acknowledge() },
			"release":  func(*rapid.T) { w.release() },
			"settle":   func(*rapid.T) { w.settle(rapid.IntRange(0, 4).Draw(t, "fault") > 0) },
			"expire":   func(*rapid.T) { w.expire(time.Duration(rapid.IntRange(0, 9000).Draw(t, "ms")) * time.Millisecond) },
			"compact":  func(*rapid.T) { w.compact() },
			"retain":   func(*rapid.T) { w.retain() },
			"restart":  func(*rapid.T) { w.restart() },
			"":         func(*rapid.T) { w.check() },
		})
		w.drain()
		for what, n := range w.seen {
			seen[what] += n
		}
	})
	for _, what := range []string{"again", "acknowledged", "released", "expired", "worn out", "renew", "log start", "restart"} {
		if seen[what] == 0 && !testing.Short() { // a short run plays too few histories
			t.Errorf("the test never got to %q", what)
		}
	}
}

// drain lets one good member take everything: in the end all is done.
func (w *world) drain() {
	for range 2000 {
		for len(w.pending) > 0 {
			w.settle(true)
		}
		w.expire(w.limits.Lock)
		from := w.p.NextFetch()
		i := slices.IndexFunc(w.log, func(s Span) bool { return s.Last >= from })
		if i < 0 {
			if w.p.NextFetch() == w.p.Next() && w.p.InFlight() == 0 {
				return
			}
			w.p.MoveStart(w.end) // nothing is left of what should come again
			w.recs, w.start, w.next, w.floor = map[int64]*rec{}, w.p.start, w.p.next, w.p.start
			continue
		}
		r := Request{Member: "a", MaxRecords: 100, BatchSize: 10, From: from, Read: w.log[i : i+1]}
		out := w.p.Acquire(w.now, r)
		w.acquired(r, out)
		for _, d := range out {
			c, err := w.p.Acknowledge(w.now, "a", []Ack{{First: d.First, Last: d.Last, Types: []int8{Accept}}})
			if err != nil {
				w.Fatal(err)
			}
			w.begin(c)
			for o := d.First; o <= d.Last; o++ {
				w.recs[o].change, w.recs[o].next = c.ID, Acknowledged
			}
		}
	}
	w.Fatalf("never done: %d to %d of %v: %v", w.p.start, w.p.next, w.log, w.p.runs)
}

// TestCombine compares with records laid one over the other.
func TestCombine(t *testing.T) {
	batch := rapid.Custom(func(t *rapid.T) Batch {
		first := int64(rapid.IntRange(0, 30).Draw(t, "first"))
		return Batch{
			First: first, Last: first + int64(rapid.IntRange(0, 10).Draw(t, "n")),
			State: rapid.SampledFrom([]State{Available, Acknowledged, Archived}).Draw(t, "state"), Count: rapid.Int16Range(1, 3).Draw(t, "count"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		start := int64(rapid.IntRange(0, 20).Draw(t, "start"))
		var stored []Batch
		model := map[int64]Batch{}
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			newer := rapid.SliceOfN(batch, 0, 4).Draw(t, "newer")
			stored = Combine(stored, newer, start)
			for _, b := range newer {
				for o := max(b.First, start); o <= b.Last; o++ {
					if m, ok := model[o]; !ok || b.Count > m.Count || b.Count == m.Count && b.State > m.State {
						model[o] = b
					}
				}
			}
		}
		got := map[int64]Batch{}
		for i, b := range stored {
			if b.First > b.Last || i > 0 && (b.First <= stored[i-1].Last ||
				b.First == stored[i-1].Last+1 && b.State == stored[i-1].State && b.Count == stored[i-1].Count) {
				t.Fatalf("not in order, or not joined: %v", stored)
			}
			for o := b.First; o <= b.Last; o++ {
				got[o] = b
			}
		}
		for o := range int64(60) {
			if m, g := model[o], got[o]; m.State != g.State || m.Count != g.Count {
				t.Fatalf("%d: %+v, want %+v", o, g, m)
			}
		}
	})
}

func (r run) String() string {
	return fmt.Sprintf("[%d-%d %d x%d %s batch %d change %d→%d]", r.first, r.last, r.state, r.count, r.member, r.batch, r.change, r.next)
}
