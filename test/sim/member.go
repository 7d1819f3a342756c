package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/test/robust/tenure"
)

const (
	membersGroup   = "members"
	sessionTimeout = 6 * time.Second // the least that a group may have
)

// errOut: the member is none any more, and joins anew.
var errOut = errors.New("not a member any more")

// member is one member of a classic group that consumes the idempotent producers' topic.
type member struct {
	*client
	registry *tenure.Registry
	id       string
	gen      int32
	tenure   *tenure.Member
	owned    map[int32]int64 // by partition: the next offset
	heard    time.Time       // when the last heartbeat that was answered was sent
}

// consume is a member from its start until all is consumed, or it leaves now and then and comes back.
func (m *member) consume(ctx context.Context, finished <-chan struct{}) {
	defer m.close()
	for ctx.Err() == nil {
		m.tenure = m.registry.Join()
		err := m.serve(ctx, finished)
		m.give(err == nil || errors.Is(err, errDone))
		m.id = ""
		var code kerr.Code
		switch {
		case errors.Is(err, errDone):
			return
		case err != nil && ctx.Err() == nil && !errors.Is(err, errOut) && errors.As(err, &code) && !code.Retriable():
			m.world.fault("%s: %w", m.name, err)
			return
		}
		m.pause(ctx)
	}
}

// give ends all tenures.
func (m *member) give(inOrder bool) {
	var all []int32
	for p := range m.owned {
		all = append(all, p)
	}
	if inOrder && time.Since(m.heard) < sessionTimeout {
		m.tenure.Revoked(all)
	} else {
		m.tenure.Lost(all, false)
	}
	m.owned = nil
}

// serve joins, consumes, and joins again with each rebalance.
func (m *member) serve(ctx context.Context, finished <-chan struct{}) error {
	for {
		err := m.join(ctx)
		if errors.Is(err, kerr.RebalanceInProgress) {
			continue // another one has begun before ours had ended
		}
		if err != nil {
			return err
		}
		err = m.work(ctx, finished)
		if !errors.Is(err, kerr.RebalanceInProgress) {
			return err
		}
		m.give(true)
	}
}

// call asks the coordinator once, and finds it anew where that fails.
func (m *member) call(ctx context.Context, req kmsg.Request, code func(kmsg.Response) int16) (kmsg.Response, error) {
	var resp kmsg.Response
	err := m.insist(ctx, membersGroup, 0, func(address string) (kerr.Code, error) {
		if !m.heard.IsZero() && time.Since(m.heard) >= sessionTimeout && m.owned != nil {
			return kerr.UnknownMemberID, nil // it may be out, and others in its place
		}
		var err error
		if resp, err = m.ask(ctx, address, req); err != nil {
			return 0, err
		}
		switch c := kerr.Code(code(resp)); c {
		case kerr.RebalanceInProgress, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.FencedInstanceID:
			return kerr.None, nil
		default:
			return c, nil
		}
	})
	if err != nil {
		if errors.Is(err, kerr.UnknownMemberID) {
			err = errOut
		}
		return nil, err
	}
	switch c := kerr.Code(code(resp)); c {
	case kerr.None:
		return resp, nil
	case kerr.RebalanceInProgress:
		return resp, c
	default:
		return resp, fmt.Errorf("%w: %w", errOut, c)
	}
}

