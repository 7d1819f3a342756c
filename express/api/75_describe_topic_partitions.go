package api

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// DescribeTopicPartitions: v0 (KIP-966). Topics come by name, their partitions by index, a page at a time; the
// cursor says where the next page begins. No topics means all. Eligible leaders are null, as where that
// feature is off.

// pageMost is the most partitions of one page (max.request.partition.size.limit).
const pageMost = 2000

func (a *API) describeTopicPartitions(_ context.Context, c caller, req *kmsg.DescribeTopicPartitionsRequest) *kmsg.DescribeTopicPartitionsResponse {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	if badCursor(req) {
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, unknownPartitions(t.Topic, kerr.InvalidRequest))
		}
		return resp
	}
	left := max(1, min(pageMost, int(req.ResponsePartitionLimit)))
	for _, name := range a.namesFrom(c, req) {
		first := 0
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = int(req.Cursor.Partition)
		}
		if left == 0 {
			resp.NextCursor = cursorAt(name, first)
			return resp
		}
		t, ok := a.catalog.Topic(name)
		switch {
		case !a.mayTopic(c, kmsg.ACLOperationDescribe, name):
			resp.Topics = append(resp.Topics, unknownPartitions(name, kerr.TopicAuthorizationFailed))
			continue
		case !ok:
			unknown := unknownPartitions(name, kerr.UnknownTopicOrPartition)
			unknown.AuthorizedOperations = a.authorized(c, kmsg.ACLResourceTypeTopic, name)
			resp.Topics = append(resp.Topics, unknown)
			continue
		}
		end := max(first, min(len(t.Partitions), first+left))
		resp.Topics = append(resp.Topics, a.partitionsPage(c, t, first, end))
		left -= end - first
		if end < len(t.Partitions) {
			resp.NextCursor = cursorAt(name, end)
			return resp
		}
	}
	return resp
}

// badCursor tells whether the cursor points to what was not asked for.
func badCursor(req *kmsg.DescribeTopicPartitionsRequest) bool {
	at := req.Cursor
	if at == nil {
		return false
	}
	asked := func(t kmsg.DescribeTopicPartitionsRequestTopic) bool { return t.Topic == at.Topic }
	return at.Partition < 0 || len(req.Topics) > 0 && !slices.ContainsFunc(req.Topics, asked)
}

// namesFrom lists the topics asked for, from the cursor's on, by name.
func (a *API) namesFrom(c caller, req *kmsg.DescribeTopicPartitionsRequest) []string {
	names := make(map[string]bool, len(req.Topics))
	for _, t := range req.Topics {
		names[t.Topic] = true
	}
	if len(req.Topics) == 0 {
		for _, t := range a.catalog.Topics() {
			if a.mayTopic(c.looking(), kmsg.ACLOperationDescribe, t.Name) {
				names[t.Name] = true
			}
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	if req.Cursor != nil {
		at, _ := slices.BinarySearch(sorted, req.Cursor.Topic)
		sorted = sorted[at:]
	}
	return sorted
}

func cursorAt(name string, index int) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	next := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	next.Topic, next.Partition = name, int32(index)
	return &next
}

func unknownPartitions(name string, code kerr.Code) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.ErrorCode, out.AuthorizedOperations = kmsg.StringPtr(name), int16(code), notAsked
	return out
}

// partitionsPage describes partitions [first, end) of a topic.
func (a *API) partitionsPage(c caller, t *catalog.Topic, first, end int) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Internal
	out.AuthorizedOperations = a.authorized(c, kmsg.ACLResourceTypeTopic, t.Name)
	for i := first; i < end; i++ {
		place := a.place(t, i)
		a.hide(&place, c.listener(), listenerErrors)
		p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		p.Partition, p.ErrorCode = int32(i), int16(place.code)
		p.LeaderID, p.LeaderEpoch = place.leader, place.epoch
		p.Replicas, p.ISR, p.OfflineReplicas = place.replicas, place.isr, place.offln
		// Null is allowed here, but the Java admin client trips over it; Kafka sends empty lists.
		p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{}
		out.Partitions = append(out.Partitions, p)
	}
	return out
}
