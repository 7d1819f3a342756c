package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net"
)

// FetchView is the body of a Fetch response, looked at in place by whoever passes it on. It refers to the body it was made from and is
// valid as long as that.
type FetchView struct {
	Version   int16
	ErrorCode int16 // v7+
	SessionID int32 // v7+
	Nodes     []NodeEndpoint

	body       []byte
	count      int
	from, to   int    // the topics, without their count, are body[from:to]
	tags       int    // how many tags there are beside the nodes
	otherTags  []byte // all tags but the nodes, in order
	wrongOrder bool   // a tag stands before the nodes, which have the lowest number
}

// FetchedTopic is one topic of a FetchView. Up to version 12 it has a name, from then on an id.
type FetchedTopic struct {
	Name []byte
	ID   [16]byte
	Raw  []byte // the whole topic as it was sent

	version    int16
	count      int
	partitions []byte
}

// FetchedPartition is what a FetchView tells of one partition.
type FetchedPartition struct {
	Index     int32
	ErrorCode int16
	Records   []byte
}

// ViewFetch checks the whole structure of a body of the given version and returns a view of it, without copying anything but the node
// endpoints. The records themselves are not looked at. Errors are ErrVersion and ErrMalformed.
func ViewFetch(version int16, body []byte) (FetchView, error) {
	if version < FetchMin || version > FetchMax {
		return FetchView{}, fmt.Errorf("fetch version %d: %w", version, ErrVersion)
	}
	flexible := IsFlexible(KeyFetch, version)
	r := reader{b: body}
	v := FetchView{Version: version, body: body}
	r.int32()
	if version >= 7 {
		v.ErrorCode, v.SessionID = r.int16(), r.int32()
	}
	v.count = r.requiredLen(flexible, 3)
	v.from = len(body) - len(r.b)
	for range v.count {
		readFetchedTopic(&r, version)
		if r.bad {
			break
		}
	}
	v.to = len(body) - len(r.b)
	if flexible {
		v.readTags(&r)
	}
	if v.wrongOrder {
		r.fail()
	}
	return v, r.err("fetch response")
}

// readTags takes the response's tag section: tag 0 are the node endpoints, from version 16 on; an earlier one that has them is taken for
// the same, so that they cannot slip through.
func (v *FetchView) readTags(r *reader) {
	n := r.uvarint()
	if uint64(n)*2 > uint64(len(r.b)) {
		r.fail()
		return
	}
	rest := r.b
	for i := range n {
		tag := r.uvarint()
		value := r.bytes(int(r.uvarint()))
		if tag == 0 {
			v.wrongOrder = i != 0
			v.readNodes(r, value)
			rest = r.b
			continue
		}
		v.tags++
	}
	v.otherTags = rest[:len(rest)-len(r.b)]
}

func (v *FetchView) readNodes(r *reader, value []byte) {
	in := reader{b: value}
	n := in.requiredLen(true, 11)
	for range n {
		node := NodeEndpoint{NodeID: in.int32(), Host: string(in.requiredString(true)), Port: in.int32()}
		node.Rack = string(in.string(true))
		in.skipTags()
		if in.bad {
			r.fail()
			return
		}
		v.Nodes = append(v.Nodes, node)
	}
}

// readFetchedTopic takes one topic off r, with all its partitions.
func readFetchedTopic(r *reader, version int16) (t FetchedTopic) {
	flexible := IsFlexible(KeyFetch, version)
	whole := r.b
	t.version = version
	if version >= 13 {
		copy(t.ID[:], r.bytes(16))
	} else {
		t.Name = r.requiredString(flexible)
	}
	t.count = r.requiredLen(flexible, 20)
	t.partitions = r.b
	for range t.count {
		readFetchedPartition(r, version)
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

// readFetchedPartition takes one partition off r.
func readFetchedPartition(r *reader, version int16) (p FetchedPartition) {
	flexible := IsFlexible(KeyFetch, version)
	p.Index, p.ErrorCode = r.int32(), r.int16()
	r.bytes(16) // high watermark, last stable offset
	if version >= 5 {
		r.bytes(8)
	}
	aborted := 16
	if flexible {
		aborted++
	}
	for range r.arrayLen(flexible, aborted) {
		r.bytes(16)
		if flexible {
			r.skipTags()
		}
		if r.bad {
			return p
		}
	}
	if version >= 11 {
		r.int32()
	}
	p.Records = r.nullableBytes(flexible)
	if flexible {
		r.skipTags()
	}
	return p
}

// TopicCount returns the number of topics in the response.
func (v *FetchView) TopicCount() int { return v.count }

// Topics iterates over the topics in the order sent.
func (v *FetchView) Topics() iter.Seq[FetchedTopic] {
	return func(yield func(FetchedTopic) bool) {
		r := reader{b: v.body[v.from:v.to]}
		for range v.count {
			if !yield(readFetchedTopic(&r, v.Version)) {
				return
			}
		}
	}
}

// Partitions iterates over the partitions of the topic in the order sent.
func (t *FetchedTopic) Partitions() iter.Seq[FetchedPartition] {
	return func(yield func(FetchedPartition) bool) {
		r := reader{b: t.partitions}
		for range t.count {
			if !yield(readFetchedPartition(&r, t.version)) {
				return
			}
		}
	}
}

// FetchChange is what is to be different in a Fetch response that is passed on.
type FetchChange struct {
	ThrottleMillis int32
	SessionID      int32          // v7+
	Nodes          []NodeEndpoint // in place of those that were sent
	Only           []FetchedTopic // nil: all topics stay; otherwise only these, which are the view's own
	More           []FetchTopic   // come after them
}

// Change returns the body with the change. Large parts of it stand in the buffers as they are: records are not copied. The error is
// ErrTooLarge, from More.
func (v *FetchView) Change(c FetchChange) (net.Buffers, error) {
	flexible := IsFlexible(KeyFetch, v.Version)
	head := binary.BigEndian.AppendUint32(nil, uint32(c.ThrottleMillis))
	if v.Version >= 7 {
		head = binary.BigEndian.AppendUint16(head, uint16(v.ErrorCode))
		head = binary.BigEndian.AppendUint32(head, uint32(c.SessionID))
	}
	kept := v.count
	if c.Only != nil {
		kept = len(c.Only)
	}
	bufs := net.Buffers{appendLen(head, kept+len(c.More), flexible)}
	if c.Only == nil {
		bufs = append(bufs, v.body[v.from:v.to])
	}
	for i := range c.Only {
		bufs = append(bufs, c.Only[i].Raw)
	}
	var e FetchEncoder
	for i := range c.More {
		if err := e.topic(v.Version, flexible, &c.More[i]); err != nil {
			return nil, err
		}
	}
	if flexible {
		e.head = v.appendTags(e.head, c.Nodes)
	}
	more, _ := e.join()
	return append(bufs, more...), nil
}

// appendTags appends the tag section with other nodes.
func (v *FetchView) appendTags(dst []byte, nodes []NodeEndpoint) []byte {
	section := appendNodesTag(nil, v.Version, nodes) // at most one tag, so its count is one byte
	dst = binary.AppendUvarint(dst, uint64(v.tags)+uint64(section[0]))
	dst = append(dst, section[1:]...)
	return append(dst, v.otherTags...)
}
