package api

import (
	"context"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/slab"
	"millrace/express/catalog"
	"millrace/express/meter"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/quota"
	"millrace/express/session"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/server"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
)

// Fetch: v4-18.
//
//   - v4 isolation level, v5 log start offset, v7 sessions (KIP-227), v9 current leader epoch (KIP-320)
//   - v10 zstd, v11 rack (KIP-392, see below), v12 flexible, last fetched epoch and
//     diverging epoch (KIP-595), v13 topic ids (KIP-516), v15 replica state as a tag (KIP-903)
//   - v16 addresses of current leaders (KIP-951), v17, v18 only concern followers
//
// Nobody follows an express broker: a replica id in a request is not looked at.
//
// A fetch with too little to answer waits: at its partitions, for no longer than the client allows. What it
// has read by then is given back and read again, so that waiting costs no memory. The records go from where
// partition found them to the socket without being copied.

const (
	// waitMost bounds how long a fetch waits for data whatever the client allows: a client that has gone
	// is only noticed when it is answered. An early answer is within the protocol.
	waitMost = time.Minute
	// throttleUnparked is what a fetch is throttled with when it may not wait for data.
	throttleUnparked = 500 * time.Millisecond
	// nearbyLeast is how many bytes of segments must lie ahead of a consumer for it to be sent to a broker of its zone: less is not
	// worth the way there and back.
	nearbyLeast = 1 << 20
	// acquireLeast is how long a fetch waits for the memory budget, if the client allows less: a client that
	// wants an answer at once still prefers data.
	acquireLeast = 200 * time.Millisecond
)

// fetchResult is the outcome for one partition.
type fetchResult struct {
	key       session.Key
	topic     *catalog.Topic // nil: not known
	code      kerr.Code
	offsets   partition.Offsets
	diverging *wire.EpochEnd
	aborted   []producer.Aborted // what a read_committed consumer leaves out
	nearby    int32              // broker at which to read instead; 0: here

	// Where the records are in the reply's chain.
	firstPart, endPart int
	bytes              int
}

// outcome is what a session goes by.
func (r *fetchResult) outcome() session.Outcome {
	return session.Outcome{Key: r.key, HW: r.offsets.HW, LogStart: r.offsets.LogStart, Bytes: r.bytes,
		News: r.code != kerr.None || r.diverging != nil || r.nearby != 0}
}

// fetchReply is what a Fetch response needs until it is written. Replies are pooled.
type fetchReply struct {
	api      *API
	listener string // by which the request came
	chain    slab.Chain
	taken    int64 // of the budget
	limit    int   // record bytes, the first batch aside
	waited   time.Duration
	encoder  wire.FetchEncoder
	resp     wire.FetchResponse
	sent     meter.Sent

	written, released func() // sent.Count and recycle, made once
}

func newFetchReply(a *API) *fetchReply {
	f := &fetchReply{api: a}
	f.written, f.released = f.sent.Count, f.recycle
	return f
}

func (a *API) fetch(ctx context.Context, r *server.Request) {
	req, err := decode[*kmsg.FetchRequest](a, r)
	if err != nil {
		a.refuse(r, err)
		return
	}
	f := a.fetches.Get().(*fetchReply)
	f.resp, f.waited = wire.FetchResponse{}, 0
	plan, code := a.sessions.Plan(req)
	if code != kerr.None {
		f.resp.ErrorCode = int16(code)
		f.send(r, 0)
		return
	}
	c := a.callerOf(r)
	f.listener = c.listener()
	f.limit = min(a.fetchLimit(req), c.quotas.Most(quota.Fetch), a.wholeOf(r.Conn).Most())
	req.MinBytes = min(req.MinBytes, int32(f.limit))
	results, throttle := f.gather(ctx, c, req, plan.Parts)
	wait, withheld := f.throttle(r, c.quotas, &plan, results)
	throttle = max(throttle, wait)
	f.resp.ThrottleMillis = int32(throttle.Milliseconds())
	if withheld {
		f.giveBack()
		f.resp.SessionID = plan.ID()
		f.send(r, throttle)
		return
	}
	sessionID, told := session.Conclude(a.sessions, &plan, req.Version >= 13, results, (*fetchResult).outcome)
	f.resp.SessionID = sessionID
	f.fill(req, told)
	a.noteRead(c, f.chain.Len())
	for i := range told { // and not results, among which told was made room for
		if n := told[i].bytes; n > 0 {
			f.sent.Add(a.usageOf(r.Conn, told[i].topic), n)
		}
	}
	f.send(r, throttle)
}

