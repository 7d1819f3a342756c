package consumer

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
)

// subscribed is what a consumer's metadata says in the classic protocol.
type subscribed struct {
	topics []string // ascending
	owned  []kmsg.ConsumerMemberMetadataOwnedPartition
	rack   *string
}

var errSubscription = errors.New("malformed subscription")

func readSubscription(metadata []byte) (*subscribed, error) {
	v := kmsg.NewConsumerMemberMetadata()
	if err := v.ReadFrom(metadata); err != nil || v.Version < 0 {
		return nil, errSubscription
	}
	return &subscribed{topics: names(v.Topics), owned: v.OwnedPartitions, rack: v.Rack}, nil
}

// partitions are what the member says it has.
func (s *subscribed) partitions(topics modern.Topics) modern.Partitions {
	out := modern.Partitions{}
	for _, o := range s.owned {
		if t, ok := topics.TopicByName(o.Topic); ok && len(o.Partitions) > 0 {
			out[t.ID] = names32(append(out[t.ID], o.Partitions...))
		}
	}
	return out
}

// EncodeAssignment is what a classic member has, in the version of the consumer protocol that it speaks.
func EncodeAssignment(m *Member, topics modern.Topics) []byte {
	v := kmsg.NewConsumerMemberAssignment()
	v.Version = min(max((&kbin.Reader{Src: m.Classic.Protocols[0].Metadata}).Int16(), 0), maxAssignmentVersion)
	for id, indexes := range m.Assigned.Partitions().Sorted() {
		if t, ok := topics.TopicByID(id); ok {
			v.Topics = append(v.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t.Name, Partitions: indexes})
		}
	}
	return v.AppendTo(nil)
}

// maxAssignmentVersion is the newest version of the consumer protocol's assignment.
const maxAssignmentVersion = 3

// readAssignment reads what a classic group's leader gave to a member; nothing is no partitions.
func readAssignment(b []byte, topics modern.Topics) (modern.Partitions, error) {
	out := modern.Partitions{}
	if len(b) == 0 {
		return out, nil
	}
	v := kmsg.NewConsumerMemberAssignment()
	if err := v.ReadFrom(b); err != nil || v.Version < 0 {
		return nil, errSubscription
	}
	if len(v.UserData) > 0 {
		return nil, errUserData
	}
	for _, t := range v.Topics {
		if found, ok := topics.TopicByName(t.Topic); ok && len(t.Partitions) > 0 {
			out[found.ID] = names32(append(out[found.ID], t.Partitions...))
		}
	}
	return out, nil
}

var errUserData = errors.New("user data of a custom assignor would be lost")
