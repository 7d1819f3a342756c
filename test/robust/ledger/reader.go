package ledger

import "slices"

// lane is what was seen of one partition at read_committed.
type lane struct {
	seen           []uint64 // by offset: digest of the value that readers were given, 0 for none
	stable, marked int64    // the last stable offset and the high watermark that were told last
}

// Reader is one pass of one client at read_committed.
type Reader struct {
	book  *Book
	spans []span // by lane
}

// span is what a reader was given of a lane: all that the committed view holds from start to last.
type span struct {
	start, last int64  // last is unknown before the first record
	count       int64  // records
	sum         uint64 // of their digests
}

// NewReader is called before a client reads; starts holds, by lane, the offset from which it reads.
func (b *Book) NewReader(starts []int64) *Reader {
	r := &Reader{book: b, spans: make([]span, len(b.lanes))}
	for i, start := range starts {
		r.spans[i] = span{start: start, last: unknown}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers = append(b.readers, r)
	return r
}

// See is called for each record that the client was given, in its order.
func (r *Reader) See(lane int, offset int64, value []byte) {
	b := r.book
	digest := b.digest(value)
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &r.spans[lane]
	if offset < s.start || offset <= s.last {
		b.fault(Disordered, lane, offset, "a reader that began at %d was given it after %d", s.start, s.last)
		return
	}
	s.last, s.count, s.sum = offset, s.count+1, s.sum+digest
	seen := &b.lanes[lane].seen
	if missing := int(offset) + 1 - len(*seen); missing > 0 {
		*seen = append(*seen, make([]uint64, missing)...)
	}
	switch before := (*seen)[offset]; before {
	case 0:
		(*seen)[offset] = digest
		b.first(lane, offset, value)
	case digest:
	default:
		b.fault(Changed, lane, offset, "two reads of the offset gave different bytes")
	}
}

// first judges a record when a reader is given it for the first time.
func (b *Book) first(lane int, offset int64, value []byte) {
	n := parseName(value)
	if n.transaction < 0 || n.transaction >= int64(len(b.transactions)) {
		b.fault(Phantom, lane, offset, "a reader was given %d bytes that nobody sent", len(value))
		return
	}
	if t := b.transactions[n.transaction]; !t.requested || t.fenced {
		b.fault(Early, lane, offset, "a reader was given it while %v had not asked for its commit", t)
	}
}

// Seen returns one above the highest offset of the lane that a reader was given so far.
func (b *Book) Seen(lane int) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.lanes[lane].seen))
}

// Watermark is called with offsets of the lane that the cluster told, by one caller at a time, in the order of its
// questions: the last stable offset was asked for first, then the high watermark. Seen is what Seen returned before that.
func (b *Book) Watermark(lane int, seen, stable, high int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &b.lanes[lane]
	if stable < l.stable {
		b.fault(Backwards, lane, stable, "the last stable offset was %d before", l.stable)
	}
	if high < l.marked {
		b.fault(Backwards, lane, high, "the high watermark was %d before", l.marked)
	}
	if stable > high {
		b.fault(Beyond, lane, stable, "the last stable offset lies above the high watermark %d", high)
	}
	if stable < seen {
		b.fault(Stale, lane, stable, "the last stable offset lies below %d, which a reader was given before", seen-1)
	}
	l.stable, l.marked = max(l.stable, stable), max(l.marked, high)
}

// spanning compares what each reader was given with the committed view, which is by lane in order of offsets.
func (v *verifier) spanning() {
	for _, r := range v.readers {
		for lane, s := range r.spans {
			if s.last == unknown {
				continue
			}
			view := v.view[lane]
			from, to := view.before(s.start), view.before(s.last+1)
			count, sum := int64(to-from), view.sum(to)-view.sum(from)
			switch {
			case count == s.count && sum == s.sum:
			case count > s.count:
				v.fault(Skipped, lane, s.last, "a reader was given %d of the %d records from %d up to here", s.count, count, s.start)
			default:
				v.fault(Changed, lane, s.last, "a reader was given %d records from %d up to here, and these are others than the %d that stand there",
					s.count, s.start, count)
			}
		}
	}
}

// view is the committed view of one lane.
type view struct {
	offsets []int64
	sums    []uint64 // by index: the sum of the digests up to and including it
}

// before returns how many records stand below offset.
func (v *view) before(offset int64) int {
	i, _ := slices.BinarySearch(v.offsets, offset)
	return i
}

// sum returns the sum of the first n digests.
func (v *view) sum(n int) uint64 {
	if n == 0 {
		return 0
	}
	return v.sums[n-1]
}

func (v *view) add(offset int64, digest uint64) {
	v.sums = append(v.sums, v.sum(len(v.sums))+digest)
	v.offsets = append(v.offsets, offset)
}
