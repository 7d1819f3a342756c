package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// find finds a partition that is served here. What is wrong is a code: the index is not one of the topic's,
// or the partition has another owner.
func (a *API) find(t *catalog.Topic, index int32) (*partition.Partition, kerr.Code) {
	if index < 0 || int(index) >= len(t.Partitions) {
		return nil, kerr.UnknownTopicOrPartition
	}
	p, ok := a.world.Partitions.Partition(topic.Partition{Topic: t.ID, Index: index})
	if !ok {
		return nil, kerr.NotLeaderOrFollower
	}
	return p, kerr.None
}

// findByName is find for the keys that name topics.
func (a *API) findByName(name string, index int32) (*partition.Partition, kerr.Code) {
	t, ok := a.catalog.Topic(name)
	if !ok {
		return nil, kerr.UnknownTopicOrPartition
	}
	return a.find(t, index)
}

// leader tells who owns a partition by the view: what a client that asked the wrong broker needs (KIP-951).
// It reports false when no live broker does.
func (a *API) leader(t *catalog.Topic, index int32) (b catalog.Broker, epoch int32, ok bool) {
	if index < 0 || int(index) >= len(t.Partitions) {
		return b, -1, false
	}
	p := t.Partitions[index]
	b, ok = a.broker(p.Owner)
	return b, p.Epoch, ok
}

// broker finds a live broker.
func (a *API) broker(id int32) (catalog.Broker, bool) {
	for _, b := range a.catalog.Brokers() {
		if b.ID == id {
			return b, true
		}
	}
	return catalog.Broker{}, false
}

// placement says where a partition is, in the terms of a cluster that copies replicas.
type placement struct {
	code                 kerr.Code
	leader, epoch        int32
	replicas, isr, offln []int32
}

// placements works out the placement of partitions of one topic. Partitions of one owner share slices.
type placements struct {
	topic   *catalog.Topic
	brokers []catalog.Broker
	byOwner map[int32]placement
}

func (a *API) placements(t *catalog.Topic) *placements {
	return &placements{topic: t, brokers: a.catalog.Brokers(), byOwner: make(map[int32]placement)}
}

// of gives the placement of one partition.
func (p *placements) of(index int) placement {
	part := p.topic.Partitions[index]
	place, ok := p.byOwner[part.Owner]
	if !ok {
		place = p.make(part.Owner)
		p.byOwner[part.Owner] = place
	}
	place.epoch = part.Epoch
	return place
}

// make names as replicas the owner and then the brokers after it, as many as were asked for at the topic's
// creation and are live: clients and tools expect to see copies, and any broker can serve what is stored.
// The owner is always among them; while it is away there is no leader.
func (p *placements) make(owner int32) placement {
	at := slices.IndexFunc(p.brokers, func(b catalog.Broker) bool { return b.ID == owner })
	if at < 0 {
		place := placement{code: kerr.LeaderNotAvailable, leader: -1, replicas: []int32{}, isr: []int32{}, offln: []int32{}}
		if owner >= 0 {
			place.replicas, place.offln = []int32{owner}, []int32{owner}
		}
		return place
	}
	n := min(int(p.topic.ReplicationFactor), len(p.brokers))
	live := make([]int32, 0, max(n, 1))
	for i := range max(n, 1) {
		live = append(live, p.brokers[(at+i)%len(p.brokers)].ID)
	}
	return placement{leader: owner, replicas: live, isr: live, offln: []int32{}}
}

// pointer gives the address of a copy; nil for the empty string, which is null on the wire.
func pointer(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// message gives the text that goes with a code: the error's, or the code's own meaning.
func message(code kerr.Code, err error) *string {
	switch {
	case code == kerr.None:
		return nil
	case err != nil:
		return kmsg.StringPtr(err.Error())
	default:
		return kmsg.StringPtr(code.Message())
	}
}
