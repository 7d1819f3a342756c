package share

import "time"

// batchMost is the most records of one batch of the log that are acquired at once (S7).
const batchMost = 1 << 16

// Span is one batch of the log, as it was read.
type Span struct {
	First, Last int64
	Aborted     bool // of a transaction that was aborted, and the group shall not see it
}

// Request is what a member wants of what was read.
type Request struct {
	Member      string
	MaxRecords  int   // a whole batch may be more, unless RecordLimit is set
	RecordLimit bool  // MaxRecords is strict
	BatchSize   int   // about how many records go into one of the answer's batches; at least 1
	From        int64 // NextFetch when the log was read
	Read        []Span
}

// Delivery is what a member acquired: a run of records with the same number of deliveries, this one included.
type Delivery struct {
	First, Last int64
	Count       int16
}

// grant is an Acquire under way.
type grant struct {
	*Partition
	Request
	until       time.Time
	first, last int64 // what was read
	left        int64 // records that may still be acquired
	out         []Delivery
}

// Acquire gives a member what is available of what was read, in the order of offsets.
func (p *Partition) Acquire(now time.Time, r Request) []Delivery {
	if len(r.Read) == 0 || r.MaxRecords <= 0 {
		return nil
	}
	g := grant{
		Partition: p, Request: r, until: now.Add(p.limits.Lock),
		first: r.Read[0].First, last: r.Read[len(r.Read)-1].Last,
		left: min(int64(r.MaxRecords), int64(p.limits.MaxInFlight)-p.InFlight()),
	}
	if g.last < p.start {
		return nil
	}
	if g.left <= 0 { // no room for more; what came back can be delivered all the same
		if r.From >= p.next {
			return nil
		}
		g.left, g.last = min(int64(r.MaxRecords), p.next-r.From), min(g.last, p.next-1)
	}
	g.skipMissing()
	g.first = max(g.first, p.start)
	if more := g.again(); more {
		g.fresh()
	}
	g.withhold()
	if len(g.out) > 0 && (p.locks.IsZero() || g.until.Before(p.locks)) {
		p.locks = g.until
	}
	p.advance()
	return g.out
}

// skipMissing archives what the log does not have any more: compaction removed it.
func (g *grant) skipMissing() {
	from, to := max(g.From, g.start), min(g.first, g.next)
	if from >= to {
		return
	}
	runs := g.between(from, to-1)
	for i := range runs {
		if runs[i].free() {
			runs[i].set(Archived)
		}
	}
}

// again acquires what came back, one batch after the other, and says whether the member may have records of the log that
// nobody had before.
func (g *grant) again() (more bool) {
	if g.first >= g.next {
		return g.last >= g.first
	}
	last := min(g.last, g.next-1)
	g.cut(last + 1)
	for i := g.cut(g.first); i < len(g.runs) && g.runs[i].first <= last && g.left > 0; {
		end := i // of the runs of the same batch
		for end < len(g.runs) && g.runs[end].first <= last && (g.runs[end].batch == g.runs[i].batch) {
			end++
		}
		throttled := g.worn(i, end)
		if throttled && len(g.out) > 0 {
			return false // in an answer of their own
		}
		before := len(g.out)
		i = g.batch(i, end, throttled)
		if throttled && len(g.out) > before {
			return false
		}
	}
	return g.left > 0 && g.last >= g.next
}

// worn says whether something in these runs was delivered so often that it is delivered in ever smaller parts, lest one bad
// record takes the good ones around it down.
func (g *grant) worn(from, to int) bool {
	for i := from; i < to; i++ {
		if g.runs[i].free() && g.runs[i].count >= g.wornAt() {
			return true
		}
	}
	return false
}

func (g *grant) wornAt() int16 { return max(2, (g.limits.MaxDeliveries+1)/2) }

