package api

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/batches"
	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/express/quota"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/server"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
)

// Produce: v0-13 advertised, v3-13 served.
//
//   - v0-2 carry old record formats; Kafka 4 lists them for librdkafka's sake and closes the connection.
//   - v3 record batches (KIP-98), v4 KAFKA_STORAGE_ERROR, v5 log start offset, v7 zstd (KIP-110)
//   - v8 error message and the records in error (KIP-467), v9 flexible
//   - v10 current leader and its address with NOT_LEADER_OR_FOLLOWER (KIP-951)
//   - v11, v12 transactions of the second kind (KIP-890), v13 topic ids (KIP-516)
//
// acks 0 is not answered; an error then closes the connection, as in Kafka, so that the client notices.
// acks 1 and -1 are the same: a record is acknowledged when it is durable. A write that waits on a slow
// disk is answered late rather than with REQUEST_TIMED_OUT, which would not take it back.

// maxProducePartitions bounds the memory of one answer; a request of a hundred megabytes of batches stays
// below it.
const maxProducePartitions = 100_000

// produceCall is one Produce request until it is answered. Calls are pooled.
type produceCall struct {
	api   *API
	r     *server.Request
	acks  int16
	left  atomic.Int32 // partitions not yet done, and one for the dispatch itself
	slots []*produceSlot
	used  int // slots of this request
	resp  kmsg.ProduceResponse
	parts []kmsg.ProduceResponseTopicPartition // backs resp.Topics
	begun map[*partition.Partition]verdict     // what is known of partitions that get transactional records; nil: nothing

	verified bool // verify has looked at all of them that were here

	released func() // recycle, made once
}

func newProduceCall() *produceCall {
	p := new(produceCall)
	p.released = p.recycle
	return p
}

// produceSlot is one partition of a produceCall. done is made once and used for every request.
type produceSlot struct {
	call  *produceCall
	topic *catalog.Topic
	bytes int // of the batch, and the records in it
	count int32
	part  *kmsg.ProduceResponseTopicPartition
	done  func(partition.Appended)
}

// produce starts the appends of all partitions and returns; the last one to finish answers (A4).
func (a *API) produce(ctx context.Context, r *server.Request) {
	req, err := wire.DecodeProduce(r.Header.Version, r.Body)
	if err == nil && req.Partitions > maxProducePartitions {
		err = fmt.Errorf("%d partitions, at most %d: %w", req.Partitions, maxProducePartitions, wire.ErrTooLarge)
	}
	if err != nil {
		a.refuse(r, err)
		return
	}
	c := a.callerOf(r)
	p := a.produces.Get().(*produceCall)
	p.begin(a, r, &req)
	refused := p.refusal(c, &req)
	if refused == nil && req.TransactionalID != nil {
		p.verify(ctx, &req)
	}
	for t := range req.Topics() {
		p.topic(ctx, c, &t, refused)
	}
	p.throttle(c.quotas)
	p.finish(1)
}

// throttle mutes the connection if the request goes beyond its client's quotas: now, not with the answer, since the next
// request is read before that.
func (p *produceCall) throttle(q *quota.Client) {
	wait := max(q.Record(quota.Produce, float64(p.r.Size())), p.api.wholeOf(p.r.Conn).Sent(p.r.Size()))
	if p.acks != 0 {
		wait = max(wait, p.api.spent(p.r, q, 0))
	} else {
		wait = max(wait, p.api.wholeOf(p.r.Conn).Asked())
	}
	p.r.Conn.Mute(wait)
	p.resp.ThrottleMillis = int32(wait.Milliseconds())
}

// begin readies p for a request; the one more in left keeps it from being answered during the dispatch.
func (p *produceCall) begin(a *API, r *server.Request, req *wire.ProduceRequest) {
	p.api, p.r, p.acks = a, r, req.Acks
	p.used = 0
	p.left.Store(int32(req.Partitions) + 1)
	p.resp = kmsg.ProduceResponse{Topics: p.resp.Topics[:0]}
	if cap(p.parts) < req.Partitions {
		p.parts = make([]kmsg.ProduceResponseTopicPartition, 0, req.Partitions)
	}
	p.parts = p.parts[:0]
}

