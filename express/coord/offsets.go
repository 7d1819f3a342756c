package coord

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Versions of OffsetCommit and OffsetFetch from which on something differs.
const (
	offsetsByTopicID = 10 // both: topics have ids and no names
	fetchGroupError  = 2  // OffsetFetch: an error of the whole group has its own field
	fetchManyGroups  = 8  // OffsetFetch: asks for many groups
	fetchMemberEpoch = 9  // OffsetFetch: says who asks, and in which epoch
)

// OffsetCommit handles versions 0 to 10. It blocks until the commit is durable. Partitions that do not exist are refused
// each for itself.
func (c *Coordinator) OffsetCommit(ctx context.Context, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	r := group.CommitResponse(req, kerr.None)
	r.Version = req.Version
	known, at := c.checkTopics(req, r)
	if len(known.Topics) == 0 && len(req.Topics) > 0 {
		return r
	}
	answer, code := call[*kmsg.OffsetCommitResponse](ctx, c.Runtime, req.Group,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.OffsetCommit(now, t, known)
		})
	if code != kerr.None {
		answer = group.CommitResponse(known, code)
	}
	for i, t := range answer.Topics {
		for k, p := range t.Partitions {
			r.Topics[at[i].topic].Partitions[at[i].partitions[k]].ErrorCode = p.ErrorCode
		}
	}
	return r
}

// place says which topic and partitions of a request one of the checked topics stands for.
type place struct {
	topic      int
	partitions []int
}

// checkTopics returns the part of req that exists, under its names, with the places of its topics in req. What does not
// exist gets its error in r.
func (c *Coordinator) checkTopics(
	req *kmsg.OffsetCommitRequest, r *kmsg.OffsetCommitResponse,
) (known *kmsg.OffsetCommitRequest, at []place) {
	copied := *req
	known = &copied
	known.Topics = nil
	for i, t := range req.Topics {
		found, code := c.lookup(req.Version, t.Topic, t.TopicID)
		t.Topic = found.Name
		partitions := t.Partitions
		t.Partitions = nil
		p := place{topic: i}
		for k, part := range partitions {
			switch {
			case code != kerr.None:
				r.Topics[i].Partitions[k].ErrorCode = int16(code)
			case c.topics != nil && (part.Partition < 0 || part.Partition >= found.Partitions):
				r.Topics[i].Partitions[k].ErrorCode = int16(kerr.UnknownTopicOrPartition)
			default:
				t.Partitions = append(t.Partitions, part)
				p.partitions = append(p.partitions, k)
			}
		}
		if len(t.Partitions) > 0 {
			known.Topics = append(known.Topics, t)
			at = append(at, p)
		}
	}
	return known, at
}

// lookup finds a topic the way a request of that version names it.
func (c *Coordinator) lookup(version int16, name string, id topic.ID) (Topic, kerr.Code) {
	if c.topics == nil {
		if version >= offsetsByTopicID {
			return Topic{}, kerr.UnknownTopicID
		}
		return Topic{Name: name}, kerr.None
	}
	if version >= offsetsByTopicID {
		if t, ok := c.topics.TopicByID(id); ok {
			return t, kerr.None
		}
		return Topic{}, kerr.UnknownTopicID
	}
	if t, ok := c.topics.TopicByName(name); ok {
		return t, kerr.None
	}
	return Topic{}, kerr.UnknownTopicOrPartition
}

