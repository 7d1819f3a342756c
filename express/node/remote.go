package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"millrace/express/api"
	"millrace/express/catalog"
	"millrace/express/coord"
	"millrace/express/machine"
	"millrace/express/peer"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// remote finds who has to be asked: this broker's own rooms, or another broker over the network. Where the view is old the one
// that is asked says so, and whoever asks looks again.
type remote struct {
	self    int32
	catalog *catalog.Catalog
	pool    *peer.Pool
}

// brokerOf finds a live broker; it is what the pool asks.
func brokerOf(c *catalog.Catalog) func(id int32) (catalog.Broker, bool) {
	return func(id int32) (catalog.Broker, bool) {
		brokers := c.Brokers()
		i, ok := slices.BinarySearchFunc(brokers, id, func(b catalog.Broker, id int32) int { return int(b.ID) - int(id) })
		if !ok {
			return catalog.Broker{}, false
		}
		return brokers[i], true
	}
}

// owner is the broker that owns a partition; -1: none, or there is no such partition.
func (r *remote) owner(name string, index int32) int32 {
	t, ok := r.catalog.Topic(name)
	if !ok || index < 0 || int(index) >= len(t.Partitions) {
		return -1
	}
	return t.Partitions[index].Owner
}

// presence asks other brokers whether they are there. It implements api.Presence.
type presence struct {
	*remote
	heirs bool // others take what a broker owns that is gone
}

var _ api.Presence = presence{}

// Silent implements api.Presence. Where nobody takes over what a broker owns that is not registered, nobody waits for it.
func (p presence) Silent(ctx context.Context, brokers []int32, news <-chan struct{}) []int32 {
	find := brokerOf(p.catalog)
	return p.pool.Silent(ctx, slices.DeleteFunc(brokers, func(id int32) bool {
		_, registered := find(id)
		return !registered && !p.heirs
	}), news)
}

// remoteMarkers writes markers wherever they belong. It implements coord.Markers.
type remoteMarkers struct {
	*remote
	local *markers
}

// WriteMarker implements coord.Markers.
func (r *remoteMarkers) WriteMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker, done func(err error)) {
	t, ok := r.catalog.Topic(tp.Topic)
	switch {
	case !ok || tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions):
		done(kerr.UnknownTopicOrPartition)
	case t.Partitions[tp.Partition].Owner == r.self:
		done(r.local.WriteMarker(ctx, tp, m))
	default:
		r.pool.WriteMarker(t.Partitions[tp.Partition].Owner, tp, m, func(err error) { done(r.judge(t, err)) })
	}
}

// judge tells a partition that is gone from one that its owner has not heard of yet: to pass over the second would leave its
// transaction open for ever.
func (r *remoteMarkers) judge(t *catalog.Topic, err error) error {
	if kerr.Of(err) != kerr.UnknownTopicOrPartition {
		return err
	}
	if now, ok := r.catalog.Topic(t.Name); ok && now.ID == t.ID {
		return fmt.Errorf("%w: its owner does not know it yet", kerr.NotLeaderOrFollower)
	}
	return err
}

// remoteTransactions asks the coordinators of transactional ids. It implements api.Verifier.
type remoteTransactions struct {
	*remote
	local *coord.Transactions
}

var _ api.Verifier = (*remoteTransactions)(nil)

// AddPartitions implements api.Verifier.
func (r *remoteTransactions) AddPartitions(
	ctx context.Context, txnID string, producer machine.Producer, partitions []machine.TopicPartition, verifyOnly bool,
) []kerr.Code {
	all := func(code kerr.Code) []kerr.Code { return slices.Repeat([]kerr.Code{code}, len(partitions)) }
	switch broker := r.owner(topic.TransactionState, r.local.PartitionFor(txnID)); broker {
	case r.self:
		return r.local.AddPartitions(ctx, txnID, producer, partitions, verifyOnly)
	case -1:
		return all(kerr.CoordinatorNotAvailable)
	default:
		a := peer.Addition{TransactionalID: txnID, Producer: producer, Partitions: partitions, VerifyOnly: verifyOnly}
		codes, err := r.pool.AddPartitions(ctx, broker, a)
		if err != nil {
			return all(kerr.NetworkException)
		}
		return codes
	}
}

// remoteShares asks the share coordinators. It implements sharing.Persister and coord.ShareState.
type remoteShares struct {
	*remote
	local *coord.Shares
}

// at is the broker that keeps the state of a share-partition.
func (r *remoteShares) at(k state.Key) (broker int32, here bool) {
	broker = r.owner(topic.ShareGroupState, r.local.PartitionFor(k.String()))
	return broker, broker == r.self || broker == -1 // where nobody does, ours says so
}

// soon makes an answer that did not come into one that is asked for again: everything here may happen twice.
func soon(err error) error {
	if errors.Is(err, peer.ErrAway) || errors.Is(err, peer.ErrBusy) || errors.Is(err, peer.ErrClosed) {
		return fmt.Errorf("%w: %w", kerr.NotCoordinator, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", kerr.CoordinatorNotAvailable, err)
	}
	return err
}

// InitializeState implements coord.ShareState.
func (r *remoteShares) InitializeState(ctx context.Context, k state.Key, stateEpoch int32, start int64) error {
	broker, here := r.at(k)
	if here {
		return r.local.InitializeState(ctx, k, stateEpoch, start)
	}
	return soon(r.pool.InitializeState(ctx, broker, k, stateEpoch, start))
}

// ReadState implements sharing.Persister.
func (r *remoteShares) ReadState(ctx context.Context, k state.Key, leaderEpoch int32) (state.Snapshot, error) {
	broker, here := r.at(k)
	if here {
		return r.local.ReadState(ctx, k, leaderEpoch)
	}
	s, err := r.pool.ReadState(ctx, broker, k, leaderEpoch)
	return s, soon(err)
}

// WriteState implements sharing.Persister.
func (r *remoteShares) WriteState(ctx context.Context, k state.Key, u state.Update) error {
	broker, here := r.at(k)
	if here {
		return r.local.WriteState(ctx, k, u)
	}
	return soon(r.pool.WriteState(ctx, broker, k, u))
}

// DeleteState implements coord.ShareState. That of a topic that the other broker knows no more is gone with the topic.
func (r *remoteShares) DeleteState(ctx context.Context, k state.Key) error {
	broker, here := r.at(k)
	if here {
		return r.local.DeleteState(ctx, k)
	}
	err := soon(r.pool.DeleteState(ctx, broker, k))
	if kerr.Of(err) == kerr.UnknownTopicOrPartition {
		return nil
	}
	return err
}

// StateSummary implements coord.ShareState.
func (r *remoteShares) StateSummary(ctx context.Context, k state.Key) (state.Summary, error) {
	broker, here := r.at(k)
	if here {
		return r.local.StateSummary(ctx, k)
	}
	s, err := r.pool.StateSummary(ctx, broker, k)
	return s, soon(err)
}

// latest is the end of a partition, wherever it is.
func (r *remote) latest(ctx context.Context, id topic.Partition, local *registry) (int64, bool) {
	if p, ok := local.served(id); ok {
		return p.Offsets().HW, true
	}
	t, ok := r.catalog.TopicByID(id.Topic)
	if !ok || id.Index < 0 || int(id.Index) >= len(t.Partitions) {
		return 0, false
	}
	owner := t.Partitions[id.Index].Owner
	if owner == r.self || owner == -1 {
		return 0, false
	}
	end, err := r.pool.Latest(ctx, owner, machine.TopicPartition{Topic: t.Name, Partition: id.Index})
	return end, err == nil
}
