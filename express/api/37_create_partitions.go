package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/changes"
	"millrace/express/api/told"
	"millrace/kafka/kerr"
)

// CreatePartitions: v0-3. v2 flexible, v3 THROTTLING_QUOTA_EXCEEDED. Repeated topics are refused, as in Kafka.

func (a *API) createPartitions(ctx context.Context, c caller, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := kmsg.NewPtrCreatePartitionsResponse()
	quota := a.changesOf(c, req.Version >= 3)
	mentions := make(map[string]int, len(req.Topics))
	for _, t := range req.Topics {
		mentions[t.Topic]++
	}
	for i := range req.Topics {
		in := &req.Topics[i]
		times := mentions[in.Topic]
		if times == 0 {
			continue // repeated, and answered
		}
		mentions[in.Topic] = 0
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = in.Topic
		err := fmt.Errorf("%w: topic %q is listed %d times", kerr.InvalidRequest, in.Topic, times)
		if times == 1 {
			err = a.addPartitions(ctx, c, quota, in, req.ValidateOnly)
		}
		if err != nil {
			code := a.code(err)
			out.ErrorCode, out.ErrorMessage = int16(code), message(code, err)
		}
		resp.Topics = append(resp.Topics, out)
	}
	resp.ThrottleMillis = quota.Millis()
	return resp
}

func (a *API) addPartitions(ctx context.Context, c caller, quota *changes.Budget, in *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	if !a.mayTopic(c, kmsg.ACLOperationAlter, in.Topic) {
		return kerr.TopicAuthorizationFailed
	}
	var assignment [][]int32
	if in.Assignment != nil {
		assignment = make([][]int32, 0, len(in.Assignment))
		for _, r := range in.Assignment {
			assignment = append(assignment, r.Replicas)
		}
	}
	if quota.Bounded() {
		if err := a.catalog.AddPartitions(ctx, in.Topic, in.Count, assignment, true); err != nil {
			return err
		}
		if t, ok := a.catalog.Topic(in.Topic); ok {
			if err := quota.Room(a.catalog, int(in.Count)-len(t.Partitions), t.ReplicationFactor); err != nil {
				return err
			}
			if err := quota.Take(int(in.Count) - len(t.Partitions)); err != nil {
				return err
			}
		}
	}
	before, _ := a.catalog.Topic(in.Topic)
	err := a.catalog.AddPartitions(ctx, in.Topic, in.Count, assignment, validateOnly)
	if !validateOnly {
		after, _ := a.catalog.Topic(in.Topic)
		a.recordAdmin(c, change{resource: "topic/" + in.Topic, before: told.Topic(before), after: told.Topic(after), err: err})
	}
	return err
}