// What a response and each of its partitions count in the quota, beside their records: about what they take.
const (
	fetchHeadBytes      = 24
	fetchPartitionBytes = 40
)

// throttle records what the answer takes of its client's quotas. An answer that goes beyond them is withheld: the client
// gets an empty one, and the session stays as it is.
func (f *fetchReply) throttle(r *server.Request, q *quota.Client, plan *session.Plan, results []fetchResult) (wait time.Duration, withheld bool) {
	whole := f.api.wholeOf(r.Conn)
	if !q.Limited(quota.Fetch) && !q.Limited(quota.Request) && whole == nil {
		return 0, false
	}
	size := fetchHeadBytes
	for i := range results {
		if n := results[i].bytes; n > 0 || plan.ID() == 0 {
			size += n + fetchPartitionBytes
		}
	}
	wait, withheld = q.Offer(quota.Fetch, float64(size))
	if !withheld {
		var more time.Duration
		if more, withheld = whole.Offer(size); withheld {
			q.Withdraw(quota.Fetch, float64(size))
		}
		wait = max(wait, more)
	}
	spent := f.api.spent(r, q, f.waited)
	if spent > 0 && !withheld {
		q.Withdraw(quota.Fetch, float64(size))
		whole.Withdraw(size)
		withheld = true
	}
	return max(wait, spent), withheld
}

