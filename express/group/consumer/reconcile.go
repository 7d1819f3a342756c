package consumer

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// reconciliation takes a member one step closer to its target assignment.
type reconciliation struct {
	member      *Member
	epoch       int32 // of the target assignment
	target      modern.Partitions
	subscribed  []topic.ID // that the member reads, ascending
	resubscribe bool       // the member reads other topics than before, so what it does not read any more is taken away
	owner       func(topic.Partition) string
	owned       modern.Partitions // what the member says it has
	known       bool              // the member said what it has
}

// next is the member after the step, or the same if it cannot go on now.
func (r *reconciliation) next() (*Member, error) {
	switch r.member.State {
	case Stable:
		if r.member.Epoch != r.epoch {
			return r.advance(r.member.Epoch), nil
		}
		if r.resubscribe {
			return r.shrink(), nil
		}
		return r.member, nil
	case UnrevokedPartitions:
		if !r.holds(r.member.Revoking) {
			return r.advance(r.member.Epoch), nil
		}
		if r.resubscribe {
			return r.shrink(), nil
		}
		return r.member, nil
	case UnreleasedPartitions:
		return r.advance(r.member.Epoch), nil
	default:
		if !r.known || r.owned.Len() > 0 {
			return nil, &modern.Error{Code: kerr.FencedMemberEpoch,
				Text: "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin."}
		}
		return r.advance(r.epoch), nil
	}
}

// holds says whether the member may still use any of these partitions.
func (r *reconciliation) holds(o modern.Owned) bool {
	if !r.known {
		return true
	}
	for id, indexes := range r.owned {
		for _, index := range indexes {
			if o.Has(id, index) {
				return true
			}
		}
	}
	return false
}

func (r *reconciliation) reads(id topic.ID) bool {
	_, ok := slices.BinarySearchFunc(r.subscribed, id, modern.CompareIDs)
	return ok
}

// shrink takes away what the member does not read any more.
func (r *reconciliation) shrink() *Member {
	assigned, revoking := maps.Clone(r.member.Assigned), maps.Clone(r.member.Revoking)
	for id, indexes := range r.member.Assigned {
		if r.reads(id) {
			continue
		}
		delete(assigned, id)
		if revoking == nil {
			revoking = modern.Owned{}
		}
		both := maps.Clone(indexes)
		maps.Copy(both, revoking[id])
		revoking[id] = both
	}
	if len(assigned) == len(r.member.Assigned) {
		return r.member
	}
	next := *r.member
	next.move(r.member.Epoch)
	next.Assigned = assigned
	if r.holds(revoking) {
		next.State, next.Revoking = UnrevokedPartitions, revoking
	}
	return &next
}

// advance computes what the member keeps, must give up, and can have now. Only with nothing to give up does it enter the
// epoch of the target assignment. epoch is the one that it is in.
func (r *reconciliation) advance(epoch int32) *Member {
	assigned, revoking, waits := modern.Owned{}, modern.Owned{}, false
	var fresh []topic.Partition
	for id, indexes := range r.member.Assigned {
		for index, at := range indexes {
			into := revoking
			if r.target.Has(id, index) && r.reads(id) {
				into = assigned
			}
			put(into, topic.Partition{Topic: id, Index: index}, at)
		}
	}
	for id, indexes := range r.target {
		for _, index := range indexes {
			p := topic.Partition{Topic: id, Index: index}
			if !r.reads(id) || assigned.Has(id, index) {
				continue
			}
			// What the member itself is giving up is as good as free: nobody else can have it.
			if owner := r.owner(p); owner == "" || owner == r.member.ID {
				fresh = append(fresh, p)
			} else {
				waits = true
			}
		}
	}
	next := *r.member
	if len(revoking) > 0 && r.holds(revoking) {
		next.move(epoch)
		next.State, next.Assigned, next.Revoking = UnrevokedPartitions, assigned, revoking
		return &next
	}
	for _, p := range fresh {
		put(assigned, p, r.epoch)
	}
	next.move(r.epoch)
	next.State, next.Assigned, next.Revoking = Stable, assigned, nil
	if waits {
		next.State = UnreleasedPartitions
	}
	return &next
}

func put(o modern.Owned, p topic.Partition, epoch int32) {
	if o[p.Topic] == nil {
		o[p.Topic] = map[int32]int32{}
	}
	o[p.Topic][p.Index] = epoch
}

// partitionsOf are the partitions that a heartbeat names.
func partitionsOf(topics []kmsg.ConsumerGroupHeartbeatRequestTopic) modern.Partitions {
	out := make(modern.Partitions, len(topics))
	for _, t := range topics {
		if len(t.Partitions) > 0 {
			out[t.TopicID] = names32(append(out[t.TopicID], t.Partitions...))
		}
	}
	return out
}

// names32 sorts a list and removes repetitions, in a list of its own.
func names32(list []int32) []int32 { return slices.Compact(slices.Sorted(slices.Values(list))) }
