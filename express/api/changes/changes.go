// Package changes is what a request may change of topics: whether there is room for what it would create, what quotas and limits leave
// of a rate, and whether the request itself makes sense.
//
// Flow: CreateTopics, CreatePartitions, DeleteTopics -> NewTopic -> Budget.Room -> Budget.Take -> the catalog makes the change -> Budget.Millis.
//
// A Budget is one request's. Files: changes.go.
package changes

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/express/quota"
	"millrace/kafka/kerr"
)

// Budget is what one request may change (KIP-599). A strict one refuses changes while a rate is exceeded, which clients of older
// versions do not know.
type Budget struct {
	client *quota.Client
	whole  *quota.Whole
	strict bool
	wait   time.Duration
}

// NewBudget returns the budget of a client, within that of all clients; whole nil: they have none.
func NewBudget(client *quota.Client, whole *quota.Whole, strict bool) *Budget {
	return &Budget{client: client, whole: whole, strict: strict}
}

// Bounded says whether creating is bounded by anything, so that it is worth a look at what would be created.
func (b *Budget) Bounded() bool {
	l := b.whole.Limits()
	return b.client.Limited(quota.Mutation) || b.whole.Changeable() || l.Replicas > 0 || l.Partitions > 0
}

// Take counts partitions of one topic that are about to be created or deleted. The error is THROTTLING_QUOTA_EXCEEDED.
func (b *Budget) Take(partitions int) error {
	wait, ok := b.whole.Change(partitions, b.strict)
	b.wait = max(b.wait, wait)
	if !ok {
		return kerr.ThrottlingQuotaExceeded
	}
	wait, ok = b.client.Mutate(partitions, b.strict)
	b.wait = max(b.wait, wait)
	if !ok {
		b.whole.Unchange(partitions)
		return kerr.ThrottlingQuotaExceeded
	}
	return nil
}

// Millis is the throttle for the response.
func (b *Budget) Millis() int32 { return int32(b.wait.Milliseconds()) }

// Room refuses partitions that the cluster may not have, with POLICY_VIOLATION. Several brokers that create topics at once may together
// go beyond the limit by what they create then.
func (b *Budget) Room(in *catalog.Catalog, more int, replication int16) error {
	l := b.whole.Limits()
	if l.Replicas == 0 && l.Partitions == 0 || more <= 0 {
		return nil
	}
	brokers := len(in.Brokers())
	partitions, replicas := more, more*min(int(replication), brokers)
	for _, t := range in.Topics() {
		if !t.Internal {
			partitions += len(t.Partitions)
			replicas += len(t.Partitions) * min(int(t.ReplicationFactor), brokers)
		}
	}
	switch {
	case l.Partitions > 0 && partitions > l.Partitions:
		return fmt.Errorf("%w: the cluster would have %d partitions, and its quota is %d", kerr.PolicyViolation, partitions, l.Partitions)
	case l.Replicas > 0 && replicas > l.Replicas*brokers:
		return fmt.Errorf("%w: the cluster would have %d replicas of partitions, and its %d brokers may have %d each; "+
			"add brokers or use a larger broker type", kerr.PolicyViolation, replicas, brokers, l.Replicas)
	}
	return nil
}

// NewTopic translates a request, after the checks that depend on its version.
func NewTopic(req *kmsg.CreateTopicsRequest, in *kmsg.CreateTopicsRequestTopic) (catalog.NewTopic, error) {
	n := catalog.NewTopic{
		Name: in.Topic, Partitions: in.NumPartitions, ReplicationFactor: in.ReplicationFactor,
		Configs: make(map[string]string, len(in.Configs)), ValidateOnly: req.ValidateOnly,
	}
	for _, c := range in.Configs {
		if c.Value == nil {
			return n, fmt.Errorf("%w: %s has no value", kerr.InvalidConfig, c.Name)
		}
		n.Configs[c.Name] = *c.Value
	}
	if len(in.ReplicaAssignment) > 0 {
		if in.NumPartitions != -1 || in.ReplicationFactor != -1 {
			return n, fmt.Errorf("%w: replicas are assigned, so partitions and replication factor must be -1", kerr.InvalidRequest)
		}
		n.Assignment = make(map[int32][]int32, len(in.ReplicaAssignment))
		for _, r := range in.ReplicaAssignment {
			if _, again := n.Assignment[r.Partition]; again {
				return n, fmt.Errorf("%w: partition %d is assigned twice", catalog.ErrInvalidAssignment, r.Partition)
			}
			n.Assignment[r.Partition] = r.Replicas
		}
		return n, nil
	}
	switch {
	case in.ReplicationFactor < 1 && in.ReplicationFactor != -1:
		return n, fmt.Errorf("%w: %d; must be at least 1", catalog.ErrInvalidReplication, in.ReplicationFactor)
	case in.NumPartitions < 1 && in.NumPartitions != -1:
		return n, fmt.Errorf("%w: %d; must be at least 1", catalog.ErrInvalidPartitions, in.NumPartitions)
	}
	return n, nil
}