// gather reads until there is enough, something is wrong, or the client's time is up.
func (f *fetchReply) gather(ctx context.Context, c caller, req *kmsg.FetchRequest, parts []session.Part) (results []fetchResult, throttle time.Duration) {
	wait := min(time.Duration(max(req.MaxWaitMillis, 0))*time.Millisecond, waitMost)
	results, ready := f.read(ctx, c, req, parts, wait)
	if ready || wait == 0 {
		return results, 0
	}
	select {
	case f.api.parked <- struct{}{}:
		defer func() { <-f.api.parked }()
	default:
		return results, min(wait, throttleUnparked)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	waiter := partition.NewWaiter()
	defer f.await(waiter, parts, results)()
	for {
		parked := f.api.world.Clock.Now()
		select {
		case <-waiter.C:
			f.waited += f.api.world.Clock.Now().Sub(parked)
			if results, ready = f.read(ctx, c, req, parts, 0); ready {
				return results, 0
			}
		case <-timer.C:
			f.waited += f.api.world.Clock.Now().Sub(parked)
			results, _ = f.read(ctx, c, req, parts, 0)
			return results, 0
		case <-ctx.Done(): // nobody will read the answer
			for i := range results {
				results[i].firstPart, results[i].endPart, results[i].bytes = 0, 0, 0
			}
			return results, 0
		}
	}
}

// await has the waiter told of everything beyond what results saw, and gives back what was read.
func (f *fetchReply) await(w *partition.Waiter, parts []session.Part, results []fetchResult) (cancel func()) {
	cancels := make([]func(), 0, len(parts))
	for i, r := range results {
		if r.topic == nil {
			continue
		}
		if p, code := f.api.find(r.topic, parts[i].Index); code == kerr.None {
			cancels = append(cancels, p.Wait(w, r.offsets.HW))
		}
	}
	f.giveBack()
	return func() {
		for _, c := range cancels {
			c()
		}
	}
}

// read reads all partitions once, in order, into the chain, after giving back what it held. It is ready
// when there is enough to answer at once.
func (f *fetchReply) read(ctx context.Context, c caller, req *kmsg.FetchRequest, parts []session.Part, wait time.Duration) (results []fetchResult, ready bool) {
	f.giveBack()
	results = make([]fetchResult, len(parts))
	ready = len(parts) == 0
	total := 0
	for i := range parts {
		r := &results[i]
		f.readPart(ctx, c, req, &parts[i], r, readRoom{left: f.limit - total, first: total == 0, wait: wait})
		f.withdraw(r)
		total += r.bytes
		ready = ready || r.code != kerr.None || r.diverging != nil || r.nearby != 0
	}
	return results, ready || total > 0 && total >= int(req.MinBytes) || req.MinBytes <= 0
}

// fetchLimit is the most record bytes of one answer, its first batch aside.
func (a *API) fetchLimit(req *kmsg.FetchRequest) int {
	limit := min(req.MaxBytes, a.catalog.BrokerSettings().FetchMaxBytes)
	return int(min(max(int64(limit), 0), max(a.cfg.FetchBytes/16, 1<<20)))
}

// readRoom is what one partition may take of an answer.
type readRoom struct {
	left  int  // bytes
	first bool // nothing was read yet: one batch goes through whatever its size
	wait  time.Duration
}

// readPart checks what the client knows of the partition and reads.
func (f *fetchReply) readPart(ctx context.Context, c caller, req *kmsg.FetchRequest, in *session.Part, r *fetchResult, room readRoom) {
	a := f.api
	r.key = in.Key
	r.offsets = noOffsets
	var known bool
	unknown := kerr.UnknownTopicOrPartition
	if req.Version >= 13 {
		unknown = kerr.UnknownTopicID
		r.topic, known = a.catalog.TopicByID(in.ID)
	} else {
		r.topic, known = a.catalog.Topic(in.Name)
	}
	switch {
	case known && !a.mayTopic(c, kmsg.ACLOperationRead, r.topic.Name),
		!known && req.Version < 13 && !a.mayTopic(c, kmsg.ACLOperationRead, in.Name):
		r.code = kerr.TopicAuthorizationFailed
		return
	case !known:
		r.topic, r.code = nil, unknown
		return
	}
	p, code := a.find(r.topic, in.Index)
	if code == kerr.NotLeaderOrFollower && in.LastEpoch < 0 && a.mayReadNearby(req) {
		f.readNearby(ctx, in, r, readLimits{readRoom: room, committed: req.IsolationLevel == 1})
		return
	}
	if code != kerr.None {
		r.code = code
		return
	}
	if err := p.CheckEpoch(in.CurrentEpoch); err != nil {
		r.code = a.code(err)
		return
	}
	if in.LastEpoch >= 0 {
		epoch, end := p.EpochEnd(in.LastEpoch)
		switch {
		case epoch < 0 || end < 0:
			r.code = kerr.OffsetOutOfRange
			return
		case epoch < in.LastEpoch || end < in.Offset:
			r.offsets, r.diverging = p.Offsets(), &wire.EpochEnd{Epoch: epoch, EndOffset: end}
			return
		}
	}
	if r.nearby = a.nearby(req, r.topic, in.Index, f.listener); r.nearby != 0 && p.Sealed(in.Offset) >= nearbyLeast && in.Offset >= p.Offsets().LogStart {
		r.offsets = p.Offsets()
		return
	}
	r.nearby = 0
	f.readRecords(ctx, p, in, r, readLimits{readRoom: room, committed: req.IsolationLevel == 1})
}

// withdraw takes back what was said of an end where another may lead since: a client that has read what that one has acknowledged would
// think it lost, and begin elsewhere.
func (f *fetchReply) withdraw(r *fetchResult) {
	if (r.code == kerr.OffsetOutOfRange || r.diverging != nil) && !f.api.world.Leads() {
		r.offsets, r.diverging, r.code = noOffsets, nil, kerr.NotLeaderOrFollower
	}
}

// nearby names a live replica in the zone of a consumer that is in another than ours; 0: none. Clients only go to a broker
// that they are shown as a replica.
func (a *API) nearby(req *kmsg.FetchRequest, t *catalog.Topic, index int32, listener string) int32 {
	if req.Version < 11 || req.Rack == "" || a.world.Replicas == nil || req.Rack == a.catalog.Self().Rack {
		return 0
	}
	_, live := a.catalog.Replicas(t, int(index))
	for _, id := range live {
		b, ok := a.broker(id)
		if !ok || b.Rack != req.Rack || b.Draining {
			continue
		}
		if _, ok := b.At(listener); ok {
			return id
		}
	}
	return 0
}

// mayReadNearby says whether a fetch comes from a consumer of this zone that may have been sent here.
func (a *API) mayReadNearby(req *kmsg.FetchRequest) bool {
	return a.world.Replicas != nil && req.Version >= 11 && req.Rack != "" && req.Rack == a.catalog.Self().Rack
}

// readNearby reads what another broker's partition has in segments. Where they end the consumer is sent to the owner.
func (f *fetchReply) readNearby(ctx context.Context, in *session.Part, r *fetchResult, l readLimits) {
	id := topic.Partition{Topic: r.topic.ID, Index: in.Index}
	switch epoch := r.topic.Partitions[in.Index].Epoch; {
	case in.CurrentEpoch >= 0 && in.CurrentEpoch < epoch:
		r.code = kerr.FencedLeaderEpoch
		return
	case in.CurrentEpoch > epoch:
		r.code = kerr.UnknownLeaderEpoch
		return
	}
	most := min(max(int(in.MaxBytes), 0), l.left)
	if l.first {
		most = max(most, 1)
	}
	if !f.take(ctx, int64(most), l.readRoom) {
		most = 0 // no room now: the client asks again
	}
	parts, bytes := len(f.chain.Parts()), f.chain.Len()
	o, err := f.api.world.Replicas.Read(ctx, id, &f.chain, in.Offset, most, l.first && most > 0)
	f.settle()
	if err == nil {
		r.offsets = o
		r.firstPart, r.endPart, r.bytes = parts, len(f.chain.Parts()), f.chain.Len()-bytes
		if l.committed && r.bytes > 0 {
			r.aborted, err = f.api.world.Replicas.Aborted(ctx, id, in.Offset, f.endOf(r))
		}
	}
	if err != nil {
		r.code = f.api.code(err)
	}
}

// noOffsets stands with an error (A2).
var noOffsets = partition.Offsets{LogStart: -1, LSO: -1, HW: -1, End: -1, Epoch: -1}

type readLimits struct {
	readRoom
	committed bool
}

// readRecords takes room from the budget and reads. Only the first read of an answer waits for the budget:
// it holds nothing yet, so nobody waits for each other.
func (f *fetchReply) readRecords(ctx context.Context, p *partition.Partition, in *session.Part, r *fetchResult, l readLimits) {
	most := min(max(int(in.MaxBytes), 0), l.left)
	if l.first {
		most = max(most, 1) // one batch, whatever its size
	}
	o := p.Offsets()
	if end := o.HW; most > 0 && in.Offset < end && in.Offset >= o.LogStart && !f.take(ctx, int64(most), l.readRoom) {
		most = 0 // no room now: the client asks again
	}
	parts, bytes := len(f.chain.Parts()), f.chain.Len()
	if most == 0 {
		r.offsets = o
		if in.Offset < o.LogStart || in.Offset > o.End {
			r.offsets, r.code = noOffsets, kerr.OffsetOutOfRange
		}
		return
	}
	o, err := p.Read(ctx, &f.chain, in.Offset, most, l.first, l.committed)
	f.settle()
	if err != nil {
		r.code = f.api.code(err)
		return
	}
	r.offsets = o
	r.firstPart, r.endPart = parts, len(f.chain.Parts())
	r.bytes = f.chain.Len() - bytes
	if l.committed && r.bytes > 0 {
		if r.aborted, err = p.Aborted(ctx, in.Offset, f.endOf(r)); err != nil {
			r.code = f.api.code(err)
		}
	}
}

// endOf gives the offset after the last batch that was read for r.
func (f *fetchReply) endOf(r *fetchResult) (end int64) {
	rest := f.chain.Parts()[r.endPart-1]
	for len(rest) > 0 {
		b, tail, err := record.Next(rest)
		if err != nil {
			break // the client sees it, too
		}
		end, rest = b.LastOffset()+1, tail
	}
	return end
}

// take reserves n bytes of the budget; when it must wait it waits only as the first of an answer.
func (f *fetchReply) take(ctx context.Context, n int64, room readRoom) bool {
	b := f.api.budget
	if b.TryAcquire(n) {
		f.taken += n
		return true
	}
	if !room.first {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, max(room.wait, acquireLeast))
	defer cancel()
	if b.Acquire(ctx, n) != nil {
		return false
	}
	f.taken += n
	return true
}

// settle makes what is taken equal to what was read. A first batch that is larger than what was reserved
// counts as far as there is room: it is in memory already, and later reads wait for it.
func (f *fetchReply) settle() {
	b, n := f.api.budget, int64(f.chain.Len())
	switch {
	case n < f.taken:
		b.Release(f.taken - n)
		f.taken = n
	case n > f.taken && b.TryAcquire(n-f.taken):
		f.taken = n
	}
}

// giveBack frees what was read.
func (f *fetchReply) giveBack() {
	f.chain.Release()
	if f.taken > 0 {
		f.api.budget.Release(f.taken)
		f.taken = 0
	}
}

// fill puts the results into the response, topic by topic, in their order.
func (f *fetchReply) fill(req *kmsg.FetchRequest, results []fetchResult) {
	parts := f.chain.Parts()
	var topics []wire.FetchTopic
	for i := range results {
		r := &results[i]
		out := wire.FetchPartition{
			Index: r.key.Index, ErrorCode: int16(r.code),
			HighWatermark: r.offsets.HW, LastStableOffset: r.offsets.LSO, LogStartOffset: r.offsets.LogStart,
			NullAborted: r.looked() && (req.IsolationLevel == 0 || r.code != kerr.None), Aborted: abortedOf(r), PreferredReadReplica: preferred(r), Diverging: r.diverging,
			Records: net.Buffers(parts[r.firstPart:r.endPart]),
		}
		if r.code == kerr.NotLeaderOrFollower || r.code == kerr.FencedLeaderEpoch {
			f.nameLeader(&out, r)
		}
		n := len(topics)
		if n == 0 || topics[n-1].Name != r.key.Name || topics[n-1].ID != r.key.ID {
			topics = append(topics, wire.FetchTopic{Name: r.key.Name, ID: r.key.ID})
			n++
		}
		topics[n-1].Partitions = append(topics[n-1].Partitions, out)
	}
	f.resp.Topics = topics
}

func preferred(r *fetchResult) int32 {
	if r.nearby == 0 {
		return -1
	}
	return r.nearby
}

func abortedOf(r *fetchResult) []wire.AbortedTransaction {
	if len(r.aborted) == 0 {
		return nil
	}
	out := make([]wire.AbortedTransaction, len(r.aborted))
	for i, a := range r.aborted {
		out[i] = wire.AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.First}
	}
	return out
}