// join joins, assigns where it leads, and begins its tenures.
func (m *member) join(ctx context.Context) error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 3, membersGroup, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), 10_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0}}}
	sent := time.Now()
	m.wait = 3 * requestTimeout // the answer comes when all have joined
	answer, err := m.call(ctx, req, func(r kmsg.Response) int16 { return r.(*kmsg.JoinGroupResponse).ErrorCode })
	m.wait = requestTimeout
	if err != nil {
		return err
	}
	joined := answer.(*kmsg.JoinGroupResponse)
	m.id, m.gen = joined.MemberID, joined.Generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 2, membersGroup, m.id, m.gen
	if joined.LeaderID == m.id {
		for i, who := range joined.Members {
			var mine []byte
			for p := i; p < m.world.plan.Partitions; p += len(joined.Members) {
				mine = binary.BigEndian.AppendUint32(mine, uint32(p))
			}
			sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: who.MemberID, MemberAssignment: mine})
		}
	}
	answer, err = m.call(ctx, sync, func(r kmsg.Response) int16 { return r.(*kmsg.SyncGroupResponse).ErrorCode })
	if err != nil {
		return err
	}
	m.heard = sent
	m.owned = map[int32]int64{}
	var all []int32
	for b := answer.(*kmsg.SyncGroupResponse).MemberAssignment; len(b) >= 4; b = b[4:] {
		all = append(all, int32(binary.BigEndian.Uint32(b)))
	}
	m.tenure.Assigned(all)
	for _, p := range all {
		m.owned[p] = 0
	}
	for _, p := range all {
		if m.owned[p], err = m.committed(ctx, membersGroup, logTopic, p); err != nil {
			return err
		}
	}
	return nil
}

// work consumes and commits until a rebalance begins, the member leaves, or all is done.
func (m *member) work(ctx context.Context, finished <-chan struct{}) error {
	for round := 0; ; round++ {
		sent := time.Now()
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Version, beat.Group, beat.MemberID, beat.Generation = 2, membersGroup, m.id, m.gen
		if _, err := m.call(ctx, beat, func(r kmsg.Response) int16 { return r.(*kmsg.HeartbeatResponse).ErrorCode }); err != nil {
			return err
		}
		m.heard = sent
		for p := range int32(m.world.plan.Partitions) {
			if _, mine := m.owned[p]; mine {
				if err := m.drain(ctx, p); err != nil {
					return err
				}
			}
		}
		last := false
		select {
		case <-finished:
			last = true
		default:
		}
		switch {
		case last && m.registry.Finished() == nil:
			return errDone
		case !last && m.rng.IntN(60) == 0:
			return m.leave(ctx)
		}
		if !m.pause(ctx) {
			return ctx.Err()
		}
	}
}

// drain consumes what a fetch of a partition gives, and commits it.
func (m *member) drain(ctx context.Context, partition int32) error {
	entries, next, err := m.read(ctx, logTopic, partition, m.owned[partition], false, 0)
	if err != nil {
		return unfit(err)
	}
	if time.Since(m.heard) >= sessionTimeout {
		return errOut
	}
	for _, e := range entries {
		m.tenure.Consumed(partition, e.offset)
	}
	if next == m.owned[partition] {
		return nil
	}
	m.owned[partition] = next
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 6, membersGroup, m.id, m.gen
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, next
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = logTopic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	m.tenure.Committing(partition, next)
	_, err = m.call(ctx, req, func(r kmsg.Response) int16 { return r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode })
	if err == nil {
		m.tenure.Acknowledged(partition, next)
	}
	return err
}

// leave leaves in good order.
func (m *member) leave(ctx context.Context) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group, req.MemberID = 2, membersGroup, m.id
	m.give(true)
	m.owned = nil
	_, err := m.call(ctx, req, func(r kmsg.Response) int16 { return r.(*kmsg.LeaveGroupResponse).ErrorCode })
	return err
}

// monitor asks for the committed offsets until all is consumed, or ctx ends.
func (w *World) monitor(ctx context.Context, c *client, r *tenure.Registry) {
	defer c.close()
	for sleep(ctx, w.plan.Think) {
		for p := range int32(w.plan.Partitions) {
			offset, err := c.committed(ctx, membersGroup, logTopic, p)
			if err != nil {
				if ctx.Err() == nil {
					w.fault("%s: committed offset: %w", c.name, err)
				}
				return
			}
			r.Told(p, offset)
			r.Logged(p, offset)
		}
	}
}
