package consumer

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// The types of members that ConsumerGroupDescribe shows.
const (
	memberClassic  = 0
	memberConsumer = 1
)

// Describe is what ConsumerGroupDescribe shows of the group.
func (g *Group) Describe(e Env) kmsg.ConsumerGroupDescribeResponseGroup {
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	o := g.begin(e)
	d.Group, d.State, d.Epoch, d.AssignmentEpoch, d.AssignorName = g.id, g.State(), g.epoch, g.assigned, o.preferredAssignor()
	for m := range g.Members() {
		dm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.RackID, dm.MemberEpoch = m.ID, m.Instance, m.Rack, m.Epoch
		dm.ClientID, dm.ClientHost = m.Client.ID, m.Client.Host
		dm.SubscribedTopics, dm.SubscribedTopicRegex = m.Topics, m.Regex
		if dm.SubscribedTopicRegex == nil {
			dm.SubscribedTopicRegex = new(string)
		}
		both := modern.Owned{}
		for _, owned := range []modern.Owned{m.Assigned, m.Revoking} {
			for id, indexes := range owned {
				for index, epoch := range indexes {
					put(both, topic.Partition{Topic: id, Index: index}, epoch)
				}
			}
		}
		dm.Assignment = described(both.Partitions(), e.Topics)
		dm.TargetAssignment = described(g.target[m.ID], e.Topics)
		dm.MemberType = memberConsumer
		if m.Classic != nil {
			dm.MemberType = memberClassic
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

// described names the topics that still exist.
func described(p modern.Partitions, topics modern.Topics) kmsg.Assignment {
	var a kmsg.Assignment
	for id, indexes := range p.Sorted() {
		if t, ok := topics.TopicByID(id); ok {
			a.TopicPartitions = append(a.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: id, Topic: t.Name, Partitions: indexes})
		}
	}
	return a
}

// commitEpochs is the version of OffsetCommit from which on it carries member epochs.
const commitEpochs = 9

// CheckCommit decides whether the group takes a commit, as a whole (err) or partition by partition (per, which may be nil):
// a member may be an epoch late with what it has had since. Errors are *modern.Error.
func (g *Group) CheckCommit(c modern.Commit) (per func(t topic.ID, index int32) error, err error) {
	switch {
	case c.Epoch < 0 && len(g.members) == 0:
		return nil, nil
	case c.Transactional && c.Epoch == -1 && c.Member == "" && c.Instance == nil:
		return nil, nil
	}
	m := g.members[c.Member]
	switch {
	case m == nil:
		return nil, g.begin(Env{}).unknownMember(c.Member)
	case !c.Transactional && m.Classic == nil && c.Version < commitEpochs:
		return nil, &modern.Error{Code: kerr.UnsupportedVersion,
			Text: "OffsetCommit version 9 or above must be used by members using the consumer group protocol"}
	case c.Epoch == m.Epoch:
		return nil, nil
	case c.Epoch > m.Epoch:
		return nil, m.stale(fmt.Sprintf("Received member epoch %d is newer than current member epoch %d.", c.Epoch, m.Epoch))
	}
	return func(t topic.ID, index int32) error {
		at, ok := m.Assigned[t][index]
		if !ok {
			at, ok = m.Revoking[t][index]
		}
		if ok && c.Epoch >= at {
			return nil
		}
		return m.stale(fmt.Sprintf("Received member epoch %d is older than the assignment of partition %d.", c.Epoch, index))
	}, nil
}

// CheckFetch decides whether a member may read offsets; nobody in particular always may. Errors are *modern.Error.
func (g *Group) CheckFetch(member *string, epoch int32) error {
	if member == nil && epoch < 0 {
		return nil
	}
	id := ""
	if member != nil {
		id = *member
	}
	m := g.members[id]
	switch {
	case m == nil:
		return g.begin(Env{}).unknownMember(id)
	case m.Epoch != epoch:
		return m.stale(fmt.Sprintf("The received member epoch %d does not match the expected member epoch %d.", epoch, m.Epoch))
	default:
		return nil
	}
}

// stale is how a member of that protocol hears that its epoch is not good.
func (m *Member) stale(text string) error {
	if m.Classic != nil {
		return &modern.Error{Code: kerr.IllegalGeneration, Text: text}
	}
	return &modern.Error{Code: kerr.StaleMemberEpoch, Text: text}
}