// looked says whether the partition was looked at; otherwise everybody gets an empty list of aborted transactions. With
// other errors nobody gets a list, and read_uncommitted never.
func (r *fetchResult) looked() bool {
	return r.code != kerr.UnknownTopicOrPartition && r.code != kerr.UnknownTopicID && r.code != kerr.TopicAuthorizationFailed
}

// nameLeader tells who leads a partition that is not led here (KIP-951).
func (f *fetchReply) nameLeader(out *wire.FetchPartition, r *fetchResult) {
	if r.topic == nil {
		return
	}
	b, epoch, ok := f.api.leaderAt(r.topic, r.key.Index, f.listener)
	if !ok {
		return
	}
	out.CurrentLeader = &wire.LeaderEpoch{LeaderID: b.ID, Epoch: epoch}
	for _, n := range f.resp.Nodes {
		if n.NodeID == b.ID {
			return
		}
	}
	f.resp.Nodes = append(f.resp.Nodes, wire.NodeEndpoint{NodeID: b.ID, Host: b.Host, Port: b.Port, Rack: b.Rack})
}

// send encodes and answers. What the answer refers to is given back when it is written.
func (f *fetchReply) send(r *server.Request, throttle time.Duration) {
	m := &f.api.metrics
	m.FetchLatency.Observe(f.api.world.Clock.Now().Sub(r.Received) - f.waited)
	m.FetchBytes.Add(int64(f.chain.Len()))
	buffers, _, err := f.encoder.Encode(r.Header.Version, &f.resp)
	if err != nil {
		f.api.log.Error("fetch response not encoded", "err", err)
		f.recycle()
		r.Close()
		return
	}
	r.Reply(server.Response{Buffers: buffers, Written: f.written, Release: f.released, Throttle: throttle})
}

func (f *fetchReply) recycle() {
	f.giveBack()
	f.encoder.Reset()
	f.sent.Clear()
	f.resp = wire.FetchResponse{}
	f.api.fetches.Put(f)
}
