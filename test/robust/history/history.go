package history

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
)

// unknown is the offset of a record whose outcome the client has not learned (yet).
const unknown = -1

// History is what the clients of one topic did and saw.
type History struct {
	valueSize int
	seed      maphash.Seed

	mu         sync.Mutex // guards what follows; no call out is made under it
	producers  []*Producer
	partitions []partition
	found      []Violation // breaches that show during the run
}

// partition is what was seen of one partition.
type partition struct {
	seen     []uint64 // by offset: digest of the value a reader saw, 0 for none
	ackedEnd int64    // one above the highest acknowledged offset
	acks     int64    // acknowledged records
	end      int64    // the last end offset that was told
}

// New returns an empty history of a topic with so many partitions, whose values are made with valueSize.
func New(partitions, valueSize int) *History {
	return &History{valueSize: valueSize, seed: maphash.MakeSeed(), partitions: make([]partition, partitions)}
}

// Producer is one producer's part of the history: one client, from its start to its end.
type Producer struct {
	history *History
	number  int

	mu    sync.Mutex
	lanes [][]int64 // by partition, by seq: the acknowledged offset or unknown
}

// NewProducer returns the record of a client that begins now.
func (h *History) NewProducer() *Producer {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &Producer{history: h, number: len(h.producers), lanes: make([][]int64, len(h.partitions))}
	h.producers = append(h.producers, p)
	return p
}

// Invoke is called before a record is handed to the client; it names the record and makes its value.
func (p *Producer) Invoke(partition int32) (ID, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := ID{Producer: p.number, Partition: partition, Seq: int64(len(p.lanes[partition]))}
	p.lanes[partition] = append(p.lanes[partition], unknown)
	return id, id.Value(p.history.valueSize)
}

// Ack is called when the cluster has said that the record stands at offset.
func (p *Producer) Ack(id ID, offset int64) {
	h := p.history
	p.mu.Lock()
	p.lanes[id.Partition][id.Seq] = offset
	p.mu.Unlock()

	h.mu.Lock()
	defer h.mu.Unlock()
	part := &h.partitions[id.Partition]
	part.acks++
	part.ackedEnd = max(part.ackedEnd, offset+1)
	if offset < 0 {
		h.found = append(h.found, Violation{Kind: Moved, Partition: id.Partition, Offset: offset,
			Text: fmt.Sprintf("%v was acknowledged without an offset", id)})
	}
}

// Observe is called for each record that a reader was given.
func (h *History) Observe(partition int32, offset int64, value []byte) {
	digest := h.digest(value)
	h.mu.Lock()
	defer h.mu.Unlock()
	part := &h.partitions[partition]
	if missing := int(offset) + 1 - len(part.seen); missing > 0 {
		part.seen = append(part.seen, make([]uint64, missing)...)
	}
	switch seen := part.seen[offset]; seen {
	case 0:
		part.seen[offset] = digest
	case digest:
	default:
		h.found = append(h.found, Violation{Kind: Changed, Partition: partition, Offset: offset,
			Text: "two reads of the offset gave different bytes"})
	}
}

// AckedEnd returns one above the highest offset acknowledged so far.
func (h *History) AckedEnd(partition int32) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.partitions[partition].ackedEnd
}

// Acks returns the number of acknowledged records of each partition so far.
func (h *History) Acks() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	acks := make([]int64, len(h.partitions))
	for i := range h.partitions {
		acks[i] = h.partitions[i].acks
	}
	return acks
}

// Seen returns one above the highest offset that a reader was given so far.
func (h *History) Seen(partition int32) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(len(h.partitions[partition].seen))
}

// Watermark is called with an end offset that the cluster told, by one caller at a time, in the order of its questions.
// AckedEnd is what AckedEnd returned before the question was asked.
func (h *History) Watermark(partition int32, ackedEnd, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	part := &h.partitions[partition]
	if end < part.end {
		h.found = append(h.found, Violation{Kind: Backwards, Partition: partition, Offset: end,
			Text: fmt.Sprintf("the end offset was %d before", part.end)})
	}
	if end < ackedEnd {
		h.found = append(h.found, Violation{Kind: Stale, Partition: partition, Offset: end,
			Text: fmt.Sprintf("the end offset lies below %d, acknowledged before it was asked for", ackedEnd)})
	}
	part.end = max(part.end, end)
}

// Counts returns how many records were sent, and how many of them were acknowledged.
func (h *History) Counts() (sent, acked int64) {
	h.mu.Lock()
	producers := slices.Clone(h.producers)
	h.mu.Unlock()
	for _, p := range producers {
		p.mu.Lock()
		for _, lane := range p.lanes {
			for _, offset := range lane {
				sent++
				if offset != unknown {
					acked++
				}
			}
		}
		p.mu.Unlock()
	}
	return sent, acked
}
