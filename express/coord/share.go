package coord

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"millrace/express/group"
	"millrace/express/group/modern"
	"millrace/express/group/shares"
	"millrace/express/machine"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// ShareState is the share coordinators of the cluster; Shares is the one of this broker, and has the same methods. Errors are or
// wrap a kerr.Code: NotCoordinator and CoordinatorLoadInProgress say that the coordinator may be there soon.
// What failed may be asked again.
type ShareState interface {
	// InitializeState makes a share-partition new.
	InitializeState(ctx context.Context, k state.Key, stateEpoch int32, start int64) error
	// DeleteState removes a share-partition.
	DeleteState(ctx context.Context, k state.Key) error
	// StateSummary gives what is durable.
	StateSummary(ctx context.Context, k state.Key) (state.Summary, error)
}

// ShareWorld is what a Coordinator needs for share groups.
type ShareWorld struct {
	Shares ShareState
	// Latest is the end of a partition as its readers see it; false if nobody knows it now. It may block, bounded by ctx.
	Latest func(ctx context.Context, id topic.Partition) (offset int64, ok bool)
	// Reset tells that what is stored of a group on a topic was changed here, so that nobody goes on from what it has read. It
	// must not block.
	Reset func(group string, id topic.ID)
}

// ServeShares makes the coordinator serve share groups, until ctx ends. It is called once, before the first Load.
func (c *Coordinator) ServeShares(ctx context.Context, w ShareWorld) {
	c.share = &w
	c.shareLife, c.endShares = context.WithCancel(ctx)
}

// afterGroups carries out what share groups ask for.
func (c *Coordinator) afterGroups(index int32, m *group.Machine) {
	for _, work := range m.TakeShareWork() {
		if c.share == nil {
			continue
		}
		c.shareWork.Go(func() {
			done, failed := c.initialize(c.shareLife, work.Group, work.Initialize)
			c.tellInitialized(index, work.Group, done, failed)
		})
	}
}

// tellInitialized tells a group how initializing ended.
func (c *Coordinator) tellInitialized(index int32, name string, done []topic.Partition, failed map[topic.Partition]error) {
	c.Tell(index, func(m *group.Machine, now time.Time) machine.Effects {
		var e machine.Effects
		for _, of := range []struct {
			partitions []topic.Partition
			ok         bool
		}{{done, true}, {sortedPartitions(failed), false}} {
			if len(of.partitions) > 0 {
				more := m.ShareInitialized(now, name, of.partitions, of.ok)
				e.Appends, e.Replies, e.Notes = append(e.Appends, more.Appends...), append(e.Replies, more.Replies...), append(e.Notes, more.Notes...)
			}
		}
		return e
	})
}

func sortedPartitions(m map[topic.Partition]error) []topic.Partition {
	var out []topic.Partition
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b topic.Partition) int { return int(a.Index - b.Index) })
	return out
}

// Bounds of the partitions that the share coordinators are asked about at a time, for one request.
const (
	describesAtOnce = 32
	changesAtOnce   = 32
)

// shareTries is how often the share coordinator is asked while it is being loaded, with sharePause between.
const (
	shareTries = 50
	sharePause = 200 * time.Millisecond
)

// initialize makes share-partitions new, and returns those for which that went well and the others.
func (c *Coordinator) initialize(ctx context.Context, name string, all []shares.Initialize) (done []topic.Partition, failed map[topic.Partition]error) {
	errs := make([]error, len(all))
	var asking errgroup.Group
	asking.SetLimit(changesAtOnce)
	for n, i := range all {
		k := state.Key{Group: name, Topic: i.Partition.Topic, Partition: i.Partition.Index}
		asking.Go(func() error {
			errs[n] = retryShare(ctx, func() error { return c.share.Shares.InitializeState(ctx, k, i.StateEpoch, i.Start) })
			return nil
		})
	}
	_ = asking.Wait() // no function of it fails
	failed = map[topic.Partition]error{}
	for n, i := range all {
		if errs[n] != nil {
			failed[i.Partition] = errs[n]
			continue
		}
		done = append(done, i.Partition)
	}
	return done, failed
}

// retryShare waits for a share coordinator that is about to be there.
func retryShare(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		code := kerr.Of(err)
		if code != kerr.NotCoordinator && code != kerr.CoordinatorLoadInProgress || try == shareTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(sharePause):
		}
	}
}

