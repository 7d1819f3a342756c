package churn

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
	"millrace/test/robust/tenure"
)

// fate is how a member ends.
type fate string

const (
	leaves  fate = "left"
	crashes fate = "crashed"
	freezes fate = "froze, and committed late"
)

func (c *Churn) fate() fate {
	switch n := rand.IntN(100); {
	case c.config.Leave:
		return leaves
	case n < 8:
		return crashes
	case n < 14:
		return freezes
	default:
		return leaves
	}
}

// fill has one member after the other at one place in the group until work ends. Between two of them it stays empty for half
// of a life on average, so that the group grows and shrinks.
func (c *Churn) fill(protocol Protocol) {
	for c.noWork.Err() == nil {
		wait(c.calm, time.Duration(rand.Int64N(int64(c.config.Life))))
		fate := c.fate()
		if err := c.live(protocol, fate); err != nil {
			c.fault(err)
			return
		}
		c.mu.Lock()
		c.ends[fate]++
		c.mu.Unlock()
	}
}

// wait waits so long, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// member is one member of the group.
type member struct {
	churn  *Churn
	record *tenure.Member
	client *kgo.Client
	gate   *gate
	ear    *ear

	mu      sync.Mutex
	next    map[int32]kgo.EpochOffset // what is handled and not committed yet, by partition
	handled map[int32]int64           // what is handled of partitions that it owns
}

// live is one member's life.
func (c *Churn) live(protocol Protocol, fate fate) error {
	m := &member{churn: c, gate: newGate(), ear: &ear{session: c.config.Session}, next: make(map[int32]kgo.EpochOffset), handled: make(map[int32]int64)}
	ctx, die := context.WithCancel(c.gone)
	defer die()
	m.record = c.registry.Join()
	options := c.options(append(m.options(ctx), protocolOptions(protocol)...)...)
	if c.config.Logs != "" {
		options = append(options, kgo.WithLogger(harness.ClientLog(c.config.Logs, fmt.Sprintf("member-%d", m.record.Number()))))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	m.client = client
	working, rest := context.WithCancel(ctx)
	defer rest()
	var work sync.WaitGroup
	work.Go(func() { m.work(working) })
	wait(c.calm, time.Duration(rand.Int64N(int64(2*c.config.Life))))
	if c.calm.Err() != nil {
		fate = leaves
		wait(c.noWork, time.Hour)
	}
	switch fate {
	case crashes:
		m.record.Gone()
		m.gate.sever()
		die()
		work.Wait()
		client.CloseAllowingRebalance()
		return nil
	case freezes:
		id, generation := client.GroupMetadata()
		m.record.Gone()
		m.gate.shut()
		late := m.memory()
		wait(c.gone, c.config.Session*3/2)
		m.gate.sever()
		die()
		work.Wait()
		client.CloseAllowingRebalance()
		m.commitLate(id, generation, late)
		return nil
	case leaves:
	}
	rest()
	work.Wait()
	id, generation := client.GroupMetadata()
	client.AllowRebalance()
	left := client.LeaveGroupContext(c.gone)
	client.Close()
	switch {
	case left != nil:
		c.note("leave", left) // it may be a member for a session to come
	case c.config.Away:
		// Nothing stands in the log of a member's leave until the others have rebalanced, as in Kafka: a coordinator that takes over
		// meanwhile knows it as a member still, and takes its commit.
	case c.calm.Err() == nil && generation >= 0: // one that never was a member may commit to an empty group
		c.trespass(id, generation)
	}
	return nil
}

func (m *member) options(ctx context.Context) []kgo.Opt {
	return []kgo.Opt{
		kgo.WithContext(ctx),
		kgo.Dialer(m.gate.dial),
		kgo.WithHooks(m.ear),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.SessionTimeout(m.churn.config.Session),
		kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.BlockRebalanceOnPoll(),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(m.assigned),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
	}
}

func protocolOptions(protocol Protocol) []kgo.Opt {
	switch protocol {
	case Eager:
		return []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}
	case Consumer:
		return []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}
	case Range:
		return []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer()}
	case Cooperative:
	}
	return []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
}

// work polls, handles and commits until ctx ends.
func (m *member) work(ctx context.Context) {
	const atOnce, idle = 200, 300 * time.Millisecond
	for ctx.Err() == nil {
		brief, enough := context.WithTimeout(ctx, idle)
		fetches := m.client.PollRecords(brief, atOnce)
		enough()
		if m.gate.pass() != nil || ctx.Err() != nil {
			m.client.AllowRebalance()
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) { m.churn.noteUnless(brief, "poll", err) })
		m.handle(fetches)
		if fetches.Empty() || rand.IntN(3) == 0 {
			m.commit(ctx, nil)
		}
		m.client.AllowRebalance()
	}
}

func (m *member) handle(fetches kgo.Fetches) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		m.record.Consumed(r.Partition, r.Offset)
		m.next[r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
		m.handled[r.Partition] = r.Offset + 1
	})
}

