package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/changes"
	"millrace/express/api/configs"
	"millrace/express/api/told"
	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// CreateTopics: v2-7.
//
//   - v4 partitions and replication factor -1 take the broker's defaults (KIP-464); as in Kafka 4 they do so at
//     every version. v5 flexible, and the configuration of what was created (KIP-525), v6 THROTTLING_QUOTA_EXCEEDED, v7 topic ids (KIP-516)
//
// A replication factor above the number of brokers is accepted: durability is the log store's business, and
// tools ask for 3 as a matter of course. Repeated topics are refused, as in Kafka.

const (
	// createTopicsMost bounds the topics of one request.
	createTopicsMost = 1000
	// createPartitionsMost bounds the partitions of all topics of one request, as Kafka does.
	createPartitionsMost = 10_000
)

// metadataTopic is the name of what holds the metadata in Kafka; clients must not take it for a topic.
const metadataTopic = "__cluster_metadata"

func (a *API) createTopics(ctx context.Context, c caller, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := kmsg.NewPtrCreateTopicsResponse()
	mentions := make(map[string]int, len(req.Topics))
	for _, t := range req.Topics {
		mentions[t.Topic]++
	}
	quota := a.changesOf(c, req.Version >= 6)
	partitions := 0
	for i := range req.Topics {
		in := &req.Topics[i]
		times := mentions[in.Topic]
		if times == 0 {
			continue // repeated, and answered
		}
		mentions[in.Topic] = 0
		if n := len(in.ReplicaAssignment); n > 0 {
			partitions += n
		} else {
			partitions += max(int(in.NumPartitions), 1)
		}
		var err error
		switch {
		case times > 1:
			err = fmt.Errorf("%w: topic %q is listed %d times", kerr.InvalidRequest, in.Topic, times)
		case len(req.Topics) > createTopicsMost || partitions > createPartitionsMost:
			err = fmt.Errorf("%w: at most %d topics with %d partitions in all can be created at once",
				kerr.PolicyViolation, createTopicsMost, createPartitionsMost)
		}
		resp.Topics = append(resp.Topics, a.createTopic(ctx, c, quota, req, in, err))
	}
	resp.ThrottleMillis = quota.Millis()
	return resp
}

// createTopic creates one topic, unless it is refused already.
func (a *API) createTopic(ctx context.Context, c caller, quota *changes.Budget, req *kmsg.CreateTopicsRequest, in *kmsg.CreateTopicsRequestTopic, refused error) kmsg.CreateTopicsResponseTopic {
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic, out.NumPartitions, out.ReplicationFactor = in.Topic, -1, -1
	out.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // null would say that they are not to be seen
	var t *catalog.Topic
	err := refused
	if err == nil && in.Topic == metadataTopic {
		err = fmt.Errorf("%w: %q is a name of Kafka's own", kerr.InvalidRequest, in.Topic)
	}
	if err == nil && !a.mayCreate(c, in.Topic) {
		err = kerr.TopicAuthorizationFailed
	}
	if err == nil {
		var n catalog.NewTopic
		if n, err = changes.NewTopic(req, in); err == nil {
			t, err = a.createWithin(ctx, c, quota, n)
		}
		if !req.ValidateOnly {
			a.recordAdmin(c, change{resource: "topic/" + in.Topic, after: told.Topic(t), err: err})
		}
	}
	if err != nil {
		code := a.code(err)
		out.ErrorCode, out.ErrorMessage = int16(code), message(code, err)
		return out
	}
	if !req.ValidateOnly {
		out.TopicID = t.ID
	}
	if !a.mayTopic(c.looking(), kmsg.ACLOperationDescribeConfigs, in.Topic) {
		out.ConfigErrorCode, out.Configs = int16(kerr.TopicAuthorizationFailed), nil
		return out
	}
	out.NumPartitions, out.ReplicationFactor = int32(len(t.Partitions)), t.ReplicationFactor
	out.Configs = configs.Created(t.Settings.Describe(a.catalog.BrokerSettings()))
	return out
}

// createWithin creates a topic if there is room for its partitions, and the quota allows for them.
func (a *API) createWithin(ctx context.Context, c caller, quota *changes.Budget, n catalog.NewTopic) (*catalog.Topic, error) {
	if quota.Bounded() {
		check := n
		check.ValidateOnly = true
		t, err := a.catalog.CreateTopic(ctx, check)
		if err != nil {
			return nil, err
		}
		if err := quota.Room(a.catalog, len(t.Partitions), t.ReplicationFactor); err != nil {
			return nil, err
		}
		if err := quota.Take(len(t.Partitions)); err != nil {
			return nil, err
		}
	}
	return a.catalog.CreateTopic(ctx, n)
}
