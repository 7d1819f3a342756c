package wire

import (
	"encoding/binary"
	"fmt"
	"net"
)

// Versions of Fetch that FetchEncoder writes.
const (
	FetchMin int16 = 4
	FetchMax int16 = 18
)

// FetchResponse is the body of a Fetch response in every version; fields that a version lacks are left out.
// Lengths of names and hosts must be below 32 KiB.
type FetchResponse struct {
	ThrottleMillis int32
	ErrorCode      int16 // v7+
	SessionID      int32 // v7+
	Topics         []FetchTopic
	Nodes          []NodeEndpoint // v16+: where the current leaders named below are
}

// FetchTopic is one topic. Up to version 12 the name counts, from then on the id.
type FetchTopic struct {
	Name       string
	ID         [16]byte
	Partitions []FetchPartition
}

// FetchPartition is the answer for one partition.
type FetchPartition struct {
	Index                int32
	ErrorCode            int16
	HighWatermark        int64 // -1 with an error
	LastStableOffset     int64 // -1 with an error
	LogStartOffset       int64 // v5+; -1 with an error
	Aborted              []AbortedTransaction
	NullAborted          bool         // send null for an empty Aborted: what read_uncommitted gets
	PreferredReadReplica int32        // v11+; -1: read here
	Diverging            *EpochEnd    // v12+; nil: the logs do not diverge
	CurrentLeader        *LeaderEpoch // v12+; nil: not told
	Records              net.Buffers  // whole batches, in order; never copied, never changed
}

// AbortedTransaction tells a read_committed consumer what to drop.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// EpochEnd is the largest epoch at or below the asked one, and its end offset.
type EpochEnd struct {
	Epoch     int32
	EndOffset int64
}

// LeaderEpoch names the present leader of a partition; -1 means unknown.
type LeaderEpoch struct {
	LeaderID int32
	Epoch    int32
}

// NodeEndpoint is where a node listens.
type NodeEndpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   string // empty: null
}

// FetchEncoder turns FetchResponses into net.Buffers. It reuses its memory from one call to the next. The zero value is
// ready to use; it is not safe for concurrent use.
type FetchEncoder struct {
	head []byte // everything but records, in order
	cuts []cut
	bufs net.Buffers
}

// cut says that records come in after head[:at].
type cut struct {
	at      int
	records net.Buffers
}

// Encode returns the body of r in the given version and its length in bytes. The buffers alternate between the encoder's
// own memory and r's records; they are valid until the next call, and may be consumed by net.Buffers.WriteTo.
// The error is ErrVersion, or ErrTooLarge if a partition's records pass 2 GiB.
func (e *FetchEncoder) Encode(version int16, r *FetchResponse) (net.Buffers, int, error) {
	if version < FetchMin || version > FetchMax {
		return nil, 0, fmt.Errorf("fetch version %d: %w", version, ErrVersion)
	}
	e.Reset()
	flexible := IsFlexible(KeyFetch, version)
	h := binary.BigEndian.AppendUint32(e.head, uint32(r.ThrottleMillis))
	if version >= 7 {
		h = binary.BigEndian.AppendUint16(h, uint16(r.ErrorCode))
		h = binary.BigEndian.AppendUint32(h, uint32(r.SessionID))
	}
	e.head = appendLen(h, len(r.Topics), flexible)
	for i := range r.Topics {
		if err := e.topic(version, flexible, &r.Topics[i]); err != nil {
			return nil, 0, err
		}
	}
	if flexible {
		e.head = appendNodesTag(e.head, version, r.Nodes)
	}
	bufs, n := e.join()
	return bufs, n, nil
}

// Reset drops every reference to the last response's records, and keeps the memory for the next one.
func (e *FetchEncoder) Reset() {
	clear(e.cuts)
	clear(e.bufs)
	e.head, e.cuts, e.bufs = e.head[:0], e.cuts[:0], e.bufs[:0]
}

// topic appends one topic.
func (e *FetchEncoder) topic(version int16, flexible bool, t *FetchTopic) error {
	if version >= 13 {
		e.head = append(e.head, t.ID[:]...)
	} else {
		e.head = appendString(e.head, t.Name, flexible)
	}
	e.head = appendLen(e.head, len(t.Partitions), flexible)
	for i := range t.Partitions {
		if err := e.partition(version, flexible, &t.Partitions[i]); err != nil {
			return err
		}
	}
	if flexible {
		e.head = append(e.head, 0)
	}
	return nil
}