// refusal is what all partitions are refused with, if the request as a whole is wrong.
func (p *produceCall) refusal(c caller, req *wire.ProduceRequest) error {
	if batches.HasTransactional(req) && (req.TransactionalID == nil || !p.api.mayTransactionalID(c, kmsg.ACLOperationWrite, string(req.TransactionalID))) {
		return kerr.TransactionalIDAuthorizationFailed
	}
	if req.Acks < -1 || req.Acks > 1 {
		return fmt.Errorf("%w: acks is %d; must be -1, 0 or 1", kerr.InvalidRequiredAcks, req.Acks)
	}
	return nil
}

// topic starts the appends of one topic of the request.
func (p *produceCall) topic(ctx context.Context, c caller, t *wire.ProduceTopic, refused error) {
	out := kmsg.ProduceResponseTopic{TopicID: t.ID}
	known, err := p.find(c, t, &out)
	if refused != nil && (err == nil || errors.Is(refused, kerr.TransactionalIDAuthorizationFailed)) {
		err = refused
	}
	first := len(p.parts)
	for in := range t.Partitions() {
		part := kmsg.NewProduceResponseTopicPartition()
		part.Partition = in.Index
		part.BaseOffset, part.LogAppendTime, part.LogStartOffset = -1, -1, -1
		p.parts = append(p.parts, part) // never grows: begin has made room for all
		slot := p.slot(known, &p.parts[len(p.parts)-1])
		if err != nil {
			slot.complete(partition.Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Err: err})
			continue
		}
		p.api.append(ctx, slot, in)
	}
	out.Partitions = p.parts[first:]
	p.resp.Topics = append(p.resp.Topics, out)
}

// find finds the topic as the version names it, and asks whether the caller may write to it.
func (p *produceCall) find(c caller, t *wire.ProduceTopic, out *kmsg.ProduceResponseTopic) (*catalog.Topic, error) {
	a := p.api
	if p.r.Header.Version >= 13 {
		known, ok := a.catalog.TopicByID(topic.ID(t.ID))
		if !ok {
			return nil, kerr.UnknownTopicID
		}
		return known, a.mayProduce(c, known.Name)
	}
	known, ok := a.catalog.Topic(string(t.Name))
	if !ok {
		out.Topic = string(t.Name)
		if err := a.mayProduce(c, out.Topic); err != nil {
			return nil, err
		}
		return nil, kerr.UnknownTopicOrPartition
	}
	out.Topic = known.Name
	return known, a.mayProduce(c, known.Name)
}

func (a *API) mayProduce(c caller, name string) error {
	switch {
	case !a.mayTopic(c, kmsg.ACLOperationWrite, name):
		return kerr.TopicAuthorizationFailed
	case topic.Internal(name):
		return fmt.Errorf("%w: %q is kept by the cluster itself", kerr.InvalidTopicException, name)
	}
	return nil
}

// append hands the records of one partition on.
func (a *API) append(ctx context.Context, slot *produceSlot, in wire.ProducePartition) {
	p, code := a.find(slot.topic, in.Index)
	if code == kerr.None && slot.call.r.Header.Version < 7 && batches.IsZstd(in.Records) {
		code = kerr.UnsupportedCompressionType
	}
	if code == kerr.None && a.tooLarge(slot.call.r.Conn, in.Records) {
		code = kerr.MessageTooLarge
	}
	if code != kerr.None {
		slot.complete(partition.Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Err: code})
		return
	}
	guard, code := slot.call.guard(p, in.Records)
	if code != kerr.None {
		slot.complete(partition.Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Err: code})
		return
	}
	if len(in.Records) >= record.HeaderBytes {
		slot.bytes, slot.count = len(in.Records), record.Batch(in.Records).NumRecords()
	}
	p.AppendGuarded(ctx, in.Records, guard, slot.done)
}

