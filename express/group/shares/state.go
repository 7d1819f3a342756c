package shares

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// topicState is a topic in one of the lists.
type topicState struct {
	name       string
	partitions []int32 // ascending
}

// lists are the topics of which the group has state, or will have, or had. They never change once made.
type lists struct {
	initializing, initialized map[topic.ID]topicState
	deleting                  map[topic.ID]string // names
}

func (l *lists) empty() bool { return len(l.initializing)+len(l.initialized)+len(l.deleting) == 0 }

func (l *lists) clone() lists {
	out := lists{maps.Clone(l.initializing), maps.Clone(l.initialized), maps.Clone(l.deleting)}
	if out.initializing == nil {
		out.initializing = map[topic.ID]topicState{}
	}
	if out.initialized == nil {
		out.initialized = map[topic.ID]topicState{}
	}
	if out.deleting == nil {
		out.deleting = map[topic.ID]string{}
	}
	return out
}

// with adds partitions to a list.
func with(list map[topic.ID]topicState, id topic.ID, name string, partitions []int32) {
	all := slices.Concat(list[id].partitions, partitions)
	slices.Sort(all)
	list[id] = topicState{name, slices.Compact(all)}
}

// without takes partitions off a list.
func without(list map[topic.ID]topicState, id topic.ID, partitions []int32) {
	t, ok := list[id]
	if !ok {
		return
	}
	left := slices.DeleteFunc(slices.Clone(t.partitions), func(p int32) bool { return slices.Contains(partitions, p) })
	if len(left) == 0 {
		delete(list, id)
		return
	}
	list[id] = topicState{t.name, left}
}

// initialize asks for the share-partitions that members want to read and that nobody has made yet.
func (o *operation) initialize() {
	next := o.state.clone()
	changed := false
	for _, name := range slices.Sorted(maps.Keys(o.names())) {
		t, ok := o.Topics.TopicByName(name)
		if !ok || len(o.state.initialized[t.ID].partitions) >= int(t.Partitions) {
			continue
		}
		done := slices.Clone(o.state.initialized[t.ID].partitions)
		if at, asked := o.asked[t.ID]; asked && o.Now.Sub(at) < o.Config.InitializeRetry {
			done = append(done, o.state.initializing[t.ID].partitions...)
		}
		var missing []int32
		for index := range t.Partitions {
			if !slices.Contains(done, index) {
				missing = append(missing, index)
				o.Initialize = append(o.Initialize, Initialize{topic.Partition{Topic: t.ID, Index: index}, o.epoch, -1})
			}
		}
		if len(missing) == 0 {
			continue
		}
		changed = true
		with(next.initializing, t.ID, t.Name, missing)
		delete(next.deleting, t.ID)
	}
	if changed {
		o.Add(stateRecord{next, o.Now})
	}
}

// Initialized tells how initializing share-partitions of the group ended.
func (g *Group) Initialized(e Env, partitions []topic.Partition, ok bool) Change {
	next := g.state.clone()
	for _, p := range partitions {
		t, was := next.initializing[p.Topic]
		if !was || !slices.Contains(t.partitions, p.Index) {
			continue // of a topic that was deleted meanwhile
		}
		without(next.initializing, p.Topic, []int32{p.Index})
		if ok {
			with(next.initialized, p.Topic, t.name, []int32{p.Index})
		}
	}
	var c Change
	c.Add(stateRecord{next, e.Now})
	return c
}

// Partitions are the share-partitions that are initialized.
func (g *Group) Partitions() modern.Partitions {
	out := modern.Partitions{}
	for id, t := range g.state.initialized {
		out[id] = t.partitions
	}
	return out
}

