package gateway

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// topicRules are the keys about topics and their configs.
func topicRules(reading, changing adder) {
	reading(kmsg.ListOffsets, 1, 11, byTopic(opDescribe,
		func(t *kmsg.ListOffsetsRequestTopic) string { return t.Topic },
		func(q *kmsg.ListOffsetsRequest) *[]kmsg.ListOffsetsRequestTopic { return &q.Topics },
		func(r *kmsg.ListOffsetsResponse) *[]kmsg.ListOffsetsResponseTopic { return &r.Topics }))
	epochs := byTopic(opDescribe,
		func(t *kmsg.OffsetForLeaderEpochRequestTopic) string { return t.Topic },
		func(q *kmsg.OffsetForLeaderEpochRequest) *[]kmsg.OffsetForLeaderEpochRequestTopic { return &q.Topics },
		func(r *kmsg.OffsetForLeaderEpochResponse) *[]kmsg.OffsetForLeaderEpochResponseTopic { return &r.Topics })
	reading(kmsg.OffsetForLeaderEpoch, 2, 4, func(ctx context.Context, c *call, req kmsg.Request) verdict {
		if c.seesCluster(opClusterAction) { // what brokers have
			return verdict{}
		}
		return epochs(ctx, c, req)
	})
	reading(kmsg.DescribeProducers, 0, 0, byTopic(opRead,
		func(t *kmsg.DescribeProducersRequestTopic) string { return t.Topic },
		func(q *kmsg.DescribeProducersRequest) *[]kmsg.DescribeProducersRequestTopic { return &q.Topics },
		func(r *kmsg.DescribeProducersResponse) *[]kmsg.DescribeProducersResponseTopic { return &r.Topics }))
	changing(kmsg.DeleteRecords, 0, 2, byTopic(opDelete,
		func(t *kmsg.DeleteRecordsRequestTopic) string { return t.Topic },
		func(q *kmsg.DeleteRecordsRequest) *[]kmsg.DeleteRecordsRequestTopic { return &q.Topics },
		func(r *kmsg.DeleteRecordsResponse) *[]kmsg.DeleteRecordsResponseTopic { return &r.Topics }))
	changing(kmsg.CreatePartitions, 0, 3, byTopic(opAlter,
		func(t *kmsg.CreatePartitionsRequestTopic) string { return t.Topic },
		func(q *kmsg.CreatePartitionsRequest) *[]kmsg.CreatePartitionsRequestTopic { return &q.Topics },
		func(r *kmsg.CreatePartitionsResponse) *[]kmsg.CreatePartitionsResponseTopic { return &r.Topics }))
	changing(kmsg.CreateTopics, 2, 7, on(createTopics))
	changing(kmsg.DeleteTopics, 1, 6, on(deleteTopics))
	reading(kmsg.DescribeConfigs, 1, 4, on(describeConfigs))
	changing(kmsg.AlterConfigs, 0, 2, func(_ context.Context, c *call, r kmsg.Request) verdict {
		req := r.(*kmsg.AlterConfigsRequest)
		return pruneTopics(c, req, &req.Resources, func(r *kmsg.AlterConfigsResponse) *[]kmsg.AlterConfigsResponseResource { return &r.Resources },
			func(x *kmsg.AlterConfigsRequestResource) kerr.Code {
				return c.judgeConfig(opAlterConfigs, x.ResourceType, x.ResourceName)
			})
	})
	changing(kmsg.IncrementalAlterConfigs, 0, 1, func(_ context.Context, c *call, r kmsg.Request) verdict {
		req := r.(*kmsg.IncrementalAlterConfigsRequest)
		return pruneTopics(c, req, &req.Resources,
			func(r *kmsg.IncrementalAlterConfigsResponse) *[]kmsg.IncrementalAlterConfigsResponseResource {
				return &r.Resources
			},
			func(x *kmsg.IncrementalAlterConfigsRequestResource) kerr.Code {
				return c.judgeConfig(opAlterConfigs, x.ResourceType, x.ResourceName)
			})
	})
}

// createTopics needs CREATE on the cluster or the topic; its config is told to those with DESCRIBE_CONFIGS on it.
func createTopics(_ context.Context, c *call, req *kmsg.CreateTopicsRequest) verdict {
	everywhere := c.seesCluster(opCreate)
	v := pruneTopics(c, req, &req.Topics, func(r *kmsg.CreateTopicsResponse) *[]kmsg.CreateTopicsResponseTopic { return &r.Topics },
		func(t *kmsg.CreateTopicsRequestTopic) kerr.Code {
			if everywhere {
				c.touched.add(kmsg.ACLResourceTypeTopic, t.Topic)
			}
			if everywhere || c.mayTopic(opCreate, t.Topic) {
				return kerr.None
			}
			return kerr.TopicAuthorizationFailed
		})
	finish := func(r *kmsg.CreateTopicsResponse) {
		for i := range r.Topics {
			t := &r.Topics[i]
			if t.ErrorCode == int16(kerr.TopicAuthorizationFailed) {
				words := "Authorization failed." // of this key only
				t.ErrorMessage, t.TopicID = &words, [16]byte{}
				t.NumPartitions, t.ReplicationFactor, t.Configs = -1, -1, nil
			} else if t.ErrorCode == 0 && !c.sees(opDescribeConfigs, kmsg.ACLResourceTypeTopic, t.Topic) {
				t.ConfigErrorCode = int16(kerr.TopicAuthorizationFailed)
				t.NumPartitions, t.ReplicationFactor, t.Configs = -1, -1, nil
			}
		}
	}
	if v.answer != nil {
		finish(v.answer.(*kmsg.CreateTopicsResponse))
		return v
	}
	merge := v.edit
	v.edit = func(resp kmsg.Response) {
		if merge != nil {
			merge(resp)
		}
		finish(resp.(*kmsg.CreateTopicsResponse))
	}
	return v
}

