package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// ListPartitionReassignments: v0 (KIP-455). It lists the partitions that their owner has not yet given to the broker that
// they are ordered to, whoever ordered it: that broker is being added, the owner removed.

func (a *API) listPartitionReassignments(_ context.Context, c caller, req *kmsg.ListPartitionReassignmentsRequest) *kmsg.ListPartitionReassignmentsResponse {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	if !a.mayCluster(c, kmsg.ACLOperationDescribe) {
		code := kerr.ClusterAuthorizationFailed
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, nil)
		return resp
	}
	if req.Topics == nil {
		for _, t := range a.catalog.Topics() {
			resp.Topics = a.appendReassigning(resp.Topics, t, nil)
		}
		return resp
	}
	for _, in := range req.Topics {
		if t, ok := a.catalog.Topic(in.Topic); ok {
			resp.Topics = a.appendReassigning(resp.Topics, t, append([]int32{}, in.Partitions...))
		}
	}
	return resp
}

// appendReassigning lists the partitions of a topic that are on their way; asked is nil for all.
func (a *API) appendReassigning(topics []kmsg.ListPartitionReassignmentsResponseTopic, t *catalog.Topic, asked []int32) []kmsg.ListPartitionReassignmentsResponseTopic {
	slices.Sort(asked)
	out := kmsg.NewListPartitionReassignmentsResponseTopic()
	out.Topic = t.Name
	for i, part := range t.Partitions {
		if part.To == 0 {
			continue
		}
		if _, found := slices.BinarySearch(asked, int32(i)); asked != nil && !found {
			continue
		}
		replicas, _ := a.catalog.Replicas(t, i)
		p := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		p.Partition = int32(i)
		p.Replicas = append(p.Replicas, part.To)
		for _, id := range replicas {
			if id != part.To {
				p.Replicas = append(p.Replicas, id)
			}
		}
		p.AddingReplicas, p.RemovingReplicas = []int32{part.To}, []int32{part.Owner}
		out.Partitions = append(out.Partitions, p)
	}
	if len(out.Partitions) == 0 {
		return topics
	}
	return append(topics, out)
}
