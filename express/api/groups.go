package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Groups is the group coordinator. Each method answers one request of the version that it carries, and
// blocks until the answer is known or ctx ends. A group that is not coordinated here is NOT_COORDINATOR.
type Groups interface {
	// PartitionFor is the partition of __consumer_offsets that keeps a group.
	PartitionFor(group string) int32

	// JoinGroup may block for a whole rebalance. clientHost is written as Kafka prints it: "/127.0.0.1".
	JoinGroup(ctx context.Context, clientID, clientHost string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse
	// SyncGroup blocks until the leader's assignment is there and durable.
	SyncGroup(ctx context.Context, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse
	// Heartbeat tells a member whether its group is rebalancing.
	Heartbeat(ctx context.Context, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse
	// LeaveGroup removes members, one by its id or several by their instance ids.
	LeaveGroup(ctx context.Context, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse

	// ConsumerGroupHeartbeat blocks until what it tells is durable. mayDescribe says which topics the client may see; it
	// may be called until the answer is there.
	ConsumerGroupHeartbeat(ctx context.Context, clientID, clientHost string, req *kmsg.ConsumerGroupHeartbeatRequest,
		mayDescribe func(topic string) bool) *kmsg.ConsumerGroupHeartbeatResponse
	// ConsumerGroupDescribe leaves the authorized operations and topics to the caller.
	ConsumerGroupDescribe(ctx context.Context, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse

	// ShareGroupHeartbeat blocks until what it tells is durable.
	ShareGroupHeartbeat(ctx context.Context, clientID, clientHost string, req *kmsg.ShareGroupHeartbeatRequest) *kmsg.ShareGroupHeartbeatResponse
	// ShareGroupDescribe leaves the authorized operations and topics to the caller.
	ShareGroupDescribe(ctx context.Context, req *kmsg.ShareGroupDescribeRequest) *kmsg.ShareGroupDescribeResponse
	// DescribeShareGroupOffsets answers one group of a request; topics that are null are all of which there is state.
	DescribeShareGroupOffsets(ctx context.Context, in kmsg.DescribeShareGroupOffsetsRequestGroup) kmsg.DescribeShareGroupOffsetsResponseGroup
	// AlterShareGroupOffsets blocks until the offsets are durable.
	AlterShareGroupOffsets(ctx context.Context, req *kmsg.AlterShareGroupOffsetsRequest) *kmsg.AlterShareGroupOffsetsResponse
	// DeleteShareGroupOffsets blocks until that is durable.
	DeleteShareGroupOffsets(ctx context.Context, req *kmsg.DeleteShareGroupOffsetsRequest) *kmsg.DeleteShareGroupOffsetsResponse

	// OffsetCommit blocks until the commit is durable. It checks that topics exist, and finds them by name or
	// id as the version says.
	OffsetCommit(ctx context.Context, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse
	// TxnOffsetCommit is OffsetCommit in a transaction. verify makes sure that the group's partition is part of it.
	TxnOffsetCommit(ctx context.Context, req *kmsg.TxnOffsetCommitRequest, verify func(context.Context) kerr.Code) *kmsg.TxnOffsetCommitResponse
	// OffsetFetch finds topics likewise.
	OffsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse
	// OffsetDelete deletes committed offsets of topics that the group is not subscribed to.
	OffsetDelete(ctx context.Context, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse

	// DescribeGroups leaves the authorized operations to the caller.
	DescribeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse
	// ListGroups lists the groups that are coordinated here.
	ListGroups(ctx context.Context, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse
	// DeleteGroups deletes groups without members, each for itself.
	DeleteGroups(ctx context.Context, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse
}

// consumerOffsets gives the topic that keeps groups, and creates it at its first use.
func (a *API) consumerOffsets(ctx context.Context) (*catalog.Topic, error) {
	return a.internalTopic(ctx, catalog.NewTopic{
		Name: topic.ConsumerOffsets, Partitions: a.catalog.BrokerSettings().OffsetsTopicPartitions, ReplicationFactor: -1,
		Configs: map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"},
	})
}

// internalTopic gives a topic that the cluster keeps for itself, and creates it if it does not exist.
func (a *API) internalTopic(ctx context.Context, wanted catalog.NewTopic) (*catalog.Topic, error) {
	for {
		if t, ok := a.catalog.Topic(wanted.Name); ok {
			return t, nil
		}
		t, err := a.catalog.CreateTopic(ctx, wanted)
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, catalog.ErrTopicExists) {
			return nil, fmt.Errorf("topic %s: %w", wanted.Name, err)
		}
		// Another broker was quicker: its topic is about to come into the view.
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