// ShareGroupHeartbeat handles version 1. It blocks until what it tells is durable.
func (c *Coordinator) ShareGroupHeartbeat(
	ctx context.Context, clientID, clientHost string, req *kmsg.ShareGroupHeartbeatRequest,
) *kmsg.ShareGroupHeartbeatResponse {
	client := group.Client{ID: clientID, Host: clientHost}
	r, code := call[*kmsg.ShareGroupHeartbeatResponse](ctx, c.Runtime, req.GroupID,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.ShareGroupHeartbeat(now, t, client, req)
		})
	if code != kerr.None {
		r = kmsg.NewPtrShareGroupHeartbeatResponse()
		r.ErrorCode = int16(code)
	}
	r.Version = req.Version
	return r
}

// ShareGroupDescribe handles version 1. It leaves the authorized operations to the caller.
func (c *Coordinator) ShareGroupDescribe(ctx context.Context, req *kmsg.ShareGroupDescribeRequest) *kmsg.ShareGroupDescribeResponse {
	r := kmsg.NewPtrShareGroupDescribeResponse()
	r.Version = req.Version
	for _, name := range req.GroupIDs {
		one, code := callNamed[*kmsg.ShareGroupDescribeResponse](ctx, c.Runtime, name,
			func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
				return m.ShareGroupDescribe(now, t, name)
			})
		if code != kerr.None {
			g := kmsg.NewShareGroupDescribeResponseGroup()
			g.GroupID, g.ErrorCode = name, int16(code)
			r.Groups = append(r.Groups, g)
			continue
		}
		r.Groups = append(r.Groups, one.Groups...)
	}
	return r
}

// DescribeShareGroupOffsets handles one group of versions 0 and 1; topics that are null are all of which the group has state.
func (c *Coordinator) DescribeShareGroupOffsets(
	ctx context.Context, in kmsg.DescribeShareGroupOffsetsRequestGroup,
) kmsg.DescribeShareGroupOffsetsResponseGroup {
	out := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
	out.GroupID = in.GroupID
	if in.Topics == nil {
		s, code := c.shard(in.GroupID)
		var all modern.Partitions
		if code == kerr.None {
			all, code = read(ctx, s, func(m *group.Machine) modern.Partitions { return m.SharePartitions(in.GroupID) })
		}
		if code != kerr.None {
			message := code.Message()
			out.ErrorCode, out.ErrorMessage = int16(code), &message
			return out
		}
		for id, indexes := range all.Sorted() {
			if t, ok := c.topics.TopicByID(id); ok {
				in.Topics = append(in.Topics, kmsg.DescribeShareGroupOffsetsRequestGroupTopic{Topic: t.Name, Partitions: indexes})
			}
		}
	}
	for _, asked := range in.Topics {
		out.Topics = append(out.Topics, c.describeShareTopic(ctx, in.GroupID, asked))
	}
	return out
}

func (c *Coordinator) describeShareTopic(
	ctx context.Context, name string, in kmsg.DescribeShareGroupOffsetsRequestGroupTopic,
) kmsg.DescribeShareGroupOffsetsResponseGroupTopic {
	t, ok := c.topics.TopicByName(in.Topic)
	out := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopic()
	out.Topic, out.TopicID = in.Topic, t.ID
	var asking errgroup.Group // what others keep is asked together, not one after the other
	asking.SetLimit(describesAtOnce)
	out.Partitions = make([]kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition, len(in.Partitions))
	for i, index := range in.Partitions {
		p := &out.Partitions[i]
		*p = kmsg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
		p.Partition, p.StartOffset, p.Lag = index, -1, -1
		if ok && index >= 0 && index < t.Partitions {
			asking.Go(func() error {
				c.describeSharePartition(ctx, state.Key{Group: name, Topic: t.ID, Partition: index}, p)
				return nil
			})
		}
	}
	_ = asking.Wait() // no function of it fails
	return out
}

func (c *Coordinator) describeSharePartition(
	ctx context.Context, k state.Key, out *kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition,
) {
	s, err := c.share.Shares.StateSummary(ctx, k)
	if err != nil {
		return
	}
	out.StartOffset, out.LeaderEpoch = s.Start, s.LeaderEpoch
	if s.Start == -1 || s.Complete == -1 {
		return
	}
	if latest, known := c.share.Latest(ctx, topic.Partition{Topic: k.Topic, Index: k.Partition}); known {
		out.Lag = latest - s.Start - int64(s.Complete)
	}
}

