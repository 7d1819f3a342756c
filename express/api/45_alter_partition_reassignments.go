package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// AlterPartitionReassignments: v0-1. v1 may forbid a change of the replication factor (KIP-860).
//
// Of replicas only the first means something here: it owns the partition. It may be the present owner only: giving a
// partition to another broker is not possible yet. So there is never a reassignment in progress that could be cancelled.

func (a *API) alterPartitionReassignments(_ context.Context, c caller, req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	partitions := 0
	for _, in := range req.Topics {
		partitions += len(in.Partitions)
	}
	var refused error
	switch {
	case !a.mayCluster(c, kmsg.ACLOperationAlter):
		refused = kerr.ClusterAuthorizationFailed
	case partitions > adminPartitionsMost:
		refused = say(kerr.InvalidRequest, "%d partitions, at most %d can be reassigned at once", partitions, adminPartitionsMost)
	}
	if refused != nil {
		code := a.code(refused)
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, refused)
		return resp
	}
	if len(req.Topics) == 0 {
		resp.ErrorMessage = new(string) // empty, not null, as in Kafka
	}
	for _, in := range req.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = in.Topic
		t, _ := a.catalog.Topic(in.Topic)
		for _, p := range in.Partitions {
			part := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			part.Partition = p.Partition
			if err := a.reassign(t, in.Topic, p, req); err != nil {
				code := a.code(err)
				part.ErrorCode = int16(code)
				if code != kerr.NoReassignmentInProgress {
					part.ErrorMessage = message(code, err)
				}
			}
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// reassign checks one reassignment; nil says that it is in force. t is nil for an unknown topic.
func (a *API) reassign(t *catalog.Topic, name string, p kmsg.AlterPartitionAssignmentsRequestTopicPartition,
	req *kmsg.AlterPartitionAssignmentsRequest,
) error {
	switch {
	case t == nil:
		return say(kerr.UnknownTopicOrPartition, "Unable to find a topic named %s.", clip(name))
	case p.Partition < 0 || int(p.Partition) >= len(t.Partitions):
		return say(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", clip(name), p.Partition)
	case p.Replicas == nil:
		return kerr.NoReassignmentInProgress
	}
	if err := a.checkReplicas(p.Replicas); err != nil {
		return err
	}
	now := len(a.placements(t).of(int(p.Partition)).replicas)
	if req.Version >= 1 && !req.AllowReplicationFactorChange && len(p.Replicas) != now {
		return say(kerr.InvalidReplicationFactor, "The replication factor is changed from %d to %d", now, len(p.Replicas))
	}
	if owner := t.Partitions[p.Partition].Owner; p.Replicas[0] != owner {
		return say(kerr.InvalidReplicaAssignment, "The partition is broker %d's; it cannot be moved to another one yet.", owner)
	}
	return nil
}

// checkReplicas checks a list of replicas by itself.
func (a *API) checkReplicas(replicas []int32) error {
	if len(replicas) == 0 {
		return say(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if i > 0 && id == sorted[i-1] {
			return say(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
		if _, ok := a.broker(id); !ok {
			return say(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
	}
	return nil
}