// batch acquires what is available in the runs of one batch and returns the index of the run after them.
func (g *grant) batch(from, to int, throttled bool) int {
	size := int64(0) // of the batch, as far as it is in flight
	for i := range g.runs {
		if g.runs[i].batch == g.runs[from].batch {
			size += g.runs[i].len()
		}
	}
	most, taken := int64(-1), int64(0)
	for i := from; i < to; i++ {
		r := &g.runs[i]
		if !r.free() {
			continue
		}
		alone := g.limits.MaxDeliveries > 2 && r.count >= g.limits.MaxDeliveries-1
		if throttled && alone && taken > 0 {
			return to
		}
		n := r.len()
		if g.RecordLimit {
			n = min(n, g.left)
		}
		if throttled && r.count >= g.wornAt() {
			if most < 0 {
				most = max(1, size>>(r.count-g.wornAt()+1))
			}
			n = max(1, min(n, most-taken))
		}
		if throttled && alone {
			n = 1
		}
		if n < r.len() {
			g.cut(r.first + n)
			to++
			r = &g.runs[i]
		}
		g.take(r)
		taken += n
		if throttled && (alone || most >= 0 && taken >= most) || g.RecordLimit && g.left <= 0 {
			return to
		}
	}
	return to
}

// take gives a run to the member. A record that no delivery is left for, because the limit is lower now, is archived.
func (g *grant) take(r *run) {
	if r.count >= g.limits.MaxDeliveries {
		r.set(Archived)
		return
	}
	r.state, r.member, r.until = Acquired, g.Member, g.until
	r.count++
	g.left -= r.len()
	g.deliver(r)
}

// deliver adds a run to the answer. Neighbours of one batch with the same count are told as one.
func (g *grant) deliver(r *run) {
	if n := len(g.out); n > 0 && g.out[n-1].Last+1 == r.first && g.out[n-1].Count == r.count && r.first > r.batch {
		g.out[n-1].Last = r.last
		return
	}
	g.out = append(g.out, Delivery{First: r.first, Last: r.last, Count: r.count})
}

// fresh acquires records that nobody had before.
func (g *grant) fresh() {
	first := max(g.first, g.next)
	if len(g.runs) == 0 {
		g.start, g.next = first, first
	}
	g.fill(first, Archived) // the log has nothing there
	last := g.last
	if g.left < last-first+1 {
		last = min(last, g.batchEnd(first+g.left-1))
	}
	last = min(last, first+max(batchMost, g.left)-1)
	if g.RecordLimit {
		r := run{first: first, last: min(last, first+g.left-1), state: Acquired, count: 1, member: g.Member, until: g.until, batch: first}
		g.push(r)
		g.deliver(&r)
		if g.next <= last {
			g.push(run{first: g.next, last: last, batch: first})
			g.seek = true
		}
		return
	}
	for first <= last {
		r := run{first: first, last: g.sliceEnd(first, last), state: Acquired, count: 1, member: g.Member, until: g.until, batch: first}
		g.push(r)
		g.deliver(&r)
		first = r.last + 1
	}
}

// batchEnd is the last offset of the log's batch that holds offset; offset itself where none does.
func (g *grant) batchEnd(offset int64) int64 {
	for _, s := range g.Read {
		if s.First <= offset && offset <= s.Last {
			return s.Last
		}
	}
	return offset
}

// sliceEnd is where an answer's batch that begins at first ends: before the first batch of the log that begins at least
// BatchSize records later.
func (g *grant) sliceEnd(first, last int64) int64 {
	for _, s := range g.Read {
		if s.First > first && s.First <= last && s.First-first >= int64(g.BatchSize) {
			return s.First - 1
		}
	}
	return last
}

// withhold archives what was acquired of aborted transactions and takes it out of the answer.
func (g *grant) withhold() {
	for _, s := range g.Read {
		if !s.Aborted {
			continue
		}
		var out []Delivery
		for _, d := range g.out {
			first, last := max(d.First, s.First), min(d.Last, s.Last)
			if first > last {
				out = append(out, d)
				continue
			}
			runs := g.between(first, last)
			for i := range runs {
				runs[i].set(Archived)
			}
			if d.First < first {
				out = append(out, Delivery{First: d.First, Last: first - 1, Count: d.Count})
			}
			if d.Last > last {
				out = append(out, Delivery{First: last + 1, Last: d.Last, Count: d.Count})
			}
		}
		g.out = out
	}
}
