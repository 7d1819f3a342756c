package tenure

import (
	"fmt"
	"strings"
	"sync"
)

// Registry is what the members of one group did to the partitions of one topic.
type Registry struct {
	mu         sync.Mutex // guards what follows, and the members; no call out is made under it
	partitions []partition
	members    int
	overlaps   []overlap
	counts     Counts
	found      []Violation
}

// partition is what was seen of one partition.
type partition struct {
	owners       []*Member // those whose tenure lasts: one at most, on a correct cluster
	end          int64     // one above the highest offset that was produced
	consumed     []bool    // by offset
	acknowledged int64     // the highest commit that was acknowledged, 0 for none
	asked        int64     // the highest commit that was asked for, 0 for none
	logged       int64     // the last commit in the log
	told         int64     // the last committed offset that was told
	trail        []string  // what happened to it last, for the reader of a violation
}

// note adds to the trail of a partition; it stays short.
func (p *partition) note(format string, args ...any) {
	const kept = 16
	p.trail = append(p.trail[max(0, len(p.trail)-kept+1):], fmt.Sprintf(format, args...))
}

// overlap is a tenure that began while another lasted.
type overlap struct {
	partition int32
	who       [2]*Member
	trail     string
}

// Counts are figures of a run.
type Counts struct {
	Members   int   // that were ever there
	Tenures   int   // that began
	Lost      int   // tenures that ended because the member was told it is none
	Gone      int   // tenures that a crash or a freeze ended
	Records   int64 // produced
	Consumed  int64 // deliveries of records
	Again     int64 // deliveries of records that had been delivered before
	Committed int64 // commits in the log
	Refused   int64 // commits of members that had left
}

// New returns an empty registry of a topic with so many partitions.
func New(partitions int) *Registry { return &Registry{partitions: make([]partition, partitions)} }

// Partitions returns their number.
func (r *Registry) Partitions() int { return len(r.partitions) }

// Produced is called for each record that was acknowledged.
func (r *Registry) Produced(partition int32, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Records++
	p := &r.partitions[partition]
	p.end = max(p.end, offset+1)
}

// Logged is called for each commit that stands in the log of offsets, in its order.
func (r *Registry) Logged(partition int32, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Committed++
	p := &r.partitions[partition]
	if offset < p.logged {
		r.fault(Backwards, partition, "a commit of %d stands in the log after one of %d", offset, p.logged)
	}
	p.logged = offset
}

// Told is called with the committed offset that the cluster told, by one caller at a time, in the order of its questions.
func (r *Registry) Told(partition int32, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.partitions[partition]
	if offset < p.told {
		r.fault(Unsaid, partition, "the committed offset was told as %d after %d", offset, p.told)
	}
	p.told = offset
}

// Trespassed is called with the answer to a commit of a member that had left before it asked.
func (r *Registry) Trespassed(partition int32, accepted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if accepted {
		r.fault(Intruder, partition, "a commit was accepted of a member that had left")
		return
	}
	r.counts.Refused++
}

// Ends returns, by partition, where the records end that were acknowledged so far.
func (r *Registry) Ends() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := make([]int64, len(r.partitions))
	for i := range r.partitions {
		ends[i] = r.partitions[i].end
	}
	return ends
}

// Finished says what keeps the committed offsets from being the ends; it is nil when they are, logged and told.
func (r *Registry) Finished() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.partitions {
		if p := &r.partitions[i]; p.logged != p.end || p.told != p.end {
			return fmt.Errorf("partition %d ends at %d; the last commit in the log is %d, the committed offset told last is %d",
				i, p.end, p.logged, p.told)
		}
	}
	return nil
}

// Counts returns the figures so far.
func (r *Registry) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	c.Members = r.members
	return c
}

// Verify returns all violations.
func (r *Registry) Verify() []Violation {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.overlaps {
		r.fault(Shared, o.partition, "members %d and %d owned it at once (%s)", o.who[0].number, o.who[1].number, o.trail)
	}
	for i := range r.partitions {
		p := &r.partitions[i]
		skipped, first := 0, int64(-1)
		for offset := range p.end {
			if offset >= int64(len(p.consumed)) || !p.consumed[offset] {
				if skipped++; first < 0 {
					first = offset
				}
			}
		}
		if skipped > 0 {
			r.fault(Skipped, int32(i), "%d of %d records were consumed by nobody, the first at %d", skipped, p.end, first)
		}
		if p.logged != p.end || p.told != p.end {
			r.fault(Unfinished, int32(i), "it ends at %d; the last commit in the log is %d, the committed offset told last is %d (%s)",
				p.end, p.logged, p.told, strings.Join(p.trail, ", "))
		}
	}
	return r.found
}

// fault notes a breach; the caller holds the lock.
func (r *Registry) fault(kind Kind, partition int32, format string, args ...any) {
	r.found = append(r.found, Violation{Kind: kind, Partition: partition, Text: fmt.Sprintf(format, args...)})
}
