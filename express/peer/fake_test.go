package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
)

// fakes are brokers that answer as they are told, over pipes. Their ports are their ids.
type fakes struct {
	t *testing.T

	mu       sync.Mutex
	brokers  map[int32]catalog.Broker
	answer   func(broker int32, q kmsg.Request) kmsg.Response // nil response: none; set before the first call
	mangle   func(frame []byte) []byte                        // nil: as it is
	requests []kmsg.Request                                   // as they came
	down     map[int32]bool                                   // refuse connections
	dials    int
	open     int // connections
	serving  sync.WaitGroup
}

func newFakes(t *testing.T, ids ...int32) *fakes {
	f := &fakes{t: t, brokers: map[int32]catalog.Broker{}}
	for _, id := range ids {
		f.brokers[id] = catalog.Broker{ID: id, Incarnation: 1, Host: "host", Port: id}
	}
	return f
}

func (f *fakes) world() World { return World{Broker: f.broker, Dial: f.dial} }

func (f *fakes) broker(id int32) (catalog.Broker, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.brokers[id]
	return b, ok
}

// restart makes a broker another incarnation.
func (f *fakes) restart(id int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.brokers[id]
	b.Incarnation++
	f.brokers[id] = b
}

// say changes what brokers answer.
func (f *fakes) say(answer func(broker int32, q kmsg.Request) kmsg.Response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// kill has a broker refuse connections, and ends the one that it answers next; it stays registered.
func (f *fakes) kill(id int32, dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down == nil {
		f.down = map[int32]bool{}
	}
	f.down[id] = dead
}

func (f *fakes) remove(id int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.brokers, id)
}

func (f *fakes) count() (requests, dials, open int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests), f.dials, f.open
}

func (f *fakes) dial(_ context.Context, _, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	for id := range f.brokers {
		if f.down[id] {
			continue
		}
		if port == string(rune('0'+id)) {
			ours, theirs := net.Pipe()
			f.open++
			f.serving.Go(func() { f.serve(id, theirs) })
			return ours, nil
		}
	}
	return nil, errors.New("connection refused")
}

func (f *fakes) serve(id int32, c net.Conn) {
	defer func() {
		_ = c.Close()
		f.mu.Lock()
		f.open--
		f.mu.Unlock()
	}()
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		q, correlation := f.read(frame)
		f.mu.Lock()
		f.requests = append(f.requests, q)
		answer, mangle := f.answer, f.mangle
		f.mu.Unlock()
		r := answer(id, q)
		if r == nil {
			_, _ = io.Copy(io.Discard, c) // until the other side gives up
			return
		}
		out := frameOf(r, correlation)
		if mangle != nil {
			out = mangle(out)
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// frameOf is a response as it goes over the wire.
func frameOf(r kmsg.Response, correlation int32) []byte {
	out := kbin.AppendInt32(make([]byte, 4), correlation)
	if r.IsFlexible() {
		out = append(out, 0)
	}
	out = r.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

func (f *fakes) read(frame []byte) (kmsg.Request, int32) {
	b := kbin.Reader{Src: frame}
	q := kmsg.RequestForKey(b.Int16())
	q.SetVersion(b.Int16())
	correlation := b.Int32()
	b.NullableString()
	if q.IsFlexible() {
		b.Uvarint()
	}
	if err := q.ReadFrom(b.Src); err != nil {
		f.t.Errorf("request: %v", err)
	}
	return q, correlation
}

// agree answers every part of a request without an error.
func agree(_ int32, q kmsg.Request) kmsg.Response {
	switch q := q.(type) {
	case *kmsg.WriteTxnMarkersRequest:
		r := q.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
		for _, m := range q.Markers {
			out := kmsg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
			for _, t := range m.Topics {
				topic := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: t.Topic}
				for _, p := range t.Partitions {
					topic.Partitions = append(topic.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p})
				}
				out.Topics = append(out.Topics, topic)
			}
			r.Markers = append(r.Markers, out)
		}
		return r
	case *kmsg.AddPartitionsToTxnRequest:
		r := q.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		for _, txn := range q.Transactions {
			out := kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: txn.TransactionalID}
			for _, t := range txn.Topics {
				topic := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: t.Topic}
				for _, p := range t.Partitions {
					topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p})
				}
				out.Topics = append(out.Topics, topic)
			}
			r.Transactions = append(r.Transactions, out)
		}
		return r
	case *kmsg.ListOffsetsRequest:
		r := q.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range q.Topics {
			topic := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.ListOffsetsResponseTopicPartition{Partition: p.Partition, Offset: 100 + int64(p.Partition)})
			}
			r.Topics = append(r.Topics, topic)
		}
		return r
	case *kmsg.ApiVersionsRequest:
		return q.ResponseKind()
	default:
		return agreeOnState(q)
	}
}

func agreeOnState(q kmsg.Request) kmsg.Response {
	switch q := q.(type) {
	case *kmsg.InitializeShareGroupStateRequest:
		r := q.ResponseKind().(*kmsg.InitializeShareGroupStateResponse)
		for _, t := range q.Topics {
			topic := kmsg.InitializeShareGroupStateResponseTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.InitializeShareGroupStateResponseTopicPartition{Partition: p.Partition})
			}
			r.Topics = append(r.Topics, topic)
		}
		return r
	case *kmsg.ReadShareGroupStateRequest:
		r := q.ResponseKind().(*kmsg.ReadShareGroupStateResponse)
		for _, t := range q.Topics {
			topic := kmsg.ReadShareGroupStateResponseTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.ReadShareGroupStateResponseTopicPartition{
					Partition: p.Partition, StateEpoch: 3, StartOffset: 50, StateBatches: []kmsg.ReadShareGroupStateResponseTopicPartitionStateBatch{
						{FirstOffset: 51, LastOffset: 52, DeliveryState: 2, DeliveryCount: 1},
					},
				})
			}
			r.Topics = append(r.Topics, topic)
		}
		return r
	case *kmsg.WriteShareGroupStateRequest:
		r := q.ResponseKind().(*kmsg.WriteShareGroupStateResponse)
		for _, t := range q.Topics {
			topic := kmsg.WriteShareGroupStateResponseTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.WriteShareGroupStateResponseTopicPartition{Partition: p.Partition})
			}
			r.Topics = append(r.Topics, topic)
		}
		return r
	case *kmsg.DeleteShareGroupStateRequest:
		r := q.ResponseKind().(*kmsg.DeleteShareGroupStateResponse)
		for _, t := range q.Topics {
			topic := kmsg.DeleteShareGroupStateResponseTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.DeleteShareGroupStateResponseTopicPartition{Partition: p.Partition})
			}
			r.Topics = append(r.Topics, topic)
		}
		return r
	case *kmsg.ReadShareGroupStateSummaryRequest:
		r := q.ResponseKind().(*kmsg.ReadShareGroupStateSummaryResponse)
		for _, t := range q.Topics {
			topic := kmsg.ReadShareGroupStateSummaryResponseTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.ReadShareGroupStateSummaryResponseTopicPartition{
					Partition: p.Partition, StateEpoch: 3, LeaderEpoch: 4, StartOffset: 50, DeliveryCompleteCount: 2,
				})
			}
			r.Topics = append(r.Topics, topic)
		}
		return r
	default:
		return nil
	}
}
