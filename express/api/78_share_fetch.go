package api

import (
	"context"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/express/quota"
	"millrace/express/share"
	"millrace/express/sharing"
	"millrace/kafka/kerr"
	"millrace/kafka/server"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
)

// ShareFetch: v1-2 (KIP-932).
//
//   - v1 most records and size of batches (KIP-1199)
//   - v2 strict most records (KIP-1206), acknowledgements that renew locks (KIP-1222)
//
// A request first acknowledges, then fetches; the answer waits for both. As with Fetch, what was read while
// waiting is given back and read again.

// recordLimit is the acquire mode in which MaxRecords is strict.
const recordLimit = 1

func (a *API) shareFetch(ctx context.Context, r *server.Request) {
	req, err := decode[*kmsg.ShareFetchRequest](a, r)
	if err != nil {
		a.refuse(r, err)
		return
	}
	f := a.fetches.Get().(*fetchReply)
	s := shareFetching{fetchReply: f, caller: a.callerOf(r), req: req, resp: kmsg.NewPtrShareFetchResponse()}
	s.resp.Version = req.Version
	began := a.world.Clock.Now()
	if err := s.run(ctx); err != nil {
		f.giveBack()
		s.sent.Clear()
		s.resp.Topics, s.records = nil, nil
		s.resp.ErrorCode, s.resp.ErrorMessage = a.said(err)
	}
	throttle := a.spent(r, s.caller.quotas, a.world.Clock.Now().Sub(began))
	if n := f.chain.Len(); n > 0 && s.caller.quotas.Limited(quota.Fetch) {
		throttle = max(throttle, s.caller.quotas.Record(quota.Fetch, float64(n)))
	}
	throttle = max(throttle, a.wholeOf(r.Conn).Fetched(f.chain.Len()))
	s.resp.ThrottleMillis = int32(throttle.Milliseconds())
	a.noteRead(s.caller, f.chain.Len())
	s.send(r, throttle)
}

// shareFetching is one request under way.
type shareFetching struct {
	*fetchReply
	caller  caller
	req     *kmsg.ShareFetchRequest
	resp    *kmsg.ShareFetchResponse
	records [][]net.Buffers // of the topics and partitions of resp
}

func (s *shareFetching) run(ctx context.Context) error {
	who, err := s.api.shareMember(s.caller, s.req.GroupID, s.req.MemberID)
	if err != nil {
		return err
	}
	if err := s.checkRenew(); err != nil {
		return err
	}
	parts, k, err := s.open(ctx, who)
	if err != nil {
		return err
	}
	// Acknowledgements and records are on their way at the same time.
	acknowledged := make(chan struct{})
	go func() {
		defer close(acknowledged)
		k.run(ctx, who)
	}()
	var results []sharing.Result
	if !s.req.IsRenewAck {
		results = s.fetch(ctx, who, parts)
	}
	<-acknowledged
	if s.req.ShareSessionEpoch == sharing.EpochFinal {
		s.api.world.Sharing.End(who)
	}
	s.resp.AcquisitionLockTimeoutMillis = s.api.lockMillis(who.Group)
	s.fill(results, k)
	return nil
}

// checkRenew: a request that renews locks fetches nothing.
func (s *shareFetching) checkRenew() error {
	if !s.req.IsRenewAck {
		return nil
	}
	text := ""
	for _, f := range []struct {
		name  string
		value int32
	}{{"maxBytes", s.req.MaxBytes}, {"minBytes", s.req.MinBytes}, {"maxRecords", s.req.MaxRecords}, {"maxWaitMs", s.req.MaxWaitMillis}} {
		if f.value != 0 {
			text += f.name + " must be set to 0, "
		}
	}
	if text == "" {
		return nil
	}
	return &share.Error{Code: kerr.InvalidRequest, Message: text + "if isRenewAck is true."}
}