// commit commits what is handled: of the given partitions, or of all if there are none.
func (m *member) commit(ctx context.Context, partitions []int32) {
	m.mu.Lock()
	offsets := make(map[int32]kgo.EpochOffset)
	for partition, at := range m.next {
		if partitions == nil || slices.Contains(partitions, partition) {
			offsets[partition] = at
			m.record.Committing(partition, at.Offset)
		}
	}
	m.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				m.churn.noteUnless(ctx, "commit", err)
				return
			}
			m.committed(offsets, response)
		})
}

// committed notes what was answered to a commit.
func (m *member) committed(offsets map[int32]kgo.EpochOffset, response *kmsg.OffsetCommitResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				m.churn.note("commit", err)
				continue
			}
			at := offsets[p.Partition]
			m.record.Acknowledged(p.Partition, at.Offset)
			if m.next[p.Partition] == at {
				delete(m.next, p.Partition)
			}
		}
	}
}

func (m *member) assigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	m.record.Assigned(partitions[topic])
	m.ear.forget()
}

func (m *member) revoked(ctx context.Context, _ *kgo.Client, partitions map[string][]int32) {
	if m.gate.pass() != nil {
		return // it has crashed
	}
	m.commit(context.WithoutCancel(ctx), partitions[topic])
	m.record.Revoked(partitions[topic])
	m.drop(partitions[topic])
}

func (m *member) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	m.record.Lost(partitions[topic], !m.churn.config.Away && !m.ear.missed())
	m.drop(partitions[topic])
}

// drop forgets what was handled of partitions that are no longer owned.
func (m *member) drop(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partition := range partitions {
		delete(m.next, partition)
		delete(m.handled, partition)
	}
}

// noteUnless notes an error, unless it only says that ctx has ended.
func (c *Churn) noteUnless(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		c.note(what, err)
	}
}

// trespass commits offset 0 in the name of a member that has left. It has to be refused.
func (c *Churn) trespass(id string, generation int32) {
	anywhere := map[int32]int64{rand.Int32N(int32(c.config.Partitions)): 0}
	c.commitAs(id, generation, anywhere, func(partition int32, err error) {
		c.note("commit of one that left", err)
		c.registry.Trespassed(partition, err == nil)
	})
}

// memory is what the member has handled: its client takes the partitions away as soon as it sees that it is cut off.
func (m *member) memory() map[int32]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.handled)
}

// commitLate commits, in the name of a member that was frozen, what it had handled before. It has to be refused once somebody
// else has the partition; where it is accepted in spite of that, the log shows a commit that goes back.
func (m *member) commitLate(id string, generation int32, handled map[int32]int64) {
	for partition, offset := range handled {
		m.record.Committing(partition, offset)
	}
	m.churn.commitAs(id, generation, handled, func(_ int32, err error) { m.churn.note("late commit", err) })
}

// commitAs commits in the name of a member, past its client, and hands over what is answered for each partition.
func (c *Churn) commitAs(id string, generation int32, offsets map[int32]int64, answered func(partition int32, err error)) {
	if len(offsets) == 0 {
		return
	}
	client, err := kgo.NewClient(c.options(kgo.WithContext(c.gone))...)
	if err != nil {
		c.fault(err)
		return
	}
	defer client.Close()
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation = group, id, generation
	work := kmsg.NewOffsetCommitRequestTopic()
	work.TopicID, work.Topic = c.topicID, topic
	for number, offset := range offsets {
		partition := kmsg.NewOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = number, offset
		work.Partitions = append(work.Partitions, partition)
	}
	request.Topics = append(request.Topics, work)
	response, err := request.RequestWith(c.gone, client)
	if err != nil {
		c.note("commit past the client", err)
		return
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			answered(p.Partition, kerr.ErrorForCode(p.ErrorCode))
		}
	}
}

// ear hears the coordinator's answers to one member.
type ear struct {
	session time.Duration

	mu   sync.Mutex
	last time.Time
	gap  bool // it heard nothing for most of a session
}

var _ kgo.HookBrokerE2E = (*ear)(nil)

// OnBrokerE2E is called for each answer.
func (e *ear) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, exchange kgo.BrokerE2E) {
	const joinGroup, heartbeat, syncGroup, consumerGroupHeartbeat = 11, 12, 14, 68
	if exchange.Err() != nil || !slices.Contains([]int16{joinGroup, heartbeat, syncGroup, consumerGroupHeartbeat}, key) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listen(time.Now())
}

// listen notes that the coordinator was heard at a time.
func (e *ear) listen(now time.Time) {
	if !e.last.IsZero() && now.Sub(e.last) > e.session*3/4 {
		e.gap = true
	}
	e.last = now
}

// missed reports whether there was a time in which the coordinator may have taken the member for dead.
func (e *ear) missed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gap || time.Since(e.last) > e.session*3/4
}

// forget begins anew: what was missed before the assignment does not matter.
func (e *ear) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gap = false
}