// deleteTopics needs DELETE on the cluster or the topic; the name of an id is told to those with DESCRIBE on it.
func deleteTopics(ctx context.Context, c *call, req *kmsg.DeleteTopicsRequest) verdict {
	out := func(r *kmsg.DeleteTopicsResponse) *[]kmsg.DeleteTopicsResponseTopic { return &r.Topics }
	refusal := kerr.TopicAuthorizationFailed
	if c.seesCluster(opDelete) {
		for i := range req.TopicNames {
			c.touched.add(kmsg.ACLResourceTypeTopic, req.TopicNames[i])
		}
		for i := range req.Topics {
			if t := req.Topics[i].Topic; t != nil {
				c.touched.add(kmsg.ACLResourceTypeTopic, *t)
			}
		}
		return verdict{}
	}
	if c.version < 6 {
		var refused []kmsg.DeleteTopicsResponseTopic
		kept, _ := split(req.TopicNames, func(name *string) bool {
			if c.mayTopic(opDelete, *name) {
				return true
			}
			t := kmsg.NewDeleteTopicsResponseTopic()
			t.Topic, t.ErrorCode, t.ErrorMessage = name, int16(refusal), text(refusal)
			refused = append(refused, t)
			return false
		})
		if len(refused) == 0 {
			return verdict{}
		}
		if len(kept) == 0 {
			resp := kmsg.NewPtrDeleteTopicsResponse()
			resp.Topics = refused
			return verdict{answer: resp}
		}
		req.TopicNames = kept
		return verdict{pruned: true, edit: edits(func(r *kmsg.DeleteTopicsResponse) { r.Topics = append(r.Topics, refused...) })}
	}
	var ids [][16]byte
	for i := range req.Topics {
		ids = append(ids, req.Topics[i].TopicID)
	}
	c.mustResolve(ctx, ids)
	v := pruneTopics(c, req, &req.Topics, out, func(t *kmsg.DeleteTopicsRequestTopic) kerr.Code {
		if t.TopicID != ([16]byte{}) {
			if code := c.judge(opDelete, t.TopicID); code != kerr.None {
				return code
			}
		}
		if t.Topic != nil && !c.mayTopic(opDelete, *t.Topic) {
			return refusal
		}
		return kerr.None
	})
	hide := func(resp kmsg.Response) {
		for i, t := range resp.(*kmsg.DeleteTopicsResponse).Topics {
			// DELETE says DESCRIBE, so only refusals by id are without a name.
			if name, ok := c.g.names.get(t.TopicID); ok && t.Topic == nil && c.seesTopic(name) {
				resp.(*kmsg.DeleteTopicsResponse).Topics[i].Topic = &name
			}
		}
	}
	if v.answer != nil {
		hide(v.answer)
	} else if merge := v.edit; merge != nil {
		v.edit = func(resp kmsg.Response) {
			merge(resp)
			hide(resp)
		}
	}
	return v
}

// judgeConfig decides on the configs of one resource.
func (c *call) judgeConfig(op kmsg.ACLOperation, resource kmsg.ConfigResourceType, name string) kerr.Code {
	switch resource {
	case kmsg.ConfigResourceTypeTopic:
		if !c.mayTopic(op, name) {
			return kerr.TopicAuthorizationFailed
		}
	case kmsg.ConfigResourceTypeGroupConfig:
		if !c.mayGroup(op, name) {
			return kerr.GroupAuthorizationFailed
		}
	default:
		if !c.mayCluster(op) {
			return kerr.ClusterAuthorizationFailed
		}
	}
	return kerr.None
}

// describeConfigs needs DESCRIBE_CONFIGS. Where brokers are is not told.
func describeConfigs(_ context.Context, c *call, req *kmsg.DescribeConfigsRequest) verdict {
	v := pruneTopics(c, req, &req.Resources,
		func(r *kmsg.DescribeConfigsResponse) *[]kmsg.DescribeConfigsResponseResource { return &r.Resources },
		func(x *kmsg.DescribeConfigsRequestResource) kerr.Code {
			return c.judgeConfig(opDescribeConfigs, x.ResourceType, x.ResourceName)
		})
	merge := v.edit
	v.edit = edits(func(resp *kmsg.DescribeConfigsResponse) {
		for i := range resp.Resources {
			if resp.Resources[i].ResourceType == kmsg.ConfigResourceTypeBroker {
				hideAddresses(resp.Resources[i].Configs)
			}
		}
		if merge != nil {
			merge(resp)
		}
	})
	return v
}

// hideAddresses takes the values out of configs that name hosts and ports, as those of sensitive ones are.
func hideAddresses(configs []kmsg.DescribeConfigsResponseResourceConfig) {
	for i := range configs {
		x := &configs[i]
		if !strings.HasSuffix(x.Name, "listeners") && x.Name != "controller.quorum.voters" && x.Name != "controller.quorum.bootstrap.servers" {
			continue
		}
		x.Value, x.IsSensitive = nil, true
		for j := range x.ConfigSynonyms {
			x.ConfigSynonyms[j].Value = nil
		}
	}
}