// partition appends one partition: all that stands before the records, a cut, and the tags after them.
func (e *FetchEncoder) partition(version int16, flexible bool, p *FetchPartition) error {
	h := binary.BigEndian.AppendUint32(e.head, uint32(p.Index))
	h = binary.BigEndian.AppendUint16(h, uint16(p.ErrorCode))
	h = binary.BigEndian.AppendUint64(h, uint64(p.HighWatermark))
	h = binary.BigEndian.AppendUint64(h, uint64(p.LastStableOffset))
	if version >= 5 {
		h = binary.BigEndian.AppendUint64(h, uint64(p.LogStartOffset))
	}
	h = appendAborted(h, flexible, p)
	if version >= 11 {
		h = binary.BigEndian.AppendUint32(h, uint32(p.PreferredReadReplica))
	}
	n := 0
	for _, b := range p.Records {
		n += len(b)
	}
	if n >= 1<<31-1 {
		return fmt.Errorf("records of partition %d: %w", p.Index, ErrTooLarge)
	}
	h = appendLen(h, n, flexible)
	if n > 0 {
		e.cuts = append(e.cuts, cut{at: len(h), records: p.Records})
	}
	if flexible {
		h = appendPartitionTags(h, p)
	}
	e.head = h
	return nil
}

func appendAborted(h []byte, flexible bool, p *FetchPartition) []byte {
	if len(p.Aborted) == 0 && p.NullAborted {
		return appendLen(h, -1, flexible)
	}
	h = appendLen(h, len(p.Aborted), flexible)
	for _, a := range p.Aborted {
		h = binary.BigEndian.AppendUint64(h, uint64(a.ProducerID))
		h = binary.BigEndian.AppendUint64(h, uint64(a.FirstOffset))
		if flexible {
			h = append(h, 0)
		}
	}
	return h
}

// appendPartitionTags appends the tags 0 (diverging epoch) and 1 (current leader), each with its length before it and an
// empty tag section of its own at its end.
func appendPartitionTags(h []byte, p *FetchPartition) []byte {
	tags := byte(0)
	if p.Diverging != nil {
		tags++
	}
	if p.CurrentLeader != nil {
		tags++
	}
	h = append(h, tags)
	if d := p.Diverging; d != nil {
		h = append(h, 0, 4+8+1)
		h = binary.BigEndian.AppendUint32(h, uint32(d.Epoch))
		h = binary.BigEndian.AppendUint64(h, uint64(d.EndOffset))
		h = append(h, 0)
	}
	if l := p.CurrentLeader; l != nil {
		h = append(h, 1, 4+4+1)
		h = binary.BigEndian.AppendUint32(h, uint32(l.LeaderID))
		h = binary.BigEndian.AppendUint32(h, uint32(l.Epoch))
		h = append(h, 0)
	}
	return h
}

// appendNodesTag appends the response's tag section: tag 0, the node endpoints, from version 16 on.
func appendNodesTag(h []byte, version int16, nodes []NodeEndpoint) []byte {
	if version < 16 || len(nodes) == 0 {
		return append(h, 0)
	}
	size := uvarintLen(len(nodes) + 1)
	for i := range nodes {
		size += 4 + compactStringLen(nodes[i].Host) + 4 + compactStringLen(nodes[i].Rack) + 1
	}
	h = append(h, 1, 0)
	h = binary.AppendUvarint(h, uint64(size))
	h = appendLen(h, len(nodes), true)
	for i := range nodes {
		n := &nodes[i]
		h = binary.BigEndian.AppendUint32(h, uint32(n.NodeID))
		h = appendString(h, n.Host, true)
		h = binary.BigEndian.AppendUint32(h, uint32(n.Port))
		if n.Rack == "" {
			h = append(h, 0)
		} else {
			h = appendString(h, n.Rack, true)
		}
		h = append(h, 0)
	}
	return h
}

// compactStringLen returns the encoded length of s; null, which stands for an empty rack, is as long as the empty string.
func compactStringLen(s string) int { return uvarintLen(len(s)+1) + len(s) }

func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// join cuts head where records belong. It runs last, when head no longer moves.
func (e *FetchEncoder) join() (net.Buffers, int) {
	n, from := len(e.head), 0
	for _, c := range e.cuts {
		e.bufs = append(e.bufs, e.head[from:c.at])
		from = c.at
		for _, b := range c.records {
			if len(b) > 0 {
				e.bufs = append(e.bufs, b)
				n += len(b)
			}
		}
	}
	if from < len(e.head) {
		e.bufs = append(e.bufs, e.head[from:])
	}
	return e.bufs, n
}
