package wire

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of ShareFetch that are served.
const (
	ShareFetchMin = 1
	ShareFetchMax = 2
)

// EncodeShareFetch returns the body of a ShareFetch response in the version that it carries, with records(i, j) as the records
// of partition j of topic i; what r says of records is not looked at. The buffers alternate between new memory and the records.
// The error is ErrVersion, or ErrTooLarge if a partition's records pass 2 GiB.
func EncodeShareFetch(r *kmsg.ShareFetchResponse, records func(topic, partition int) net.Buffers) (net.Buffers, error) {
	if r.Version < ShareFetchMin || r.Version > ShareFetchMax {
		return nil, fmt.Errorf("share fetch version %d: %w", r.Version, ErrVersion)
	}
	var e FetchEncoder
	h := binary.BigEndian.AppendUint32(nil, uint32(r.ThrottleMillis))
	h = binary.BigEndian.AppendUint16(h, uint16(r.ErrorCode))
	h = appendNullable(h, r.ErrorMessage)
	h = binary.BigEndian.AppendUint32(h, uint32(r.AcquisitionLockTimeoutMillis))
	h = appendLen(h, len(r.Topics), true)
	for i := range r.Topics {
		t := &r.Topics[i]
		h = append(h, t.TopicID[:]...)
		h = appendLen(h, len(t.Partitions), true)
		for j := range t.Partitions {
			e.head = h
			if err := e.sharePartition(&t.Partitions[j], records(i, j)); err != nil {
				return nil, err
			}
			h = e.head
		}
		h = append(h, 0)
	}
	h = appendLen(h, len(r.NodeEndpoints), true)
	for i := range r.NodeEndpoints {
		n := &r.NodeEndpoints[i]
		h = binary.BigEndian.AppendUint32(h, uint32(n.NodeID))
		h = appendString(h, n.Host, true)
		h = binary.BigEndian.AppendUint32(h, uint32(n.Port))
		h = append(appendNullable(h, n.Rack), 0)
	}
	e.head = append(h, 0)
	bufs, _ := e.join()
	return bufs, nil
}

// sharePartition appends what stands before the records, a cut, and what stands after.
func (e *FetchEncoder) sharePartition(p *kmsg.ShareFetchResponseTopicPartition, records net.Buffers) error {
	h := binary.BigEndian.AppendUint32(e.head, uint32(p.Partition))
	h = binary.BigEndian.AppendUint16(h, uint16(p.ErrorCode))
	h = appendNullable(h, p.ErrorMessage)
	h = binary.BigEndian.AppendUint16(h, uint16(p.AcknowledgeErrorCode))
	h = appendNullable(h, p.AcknowledgeErrorMessage)
	h = binary.BigEndian.AppendUint32(h, uint32(p.CurrentLeader.LeaderID))
	h = binary.BigEndian.AppendUint32(h, uint32(p.CurrentLeader.LeaderEpoch))
	h = append(h, 0)
	n := 0
	for _, b := range records {
		n += len(b)
	}
	if n >= 1<<31-1 {
		return fmt.Errorf("records of partition %d: %w", p.Partition, ErrTooLarge)
	}
	h = appendLen(h, n, true)
	if n > 0 {
		e.cuts = append(e.cuts, cut{at: len(h), records: records})
	}
	h = appendLen(h, len(p.AcquiredRecords), true)
	for i := range p.AcquiredRecords {
		a := &p.AcquiredRecords[i]
		h = binary.BigEndian.AppendUint64(h, uint64(a.FirstOffset))
		h = binary.BigEndian.AppendUint64(h, uint64(a.LastOffset))
		h = binary.BigEndian.AppendUint16(h, uint16(a.DeliveryCount))
		h = append(h, 0)
	}
	e.head = append(h, 0)
	return nil
}

func appendNullable(h []byte, s *string) []byte {
	if s == nil {
		return append(h, 0)
	}
	return appendString(h, *s, true)
}
