package api

import (
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

// place says where a partition is. While its owner is away there is no leader.
func (a *API) place(t *catalog.Topic, index int) placement {
	part := t.Partitions[index]
	replicas, isr := a.catalog.Replicas(t, index)
	p := placement{leader: part.Owner, epoch: part.Epoch, replicas: replicas, isr: isr, offln: []int32{}}
	if away := len(replicas) - len(isr); away > 0 || len(replicas) == 0 {
		p.code, p.leader, p.offln = kerr.LeaderNotAvailable, -1, replicas[:away]
	}
	return p
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