// open applies the request to its session and sorts out its acknowledgements.
func (s *shareFetching) open(ctx context.Context, who sharing.Member) ([]topic.Partition, *acknowledging, error) {
	o := sharing.Open{Member: who, Conn: s.caller.conn.ID(), Epoch: s.req.ShareSessionEpoch}
	k := s.api.acknowledging(s.caller, s.req.Version, s.req.IsRenewAck)
	for _, t := range s.req.Topics {
		for _, p := range t.Partitions {
			id := topic.Partition{Topic: t.TopicID, Index: p.Partition}
			o.Add = append(o.Add, id)
			if len(p.AcknowledgementBatches) == 0 {
				continue
			}
			o.Acknowledgements = true
			var acks []share.Ack
			for _, b := range p.AcknowledgementBatches {
				acks = append(acks, share.Ack{First: b.FirstOffset, Last: b.LastOffset, Types: b.AcknowledgeTypes})
			}
			k.add(id, acks)
		}
	}
	for _, t := range s.req.ForgottenTopicsData {
		for _, index := range t.Partitions {
			o.Forget = append(o.Forget, topic.Partition{Topic: t.TopicID, Index: index})
		}
	}
	parts, err := s.api.world.Sharing.Open(o)
	if kerr.Of(err) == kerr.ShareSessionLimitReached { // a client that cannot have one must not ask at once again
		s.idle(ctx)
	}
	return parts, k, err
}

// wait is how long the client lets a fetch wait.
func (s *shareFetching) wait() time.Duration {
	return min(time.Duration(max(s.req.MaxWaitMillis, 0))*time.Millisecond, waitMost)
}