// slot takes the next free slot.
func (p *produceCall) slot(t *catalog.Topic, part *kmsg.ProduceResponseTopicPartition) *produceSlot {
	if p.used == len(p.slots) {
		s := &produceSlot{call: p}
		s.done = s.complete
		p.slots = append(p.slots, s)
	}
	s := p.slots[p.used]
	p.used++
	s.topic, s.part = t, part
	return s
}

// complete is called once for each partition, on any goroutine; it must not block.
func (s *produceSlot) complete(done partition.Appended) {
	part := s.part
	part.LogStartOffset = done.LogStart
	if done.Err == nil {
		m := &s.call.api.metrics
		m.ProduceBytes.Add(int64(s.bytes))
		m.ProduceRecords.Add(int64(s.count))
		s.call.api.usageOf(s.call.r.Conn, s.topic).Produced(s.bytes)
		part.BaseOffset, part.LogAppendTime = done.BaseOffset, done.LogAppendTime
		s.call.finish(1)
		return
	}
	code := s.call.api.code(done.Err)
	part.ErrorCode = int16(code)
	switch code {
	case kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.InvalidRequest, kerr.InvalidRequiredAcks, kerr.CorruptMessage,
		kerr.InvalidTxnState:
		part.ErrorMessage = message(code, done.Err)
	}
	part.ErrorRecords = batches.Faults(done.Err)
	if !batches.AboutRecords(code, done.Err) {
		part.LogStartOffset = -1
	}
	s.call.finish(1)
}

// finish counts partitions off; the last one answers.
func (p *produceCall) finish(n int32) {
	if p.left.Add(-n) > 0 {
		return
	}
	r := p.r
	failed := p.conclude()
	p.api.metrics.ProduceLatency.Observe(p.api.world.Clock.Now().Sub(r.Received))
	switch {
	case p.acks != 0:
		r.Reply(server.Response{Msg: &p.resp, Release: p.released})
	case failed:
		r.Close()
		p.recycle()
	default:
		r.NoReply()
		p.recycle()
	}
}

// conclude looks over the results: whether one failed, and who leads what is not led here.
func (p *produceCall) conclude() (failed bool) {
	for _, s := range p.slots[:p.used] {
		code := kerr.Code(s.part.ErrorCode)
		failed = failed || code != kerr.None
		if code != kerr.NotLeaderOrFollower || s.topic == nil || p.r.Header.Version < 10 {
			continue
		}
		// The view may have moved on since the request came.
		t, ok := p.api.catalog.TopicByID(s.topic.ID)
		if !ok {
			continue
		}
		if b, epoch, ok := p.api.leaderAt(t, s.part.Partition, p.r.Conn.Listener()); ok {
			s.part.CurrentLeader.LeaderID, s.part.CurrentLeader.LeaderEpoch = b.ID, epoch
			p.resp.Brokers = appendNode(p.resp.Brokers, b)
		}
	}
	return failed
}

// appendNode adds a broker's address once.
func appendNode(nodes []kmsg.ProduceResponseBroker, b catalog.Broker) []kmsg.ProduceResponseBroker {
	for i := range nodes {
		if nodes[i].NodeID == b.ID {
			return nodes
		}
	}
	n := kmsg.NewProduceResponseBroker()
	n.NodeID, n.Host, n.Port, n.Rack = b.ID, b.Host, b.Port, pointer(b.Rack)
	return append(nodes, n)
}

// keepSlots is the size up to which the memory of a request is kept for the next.
const keepSlots = 1024

// recycle gives p back once nothing refers to it any more.
func (p *produceCall) recycle() {
	for _, s := range p.slots[:p.used] {
		s.topic, s.part = nil, nil
	}
	clear(p.parts)
	clear(p.resp.Topics)
	p.verified = false
	clear(p.begun)
	a := p.api
	p.api, p.r = nil, nil
	if len(p.slots) <= keepSlots {
		a.produces.Put(p)
	}
}
