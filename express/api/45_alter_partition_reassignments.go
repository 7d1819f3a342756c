package api

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/told"
	"millrace/express/catalog"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// AlterPartitionReassignments: v0-1. v1 may forbid a change of the replication factor (KIP-860).
//
// Of replicas only the first that is not draining means something here: it shall own the partition. A reassignment is in
// progress until the owner has given the partition to it, and cancelled when it is sent back to its owner.

func (a *API) alterPartitionReassignments(ctx context.Context, c caller, req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
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
		if code == kerr.ClusterAuthorizationFailed && partitions <= adminPartitionsMost {
			resp.Topics = a.refusedReassignments(req)
		}
		return resp
	}
	if len(req.Topics) == 0 {
		resp.ErrorMessage = new(string) // empty, not null, as in Kafka
	}
	moves := make(map[topic.Partition]catalog.Move) // of a partition that is named twice, the last counts
	for _, in := range req.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = in.Topic
		t, _ := a.catalog.Topic(in.Topic)
		for _, p := range in.Partitions {
			m, err := a.reassign(t, in.Topic, p, req)
			if err == nil {
				moves[m.ID] = m
			}
			out.Partitions = append(out.Partitions, a.reassigned(p.Partition, err))
		}
		resp.Topics = append(resp.Topics, out)
	}
	err := a.catalog.Move(ctx, slices.Collect(maps.Values(moves)))
	if err != nil {
		a.failReassignments(resp, err)
	}
	if len(moves) > 0 {
		a.recordAdmin(c, change{resource: "cluster/partitions", after: told.Rows(req.Topics), err: err})
	}
	return resp
}

// reassigned is the answer for one partition.
func (a *API) reassigned(index int32, err error) kmsg.AlterPartitionAssignmentsResponseTopicPartition {
	out := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
	out.Partition = index
	if code := a.code(err); code != kerr.None {
		out.ErrorCode = int16(code)
		if code != kerr.NoReassignmentInProgress {
			out.ErrorMessage = message(code, err)
		}
	}
	return out
}

// refusedReassignments says of all partitions that they may not be reassigned.
func (a *API) refusedReassignments(req *kmsg.AlterPartitionAssignmentsRequest) []kmsg.AlterPartitionAssignmentsResponseTopic {
	var out []kmsg.AlterPartitionAssignmentsResponseTopic
	for _, in := range req.Topics {
		t := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: in.Topic}
		for _, p := range in.Partitions {
			t.Partitions = append(t.Partitions, a.reassigned(p.Partition, kerr.ClusterAuthorizationFailed))
		}
		out = append(out, t)
	}
	return out
}

// failReassignments says of all that were to be in force that they may not be.
func (a *API) failReassignments(resp *kmsg.AlterPartitionAssignmentsResponse, err error) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == 0 {
				*p = a.reassigned(p.Partition, err)
			}
		}
	}
}

// reassign checks one reassignment and gives the order that it means. t is nil for an unknown topic.
func (a *API) reassign(t *catalog.Topic, name string, p kmsg.AlterPartitionAssignmentsRequestTopicPartition,
	req *kmsg.AlterPartitionAssignmentsRequest,
) (catalog.Move, error) {
	switch {
	case t == nil:
		return catalog.Move{}, say(kerr.UnknownTopicOrPartition, "Unable to find a topic named %s.", clip(name))
	case p.Partition < 0 || int(p.Partition) >= len(t.Partitions):
		return catalog.Move{}, say(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", clip(name), p.Partition)
	}
	part := t.Partitions[p.Partition]
	m := catalog.Move{ID: topic.Partition{Topic: t.ID, Index: p.Partition}, From: part.Owner}
	if p.Replicas == nil {
		if part.To == 0 {
			return m, kerr.NoReassignmentInProgress
		}
		return m, nil
	}
	if err := a.checkReplicas(p.Replicas); err != nil {
		return m, err
	}
	now := len(a.place(t, int(p.Partition)).replicas)
	if req.Version >= 1 && !req.AllowReplicationFactorChange && len(p.Replicas) != now {
		return m, say(kerr.InvalidReplicationFactor, "The replication factor is changed from %d to %d", now, len(p.Replicas))
	}
	for _, id := range p.Replicas {
		if b, ok := a.broker(id); ok && !b.Draining {
			m.To = id
			return m, nil
		}
	}
	return m, say(kerr.InvalidReplicaAssignment, "The manual partition assignment includes only brokers that are being drained.")
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