func (s *shareFetching) idle(ctx context.Context) {
	timer := time.NewTimer(s.wait())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// fetch acquires records of the session's partitions.
func (s *shareFetching) fetch(ctx context.Context, who sharing.Member, parts []topic.Partition) []sharing.Result {
	var results []sharing.Result
	var served []topic.Partition
	for _, id := range parts {
		t, ok := s.api.catalog.TopicByID(id.Topic)
		var code kerr.Code
		switch {
		case !ok:
			code = kerr.UnknownTopicID
		case !s.api.mayTopic(s.caller, kmsg.ACLOperationRead, t.Name):
			code = kerr.TopicAuthorizationFailed
		case id.Index < 0 || int(id.Index) >= len(t.Partitions):
			code = kerr.UnknownTopicOrPartition
		default:
			served = append(served, id)
			continue
		}
		results = append(results, sharing.Result{Partition: id, Err: code})
	}
	wait := s.wait()
	if len(results) > 0 { // what is wrong must not wait
		wait = 0
	}
	if wait > 0 {
		select {
		case s.api.parked <- struct{}{}:
			defer func() { <-s.api.parked }()
		default:
			wait = 0
		}
	}
	limit := min(s.api.fetchLimit(&kmsg.FetchRequest{MaxBytes: s.req.MaxBytes}), s.caller.quotas.Most(quota.Fetch), s.api.wholeOf(s.caller.conn).Most())
	got := s.api.world.Sharing.Fetch(ctx, sharing.Fetch{
		Member: who, Parts: served, Wait: wait, MinBytes: min(int(s.req.MinBytes), limit), MaxBytes: limit,
		MaxRecords: int(s.req.MaxRecords), RecordLimit: s.req.ShareAcquireMode == recordLimit, BatchSize: max(int(s.req.BatchSize), 1),
		Read: s.read, Drop: s.giveBack,
	})
	var read []topic.Partition
	for _, r := range got {
		if len(r.Records) > 0 {
			read = append(read, r.Partition)
		}
	}
	s.api.world.Sharing.Moved(who, read)
	return append(results, got...)
}

// read reads into the reply's chain, within the budget.
func (s *shareFetching) read(ctx context.Context, log sharing.Log, from int64, maxBytes int, first, committed bool) ([][]byte, error) {
	o := log.Offsets()
	end := o.HW
	if committed {
		end = o.LSO
	}
	if from >= end || !s.take(ctx, int64(maxBytes), readRoom{first: first}) {
		return nil, nil
	}
	before := len(s.chain.Parts())
	_, err := log.Read(ctx, &s.chain, from, maxBytes, first, committed)
	s.settle()
	if err != nil {
		return nil, err
	}
	return s.chain.Parts()[before:], nil
}

// fill puts results and acknowledgements into the response.
func (s *shareFetching) fill(results []sharing.Result, k *acknowledging) {
	at := map[topic.Partition][2]int{}
	place := func(id topic.Partition) *kmsg.ShareFetchResponseTopicPartition {
		if i, ok := at[id]; ok {
			return &s.resp.Topics[i[0]].Partitions[i[1]]
		}
		n := len(s.resp.Topics)
		for i := range s.resp.Topics {
			if s.resp.Topics[i].TopicID == id.Topic {
				n = i
			}
		}
		if n == len(s.resp.Topics) {
			s.resp.Topics, s.records = append(s.resp.Topics, kmsg.ShareFetchResponseTopic{TopicID: id.Topic}), append(s.records, nil)
		}
		t := &s.resp.Topics[n]
		p := kmsg.NewShareFetchResponseTopicPartition()
		p.Partition = id.Index
		at[id] = [2]int{n, len(t.Partitions)}
		t.Partitions, s.records[n] = append(t.Partitions, p), append(s.records[n], nil)
		return &t.Partitions[len(t.Partitions)-1]
	}
	for _, r := range results {
		p := place(r.Partition)
		p.ErrorCode, p.ErrorMessage = s.api.said(r.Err)
		for _, d := range r.Deliveries {
			p.AcquiredRecords = append(p.AcquiredRecords, kmsg.ShareFetchResponseTopicPartitionAcquiredRecord{
				FirstOffset: d.First, LastOffset: d.Last, DeliveryCount: d.Count,
			})
		}
		s.count(r)
		i := at[r.Partition]
		s.records[i[0]][i[1]] = net.Buffers(r.Records)
		if kerr.Code(p.ErrorCode) == kerr.NotLeaderOrFollower {
			s.nameLeader(p, r.Partition)
		}
	}
	for _, id := range k.order {
		p := place(id)
		p.AcknowledgeErrorCode, p.AcknowledgeErrorMessage = s.api.said(k.errs[id])
		if kerr.Code(p.AcknowledgeErrorCode) == kerr.NotLeaderOrFollower {
			s.nameLeader(p, id)
		}
	}
}

// count notes what the client gets.
func (s *shareFetching) count(r sharing.Result) {
	t, ok := s.api.catalog.TopicByID(r.Partition.Topic)
	if !ok {
		return
	}
	n := 0
	for _, b := range r.Records {
		n += len(b)
	}
	s.sent.Add(s.api.usageOf(s.caller.conn, t), n)
}

// nameLeader tells who leads a partition that is not led here.
func (s *shareFetching) nameLeader(p *kmsg.ShareFetchResponseTopicPartition, id topic.Partition) {
	b, epoch, ok := s.api.shareLeader(id, s.caller.listener())
	if !ok {
		return
	}
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = b.ID, epoch
	for _, n := range s.resp.NodeEndpoints {
		if n.NodeID == b.ID {
			return
		}
	}
	s.resp.NodeEndpoints = append(s.resp.NodeEndpoints, kmsg.ShareFetchResponseNodeEndpoint{
		NodeID: b.ID, Host: b.Host, Port: b.Port, Rack: pointer(b.Rack),
	})
}

// shareLeader finds the owner of a partition by the view.
func (a *API) shareLeader(id topic.Partition, listener string) (b catalog.Broker, epoch int32, ok bool) {
	t, ok := a.catalog.TopicByID(id.Topic)
	if !ok {
		return b, -1, false
	}
	return a.leaderAt(t, id.Index, listener)
}

// send encodes and answers. What the answer refers to is given back when it is written.
func (s *shareFetching) send(r *server.Request, throttle time.Duration) {
	buffers, err := wire.EncodeShareFetch(s.resp, func(i, j int) net.Buffers { return s.records[i][j] })
	if err != nil {
		s.api.log.Error("share fetch response not encoded", "err", err)
		s.recycle()
		r.Close()
		return
	}
	r.Reply(server.Response{Buffers: buffers, Written: s.written, Release: s.released, Throttle: throttle})
}
