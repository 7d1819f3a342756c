package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/told"
	"millrace/kafka/kerr"
)

// CreatePartitions: v0-3. v2 flexible, v3 THROTTLING_QUOTA_EXCEEDED. Repeated topics are refused, as in Kafka.

func (a *API) createPartitions(ctx context.Context, c caller, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := kmsg.NewPtrCreatePartitionsResponse()
	quota := &mutations{quotas: c.quotas, whole: a.wholeOf(c.conn), strict: req.Version >= 3}
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
	resp.ThrottleMillis = quota.millis()
	return resp
}

func (a *API) addPartitions(ctx context.Context, c caller, quota *mutations, in *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
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
	if a.bounded(quota) {
		if err := a.catalog.AddPartitions(ctx, in.Topic, in.Count, assignment, true); err != nil {
			return err
		}
		if t, ok := a.catalog.Topic(in.Topic); ok {
			if err := a.roomFor(c.conn, int(in.Count)-len(t.Partitions), t.ReplicationFactor); err != nil {
				return err
			}
			if err := quota.take(int(in.Count) - len(t.Partitions)); err != nil {
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
