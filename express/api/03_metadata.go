package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/told"
	"millrace/express/catalog"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Metadata: v0-13.
//
//   - v1 no topics and all topics differ, controller, racks; v2 cluster id; v4 allow auto creation
//   - v5 offline replicas, v7 leader epochs, v8 authorized operations (KIP-430), v9 flexible
//   - v10 topic ids in answers (KIP-516), v11 no cluster operations, v12 topics asked for by id
//   - v13 an error of the whole request (KIP-1102)
//
// Partitions show replicas as a cluster with copies would: see catalog.Catalog.Replicas. A topic that is created on the
// way is in the answer at once, with its leaders, because creating it waits for the view.

// autoCreateMost bounds how many topics one request may create by asking for them.
const autoCreateMost = 100

func (a *API) metadata(ctx context.Context, c caller, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	for _, b := range a.brokersAt(c.listener()) {
		out := kmsg.NewMetadataResponseBroker()
		out.NodeID, out.Host, out.Port, out.Rack = b.ID, b.Host, b.Port, pointer(b.Rack)
		resp.Brokers = append(resp.Brokers, out)
	}
	resp.ClusterID = kmsg.StringPtr(a.catalog.ClusterID())
	resp.ControllerID = a.catalog.Controller()
	resp.AuthorizedOperations = notAsked
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = a.authorizedOnCluster(c)
	}
	ops := req.IncludeTopicAuthorizedOperations
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range a.catalog.Topics() {
			if a.mayTopic(c.looking(), kmsg.ACLOperationDescribe, t.Name) {
				resp.Topics = append(resp.Topics, a.metadataTopic(c, t, ops))
			}
		}
		return resp
	}
	m := metadataQuery{api: a, caller: c, req: req, mayCreate: req.Version < 4 || req.AllowAutoTopicCreation}
	resp.Topics = m.topics(ctx)
	return resp
}

// metadataQuery answers a Metadata request that names topics.
type metadataQuery struct {
	api       *API
	caller    caller
	req       *kmsg.MetadataRequest
	mayCreate bool
	created   int
}

// topics answers each topic once, in the order asked for.
func (m *metadataQuery) topics(ctx context.Context) []kmsg.MetadataResponseTopic {
	type asked struct {
		name string
		id   topic.ID
	}
	seen := make(map[asked]bool, len(m.req.Topics))
	out := make([]kmsg.MetadataResponseTopic, 0, len(m.req.Topics))
	for i := range m.req.Topics {
		in := &m.req.Topics[i]
		key := asked{id: in.TopicID}
		if in.Topic != nil {
			key.name = *in.Topic
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, m.topic(ctx, in))
		}
	}
	return out
}

func (m *metadataQuery) topic(ctx context.Context, in *kmsg.MetadataRequestTopic) kmsg.MetadataResponseTopic {
	byID := topic.ID(in.TopicID) != topic.ID{}
	switch {
	case byID && m.req.Version < 12, in.Topic == nil && !byID:
		return metadataError(in, kerr.InvalidRequest)
	case byID:
		return m.byID(in)
	}
	a, name := m.api, *in.Topic
	if !a.mayTopic(m.caller, kmsg.ACLOperationDescribe, name) {
		return metadataError(in, kerr.TopicAuthorizationFailed)
	}
	t, ok := a.catalog.Topic(name)
	if !ok {
		var code kerr.Code
		if t, code = m.create(ctx, name); code != kerr.None {
			out := metadataError(in, code)
			if m.req.IncludeTopicAuthorizedOperations && code != kerr.TopicAuthorizationFailed {
				out.AuthorizedOperations = a.authorized(m.caller, kmsg.ACLResourceTypeTopic, name)
			}
			return out
		}
	}
	return a.metadataTopic(m.caller, t, m.req.IncludeTopicAuthorizedOperations)
}

func (m *metadataQuery) byID(in *kmsg.MetadataRequestTopic) kmsg.MetadataResponseTopic {
	a := m.api
	in.Topic = nil
	t, ok := a.catalog.TopicByID(in.TopicID)
	switch {
	case !ok:
		return metadataError(in, kerr.UnknownTopicID)
	case !a.mayTopic(m.caller, kmsg.ACLOperationDescribe, t.Name):
		return metadataError(in, kerr.TopicAuthorizationFailed)
	}
	return a.metadataTopic(m.caller, t, m.req.IncludeTopicAuthorizedOperations)
}

// create makes a topic that was asked for and is not there, if client and broker allow it.
func (m *metadataQuery) create(ctx context.Context, name string) (*catalog.Topic, kerr.Code) {
	a := m.api
	allowed := m.mayCreate && (a.catalog.BrokerSettings().AutoCreateTopics || topic.Internal(name))
	if allowed && !a.mayCreate(m.caller, name) {
		return nil, kerr.TopicAuthorizationFailed
	}
	if err := topic.ValidateName(name); err != nil {
		return nil, a.code(err)
	}
	if !allowed || topic.Internal(name) && name != topic.ConsumerOffsets {
		return nil, kerr.UnknownTopicOrPartition
	}
	if m.created++; m.created > autoCreateMost {
		return nil, kerr.LeaderNotAvailable // comes with the client's next request
	}
	ctx, cancel := withTimeout(ctx, timeoutSelf)
	defer cancel()
	if name == topic.ConsumerOffsets {
		t, err := a.consumerOffsets(ctx)
		return t, a.code(err)
	}
	t, err := m.createBounded(ctx, catalog.NewTopic{Name: name, Partitions: -1, ReplicationFactor: -1})
	a.recordAdmin(m.caller, change{resource: "topic/" + name, after: told.Topic(t), err: err})
	if errors.Is(err, catalog.ErrTopicExists) || errors.Is(err, catalog.ErrUnavailable) {
		return nil, kerr.LeaderNotAvailable // somebody else is creating it, or we will: the client asks again
	}
	return t, a.code(err)
}

func metadataError(in *kmsg.MetadataRequestTopic, code kerr.Code) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.ErrorCode = int16(code)
	out.Topic, out.TopicID = in.Topic, in.TopicID
	out.AuthorizedOperations = notAsked
	if out.Topic == nil && in.TopicID == ([16]byte{}) {
		out.Topic = kmsg.StringPtr("")
	}
	return out
}

func (a *API) metadataTopic(c caller, t *catalog.Topic, ops bool) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Internal
	out.AuthorizedOperations = notAsked
	if ops {
		out.AuthorizedOperations = a.authorized(c, kmsg.ACLResourceTypeTopic, t.Name)
	}
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range out.Partitions {
		place := a.place(t, i)
		a.hide(&place, c.listener(), c.version)
		p := &out.Partitions[i]
		p.Partition, p.ErrorCode = int32(i), int16(place.code)
		p.Leader, p.LeaderEpoch = place.leader, place.epoch
		p.Replicas, p.ISR, p.OfflineReplicas = place.replicas, place.isr, place.offln
	}
	return out
}