// OffsetFetch handles versions 0 to 10. With require_stable, partitions for which an open transaction holds an offset are
// answered UNSTABLE_OFFSET_COMMIT.
func (c *Coordinator) OffsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	r := kmsg.NewPtrOffsetFetchResponse()
	r.Version = req.Version
	if req.Version >= fetchManyGroups {
		for _, g := range req.Groups {
			r.Groups = append(r.Groups, c.fetch(ctx, req, g))
		}
		return r
	}
	asked := kmsg.OffsetFetchRequestGroup{Group: req.Group}
	if req.Topics != nil {
		asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	g := c.fetch(ctx, req, asked)
	r.ErrorCode = g.ErrorCode
	if g.ErrorCode != int16(kerr.None) && req.Version < fetchGroupError {
		g.Topics = noOffsets(asked.Topics, kerr.Code(g.ErrorCode))
	}
	for _, t := range g.Topics {
		old := kmsg.NewOffsetFetchResponseTopic()
		old.Topic = t.Topic
		for _, p := range t.Partitions {
			old.Partitions = append(old.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		r.Topics = append(r.Topics, old)
	}
	return r
}

// fetch answers for one group; without topics it is asked for all of them.
func (c *Coordinator) fetch(
	ctx context.Context, whole *kmsg.OffsetFetchRequest, req kmsg.OffsetFetchRequestGroup,
) kmsg.OffsetFetchResponseGroup {
	s, code := c.shard(req.Group)
	if code == kerr.None {
		var g kmsg.OffsetFetchResponseGroup
		g, code = read(ctx, s, func(m *group.Machine) kmsg.OffsetFetchResponseGroup {
			g := kmsg.NewOffsetFetchResponseGroup()
			if refused := m.CheckFetch(req.Group, req.MemberID, req.MemberEpoch); refused != kerr.None && whole.Version >= fetchMemberEpoch {
				g.ErrorCode = int16(refused)
				return g
			}
			if req.Topics == nil {
				g.Topics = c.fetchAll(m, whole, req.Group)
			} else {
				g.Topics = c.fetchSome(m, whole, req.Group, req.Topics)
			}
			return g
		})
		if code == kerr.None {
			g.Group = req.Group
			return g
		}
	}
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Group = req.Group
	g.ErrorCode = int16(code)
	return g
}

func (c *Coordinator) fetchSome(
	m *group.Machine, req *kmsg.OffsetFetchRequest, groupID string, topics []kmsg.OffsetFetchRequestGroupTopic,
) []kmsg.OffsetFetchResponseGroupTopic {
	out := noOffsets(topics, kerr.None)
	for i, t := range topics {
		name := t.Topic
		if req.Version >= offsetsByTopicID {
			found, code := c.lookup(req.Version, "", t.TopicID)
			if code != kerr.None {
				out[i] = noOffsets(topics[i:i+1], code)[0]
				continue
			}
			name = found.Name
		}
		for k := range out[i].Partitions {
			p := &out[i].Partitions[k]
			tp := group.TopicPartition{Topic: name, Partition: p.Partition}
			switch o, ok := m.Offset(groupID, tp); {
			case req.RequireStable && m.Unstable(groupID, tp):
				p.ErrorCode = int16(kerr.UnstableOffsetCommit)
			case ok && ofTopic(o, t.TopicID):
				fill(p, o)
			}
		}
	}
	return out
}

// ofTopic is false for an offset that was committed to an earlier topic of the same name.
func ofTopic(o group.Offset, id topic.ID) bool {
	return id == topic.ID{} || o.TopicID == topic.ID{} || o.TopicID == id
}

// fetchAll answers with all offsets of a group. Where topics go by their ids, those that are gone have no name to give.
func (c *Coordinator) fetchAll(
	m *group.Machine, req *kmsg.OffsetFetchRequest, groupID string,
) []kmsg.OffsetFetchResponseGroupTopic {
	var out []kmsg.OffsetFetchResponseGroupTopic
	for name, partitions := range m.Committed(groupID) {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = name
		if req.Version >= offsetsByTopicID {
			found, code := c.lookup(0, name, topic.ID{})
			if code != kerr.None {
				continue
			}
			t.TopicID = found.ID
		}
		for _, index := range partitions {
			tp := group.TopicPartition{Topic: name, Partition: index}
			o, _ := m.Offset(groupID, tp)
			if !ofTopic(o, t.TopicID) {
				continue
			}
			p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			p.Partition = index
			if req.RequireStable && m.Unstable(groupID, tp) {
				none := ""
				p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = -1, -1, &none, int16(kerr.UnstableOffsetCommit)
			} else {
				fill(&p, o)
			}
			t.Partitions = append(t.Partitions, p)
		}
		if len(t.Partitions) > 0 {
			out = append(out, t)
		}
	}
	return out
}

func fill(p *kmsg.OffsetFetchResponseGroupTopicPartition, o group.Offset) {
	metadata := o.Metadata
	p.Offset, p.LeaderEpoch, p.Metadata = o.Offset, o.LeaderEpoch, &metadata
}

// noOffsets answers each partition with -1 and code.
func noOffsets(topics []kmsg.OffsetFetchRequestGroupTopic, code kerr.Code) []kmsg.OffsetFetchResponseGroupTopic {
	out := make([]kmsg.OffsetFetchResponseGroupTopic, len(topics))
	for i, t := range topics {
		out[i].Topic, out[i].TopicID = t.Topic, t.TopicID
		for _, index := range t.Partitions {
			none := ""
			p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, -1, &none, int16(code)
			out[i].Partitions = append(out[i].Partitions, p)
		}
	}
	return out
}