// AlterShareGroupOffsets handles version 0: the group must be without members, and is made if there is none.
func (c *Coordinator) AlterShareGroupOffsets(
	ctx context.Context, req *kmsg.AlterShareGroupOffsetsRequest,
) *kmsg.AlterShareGroupOffsetsResponse {
	var work []shares.Initialize
	r, code := callNamed[*kmsg.AlterShareGroupOffsetsResponse](ctx, c.Runtime, req.GroupID,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.AlterShareGroupOffsets(now, t, req, &work)
		})
	if code != kerr.None {
		r = kmsg.NewPtrAlterShareGroupOffsetsResponse()
		r.ErrorCode = int16(code)
		return r
	}
	if r.ErrorCode != 0 || len(work) == 0 {
		return r
	}
	done, failed := c.initialize(ctx, req.GroupID, work)
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if err := failed[topic.Partition{Topic: t.TopicID, Index: p.Partition}]; err != nil {
				code := kerr.Of(err)
				message := code.Message()
				p.ErrorCode, p.ErrorMessage = int16(code), &message
			}
		}
		c.share.Reset(req.GroupID, t.TopicID)
	}
	c.tellInitialized(c.PartitionFor(req.GroupID), req.GroupID, done, failed)
	return r
}

// DeleteShareGroupOffsets handles version 0: the group must be without members.
func (c *Coordinator) DeleteShareGroupOffsets(
	ctx context.Context, req *kmsg.DeleteShareGroupOffsetsRequest,
) *kmsg.DeleteShareGroupOffsetsResponse {
	names := make([]string, 0, len(req.Topics))
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	r, partitions := c.deleteShareState(ctx, req.GroupID, names)
	for id := range partitions.Sorted() {
		t, _ := c.topics.TopicByID(id)
		answer := kmsg.NewDeleteShareGroupOffsetsResponseTopic()
		answer.Topic, answer.TopicID = t.Name, id
		r.Topics = append(r.Topics, answer)
	}
	return r
}

// deleteShareState deletes the state of a group, of the named topics or all (nil), and returns of which it is gone.
func (c *Coordinator) deleteShareState(
	ctx context.Context, name string, topics []string,
) (r *kmsg.DeleteShareGroupOffsetsResponse, deleted modern.Partitions) {
	var work modern.Partitions
	r, code := callNamed[*kmsg.DeleteShareGroupOffsetsResponse](ctx, c.Runtime, name,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.DeleteShareState(now, t, name, topics, &work)
		})
	if code != kerr.None {
		r = kmsg.NewPtrDeleteShareGroupOffsetsResponse()
		r.ErrorCode = int16(code)
		return r, nil
	}
	if r.ErrorCode != 0 || len(work) == 0 {
		return r, nil
	}
	deleted = modern.Partitions{}
	var gone []topic.ID
	for id, indexes := range work.Sorted() {
		code := c.deleteStates(ctx, name, id, indexes)
		c.share.Reset(name, id)
		if code != kerr.None {
			t, _ := c.topics.TopicByID(id)
			failed := kmsg.NewDeleteShareGroupOffsetsResponseTopic()
			message := code.Message()
			failed.Topic, failed.TopicID, failed.ErrorCode, failed.ErrorMessage = t.Name, id, int16(code), &message
			r.Topics = append(r.Topics, failed)
			continue
		}
		deleted[id] = indexes
		gone = append(gone, id)
	}
	if len(gone) == 0 {
		return r, deleted
	}
	done, code := call[*kmsg.DeleteShareGroupOffsetsResponse](ctx, c.Runtime, name,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.ShareStateDeleted(now, t, name, gone)
		})
	if code == kerr.None {
		code = kerr.Code(done.ErrorCode)
	}
	if code != kerr.None {
		r.ErrorCode = int16(code)
		return r, nil
	}
	return r, deleted
}

// deleteStates deletes the state of partitions of one topic; the code is that of one that failed.
func (c *Coordinator) deleteStates(ctx context.Context, name string, id topic.ID, indexes []int32) kerr.Code {
	var asking errgroup.Group
	asking.SetLimit(changesAtOnce)
	for _, index := range indexes {
		k := state.Key{Group: name, Topic: id, Partition: index}
		asking.Go(func() error { return retryShare(ctx, func() error { return c.share.Shares.DeleteState(ctx, k) }) })
	}
	return kerr.Of(asking.Wait())
}

// deleteShare deletes the state of a group before the group itself; a group that is not a share group has none.
func (c *Coordinator) deleteShare(ctx context.Context, name string) kerr.Code {
	if c.share == nil || name == "" {
		return kerr.None
	}
	r, _ := c.deleteShareState(ctx, name, nil)
	if code := kerr.Code(r.ErrorCode); code != kerr.None && code != kerr.GroupIDNotFound {
		return code
	}
	for _, t := range r.Topics {
		if t.ErrorCode != 0 {
			return kerr.Code(t.ErrorCode)
		}
	}
	return kerr.None
}