// Alter makes share-partitions new at given offsets, of a group without members.
func (g *Group) Alter(e Env, topics []kmsg.AlterShareGroupOffsetsRequestTopic) ([]kmsg.AlterShareGroupOffsetsResponseTopic, Change, error) {
	if len(g.members) > 0 {
		return nil, Change{}, kerr.NonEmptyGroup
	}
	var c Change
	var out []kmsg.AlterShareGroupOffsetsResponseTopic
	next := g.state.clone()
	for _, in := range topics {
		t, ok := e.Topics.TopicByName(in.Topic)
		answer := kmsg.NewAlterShareGroupOffsetsResponseTopic()
		answer.Topic, answer.TopicID = in.Topic, t.ID
		for _, p := range in.Partitions {
			a := kmsg.NewAlterShareGroupOffsetsResponseTopicPartition()
			a.Partition = p.Partition
			if !ok || p.Partition < 0 || p.Partition >= t.Partitions {
				a.ErrorCode, a.ErrorMessage = int16(kerr.UnknownTopicOrPartition), kmsg.StringPtr(kerr.UnknownTopicOrPartition.Message())
			} else {
				c.Initialize = append(c.Initialize, Initialize{topic.Partition{Topic: t.ID, Index: p.Partition}, g.epoch, p.StartOffset})
				with(next.initializing, t.ID, t.Name, []int32{p.Partition})
				delete(next.deleting, t.ID)
			}
			answer.Partitions = append(answer.Partitions, a)
		}
		out = append(out, answer)
	}
	if len(c.Initialize) > 0 {
		c.Add(stateRecord{next, e.Now})
	}
	return out, c, nil
}

// Delete begins to delete the state of topics, of a group without members, or of all topics if names is nil. It returns the
// share-partitions to delete; Deleted ends it.
func (g *Group) Delete(e Env, names []string) (partitions modern.Partitions, refused []kmsg.DeleteShareGroupOffsetsResponseTopic, c Change, err error) {
	if len(g.members) > 0 {
		return nil, nil, Change{}, kerr.NonEmptyGroup
	}
	partitions = modern.Partitions{}
	next := g.state.clone()
	if names == nil {
		for id := range g.state.deleting {
			if t, ok := e.Topics.TopicByID(id); ok {
				partitions[id] = indexes(t.Partitions)
			}
		}
		for _, list := range []map[topic.ID]topicState{g.state.initializing, g.state.initialized} {
			for id, t := range list {
				all := slices.Concat(partitions[id], t.partitions)
				slices.Sort(all)
				partitions[id], next.deleting[id] = slices.Compact(all), t.name
			}
		}
		clear(next.initializing)
		clear(next.initialized)
	}
	for _, name := range names {
		t, ok := e.Topics.TopicByName(name)
		_, deleting := g.state.deleting[t.ID]
		switch have, has := g.state.initialized[t.ID]; {
		case ok && has:
			partitions[t.ID] = have.partitions
			delete(next.initialized, t.ID)
			next.deleting[t.ID] = t.Name
		case ok && deleting:
			partitions[t.ID] = indexes(t.Partitions)
		case ok:
			refused = append(refused, noOffsets(name, "There is no offset information to delete."))
		default:
			refused = append(refused, noOffsets(name, kerr.UnknownTopicOrPartition.Message()))
		}
	}
	if len(partitions) > 0 {
		c.Add(stateRecord{next, e.Now})
	}
	return partitions, refused, c, nil
}

func indexes(n int32) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

func noOffsets(name, text string) kmsg.DeleteShareGroupOffsetsResponseTopic {
	t := kmsg.NewDeleteShareGroupOffsetsResponseTopic()
	t.Topic, t.ErrorCode, t.ErrorMessage = name, int16(kerr.UnknownTopicOrPartition), &text
	return t
}

// Deleted tells that the state of topics is gone.
func (g *Group) Deleted(e Env, ids []topic.ID) Change {
	next := g.state.clone()
	for _, id := range ids {
		delete(next.deleting, id)
	}
	var c Change
	c.Add(stateRecord{next, e.Now})
	return c
}

// TopicDeleted forgets a topic that is gone from the cluster.
func (g *Group) TopicDeleted(e Env, id topic.ID) Change {
	next := g.state.clone()
	delete(next.initializing, id)
	delete(next.initialized, id)
	delete(next.deleting, id)
	var c Change
	if len(next.initializing)+len(next.initialized)+len(next.deleting) != len(g.state.initializing)+len(g.state.initialized)+len(g.state.deleting) {
		c.Add(stateRecord{next, e.Now})
	}
	return c
}

// String is for messages.
func (i Initialize) String() string { return fmt.Sprintf("%s at %d", i.Partition, i.Start) }
