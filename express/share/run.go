package share

import (
	"slices"
	"sort"
	"time"
)

// run is a sequence of records of which the same is known.
type run struct {
	first, last int64
	state       State
	count       int16     // deliveries, with the one under way
	member      string    // who holds it; only if acquired
	until       time.Time // when its lock ends; only if acquired
	batch       int64     // the first offset of the batch that these records were acquired in; they come back in no larger ones
	change      int64     // that is being stored; 0: none
	next        State     // after the change
}

func (r *run) len() int64 { return r.last - r.first + 1 }

// free says that the run can be acquired.
func (r *run) free() bool { return r.state == Available }

// held says that a member holds the run and nothing is being done about it.
func (r *run) held() bool { return r.state == Acquired && r.change == 0 }

// to is the state once the change, if there is one, has been stored.
func (r *run) to() State {
	if r.change != 0 {
		return r.next
	}
	return r.state
}

// set ends whatever held the run.
func (r *run) set(s State) {
	r.state, r.member, r.until, r.change, r.next = s, "", time.Time{}, 0, 0
}

// like says that the two, side by side, are one run.
func (r *run) like(o *run) bool {
	return r.state == o.state && r.count == o.count && r.member == o.member && r.until.Equal(o.until) &&
		r.batch == o.batch && r.change == o.change && r.next == o.next
}

// push adds a run at the end; it begins at p.next.
func (p *Partition) push(r run) {
	p.runs = append(p.runs, r)
	p.next = r.last + 1
}

// fill closes the gap up to an offset with records that were never delivered.
func (p *Partition) fill(to int64, s State) {
	if to > p.next {
		p.push(run{first: p.next, last: to - 1, state: s, batch: p.next})
	}
}

// find returns the index of the run that holds offset; len(p.runs) if that is past the end.
func (p *Partition) find(offset int64) int {
	return sort.Search(len(p.runs), func(i int) bool { return p.runs[i].last >= offset })
}

// cut makes a run begin at offset, which lies between start and next, and returns its index.
func (p *Partition) cut(offset int64) int {
	i := p.find(offset)
	if i == len(p.runs) || p.runs[i].first == offset {
		return i
	}
	tail := p.runs[i]
	tail.first = offset
	p.runs[i].last = offset - 1
	p.runs = slices.Insert(p.runs, i+1, tail)
	return i + 1
}

// between makes runs begin and end at the bounds, both inclusive and in flight, and returns them.
func (p *Partition) between(first, last int64) []run {
	i := p.cut(first)
	j := p.cut(last + 1)
	return p.runs[i:j]
}

// join makes one run of neighbours that are alike.
func (p *Partition) join() {
	if len(p.runs) == 0 {
		return
	}
	n := 0
	for i := 1; i < len(p.runs); i++ {
		if p.runs[n].like(&p.runs[i]) {
			p.runs[n].last = p.runs[i].last
			continue
		}
		n++
		p.runs[n] = p.runs[i]
	}
	clear(p.runs[n+1:])
	p.runs = p.runs[:n+1]
}
