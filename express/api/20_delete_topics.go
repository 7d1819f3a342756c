package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/changes"
	"millrace/express/api/told"
	"millrace/express/catalog"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// DeleteTopics: v1-6.
//
//   - v3 TOPIC_DELETION_DISABLED, v4 flexible, v5 error message, v6 topics by id (KIP-516)
//
// Topics that the cluster keeps for itself cannot be deleted.

func (a *API) deleteTopics(ctx context.Context, c caller, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	asked := req.Topics
	for _, name := range req.TopicNames { // v1-5
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: kmsg.StringPtr(name)})
	}
	resp := kmsg.NewPtrDeleteTopicsResponse()
	quota := a.changesOf(c, req.Version >= 5)
	type key struct {
		name string
		id   topic.ID
	}
	keyOf := func(in kmsg.DeleteTopicsRequestTopic) key {
		k := key{id: in.TopicID}
		if in.Topic != nil {
			k.name = *in.Topic
		}
		return k
	}
	mentions := make(map[key]int, len(asked))
	for _, in := range asked {
		mentions[keyOf(in)]++
	}
	for _, in := range asked {
		times := mentions[keyOf(in)]
		if times == 0 {
			continue // repeated, and answered
		}
		mentions[keyOf(in)] = 0
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = in.Topic, in.TopicID
		err := fmt.Errorf("%w: the topic is listed %d times", kerr.InvalidRequest, times)
		if times == 1 {
			err = a.deleteTopic(ctx, c, quota, req.Version, in, &out)
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

func (a *API) deleteTopic(ctx context.Context, c caller, quota *changes.Budget, version int16, in kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponseTopic) error {
	if !a.catalog.BrokerSettings().DeleteTopics {
		if version < 3 {
			return kerr.InvalidRequest
		}
		return kerr.TopicDeletionDisabled
	}
	anyTopic := a.mayCluster(c.looking(), kmsg.ACLOperationDelete)
	var t *catalog.Topic
	var ok bool
	if in.Topic != nil {
		if (topic.ID(in.TopicID) != topic.ID{}) {
			return fmt.Errorf("%w: a topic is named either by name or by id", kerr.InvalidRequest)
		}
		if !anyTopic && !a.mayTopic(c, kmsg.ACLOperationDescribe, *in.Topic) {
			return kerr.TopicAuthorizationFailed // whether there is one or not
		}
		if t, ok = a.catalog.Topic(*in.Topic); !ok {
			return kerr.UnknownTopicOrPartition
		}
	} else {
		if (topic.ID(in.TopicID) == topic.ID{}) {
			return fmt.Errorf("%w: neither a name nor an id", kerr.InvalidRequest)
		}
		if t, ok = a.catalog.TopicByID(in.TopicID); !ok {
			return kerr.UnknownTopicID
		}
	}
	if !anyTopic && !a.mayTopic(c, kmsg.ACLOperationDelete, t.Name) {
		if in.Topic == nil && a.mayTopic(c.looking(), kmsg.ACLOperationDescribe, t.Name) {
			out.Topic = kmsg.StringPtr(t.Name)
		}
		return kerr.TopicAuthorizationFailed
	}
	out.Topic, out.TopicID = kmsg.StringPtr(t.Name), t.ID
	if t.Internal {
		return fmt.Errorf("%w: %q is kept by the cluster itself", kerr.InvalidRequest, t.Name)
	}
	if err := quota.Take(len(t.Partitions)); err != nil {
		return err
	}
	err := a.catalog.DeleteTopic(ctx, t.ID)
	a.recordAdmin(c, change{resource: "topic/" + t.Name, before: told.Topic(t), err: err})
	return err
}
