package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"net"
)

// Versions of Produce that DecodeProduce reads. Lower ones are advertised (librdkafka drops compression otherwise) but
// carry record formats that are refused.
const (
	ProduceMin int16 = 3
	ProduceMax int16 = 13
)

// ProduceRequest is a decoded Produce request. It refers to the body it was decoded from and is valid as long as that.
type ProduceRequest struct {
	Version         int16
	TransactionalID []byte // nil: not transactional
	Acks            int16  // as sent; -1, 0 and 1 are valid
	TimeoutMillis   int32
	Partitions      int // over all topics

	topicCount int
	topics     []byte // checked by DecodeProduce
}

// ProduceTopic is one topic of a ProduceRequest. Up to version 12 it has a name, from then on an id.
type ProduceTopic struct {
	Name []byte
	ID   [16]byte
	Raw  []byte // the whole topic as it was sent, for whoever sends it on

	flexible       bool
	partitionCount int
	partitions     []byte // checked by DecodeProduce
}

// ProducePartition is what a producer sends to one partition.
type ProducePartition struct {
	Index   int32
	Records []byte // nil: null
}

// DecodeProduce checks the whole structure of a body of the given version and returns a view of it, without copying or
// allocating. The records themselves are not looked at. Errors are ErrVersion and ErrMalformed.
func DecodeProduce(version int16, body []byte) (ProduceRequest, error) {
	if version < ProduceMin || version > ProduceMax {
		return ProduceRequest{}, fmt.Errorf("produce version %d: %w", version, ErrVersion)
	}
	flexible := IsFlexible(KeyProduce, version)
	r := reader{b: body}
	p := ProduceRequest{Version: version}
	p.TransactionalID = r.string(flexible)
	p.Acks, p.TimeoutMillis = r.int16(), r.int32()
	p.topicCount = r.requiredLen(flexible, 2)
	p.topics = r.b
	for range p.topicCount {
		t := readProduceTopic(&r, version, flexible)
		p.Partitions += t.partitionCount
		if r.bad {
			break
		}
	}
	if flexible {
		r.skipTags()
	}
	return p, r.err("produce request")
}

// readProduceTopic takes one topic off r, with all its partitions.
func readProduceTopic(r *reader, version int16, flexible bool) (t ProduceTopic) {
	t.flexible = flexible
	whole := r.b
	if version >= 13 {
		copy(t.ID[:], r.bytes(16))
	} else {
		t.Name = r.requiredString(flexible)
	}
	t.partitionCount = r.requiredLen(flexible, 5)
	t.partitions = r.b
	for range t.partitionCount {
		readProducePartition(r, flexible)
		if r.bad {
			return t
		}
	}
	if flexible {
		r.skipTags()
	}
	t.Raw = whole[:len(whole)-len(r.b)]
	return t
}

// readProducePartition takes one partition off r.
func readProducePartition(r *reader, flexible bool) (p ProducePartition) {
	p.Index = r.int32()
	p.Records = r.nullableBytes(flexible)
	if flexible {
		r.skipTags()
	}
	return p
}

// Topics iterates over the topics in the order sent. The same topic may come twice.
func (p *ProduceRequest) Topics() iter.Seq[ProduceTopic] {
	return func(yield func(ProduceTopic) bool) {
		r := reader{b: p.topics}
		flexible := IsFlexible(KeyProduce, p.Version)
		for range p.topicCount {
			if !yield(readProduceTopic(&r, p.Version, flexible)) {
				return
			}
		}
	}
}

// Partitions iterates over the partitions of the topic in the order sent. The same partition may come twice.
func (t *ProduceTopic) Partitions() iter.Seq[ProducePartition] {
	return func(yield func(ProducePartition) bool) {
		r := reader{b: t.partitions}
		for range t.partitionCount {
			if !yield(readProducePartition(&r, t.flexible)) {
				return
			}
		}
	}
}

// Only appends the request without all topics but those given, which are the request's own: its head goes to head, and the
// topics stand in what is returned as they are, not copied. An absent topic leaves nothing behind.
func (p *ProduceRequest) Only(head []byte, topics []ProduceTopic) net.Buffers {
	flexible := IsFlexible(KeyProduce, p.Version)
	switch {
	case p.TransactionalID != nil:
		head = appendString(head, string(p.TransactionalID), flexible)
	case flexible:
		head = append(head, 0)
	default:
		head = binary.BigEndian.AppendUint16(head, math.MaxUint16) // null
	}
	head = binary.BigEndian.AppendUint16(head, uint16(p.Acks))
	head = binary.BigEndian.AppendUint32(head, uint32(p.TimeoutMillis))
	head = appendLen(head, len(topics), flexible)
	bufs := net.Buffers{head}
	for i := range topics {
		bufs = append(bufs, topics[i].Raw)
	}
	if flexible {
		bufs = append(bufs, []byte{0})
	}
	return bufs
}

// TopicCount returns the number of topics in the request.
func (p *ProduceRequest) TopicCount() int { return p.topicCount }

// PartitionCount returns the number of partitions of the topic in the request.
func (t *ProduceTopic) PartitionCount() int { return t.partitionCount }

// appendString appends s in the form of the version.
func appendString(dst []byte, s string, flexible bool) []byte {
	if flexible {
		dst = binary.AppendUvarint(dst, uint64(len(s))+1)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	}
	return append(dst, s...)
}

// appendLen appends an array or bytes length in the form of the version; -1 is null.
func appendLen(dst []byte, n int, flexible bool) []byte {
	if flexible {
		return binary.AppendUvarint(dst, uint64(n+1))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(int32(n)))
}
