package gateway

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/server"
)

// apiVersions tells what both the gateway and the broker behind it speak, and the broker's features.
func (c *call) apiVersions() {
	resp := kmsg.NewPtrApiVersionsResponse()
	version := c.r.Header.Version
	if version > c.e.max {
		// Which versions of this key there are, and nothing else (KIP-511): a client that got all keys here would not ask again, and would
		// know of no features.
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = c.key, c.e.listed, c.e.max
		resp.ErrorCode, resp.ApiKeys = int16(kerr.UnsupportedVersion), append(resp.ApiKeys, k)
		c.r.Reply(server.Response{Msg: resp})
		return
	}
	req, err := c.g.decoder.Decode(c.key, version, c.r.Body)
	if err != nil {
		c.r.Refuse(err)
		return
	}
	sw := req.(*kmsg.ApiVersionsRequest)
	if version >= 3 {
		if !softwareName(sw.ClientSoftwareName) || !softwareName(sw.ClientSoftwareVersion) {
			resp.ErrorCode = int16(kerr.InvalidRequest)
			c.r.Reply(server.Response{Msg: resp})
			return
		}
		c.r.Conn.SetSoftware(server.Software{Name: sw.ClientSoftwareName, Version: sw.ClientSoftwareVersion})
	}
	c.s.versions(resp, version)
	c.r.Reply(server.Response{Msg: resp})
}

// versions fills in what a session's client may send.
func (s *session) versions(resp *kmsg.ApiVersionsResponse, version int16) {
	v := s.g.view.Load()
	keys := make([]int16, 0, len(s.g.table))
	for key := range s.g.table {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		e := s.g.table[key]
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = key, e.listed, e.max
		if e.own == nil {
			low, high, ok := v.versions(s.node, key)
			if k.MinVersion, k.MaxVersion = max(low, e.listed), min(high, e.max); !ok || k.MinVersion > k.MaxVersion {
				continue
			}
		}
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	if v.api == nil {
		return
	}
	for _, f := range v.api.SupportedFeatures {
		if f.MinVersion > 0 || version >= 4 { // older clients take 0 for an error
			resp.SupportedFeatures = append(resp.SupportedFeatures, f)
		}
	}
	resp.FinalizedFeatures, resp.FinalizedFeaturesEpoch = v.api.FinalizedFeatures, v.api.FinalizedFeaturesEpoch
}

// softwareName says whether s is letters, digits, and between them also dots and dashes (KIP-511).
func softwareName(s string) bool {
	for i := range len(s) {
		c := s[i]
		inner := i > 0 && i < len(s)-1
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', inner && (c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != ""
}

// leastMetadata is the version in which Metadata goes to the broker at least: before it, brokers create what does not exist.
const leastMetadata = 4

// metadata needs DESCRIBE on each topic, and CREATE, there or on the cluster, to create one by asking for it.
func metadata(ctx context.Context, c *call, req *kmsg.MetadataRequest) verdict {
	all := req.Topics == nil || c.version == 0 && len(req.Topics) == 0
	if c.version < leastMetadata {
		req.AllowAutoTopicCreation = true
		c.version = leastMetadata
	}
	var refused []kmsg.MetadataResponseTopic
	pruned := c.version != c.r.Header.Version
	if all {
		req.Topics, req.AllowAutoTopicCreation = nil, false
	} else {
		kept := c.describable(ctx, req, &refused)
		pruned = pruned || len(refused) > 0
		req.Topics = kept
		if req.AllowAutoTopicCreation && !c.mayCreate(kept) {
			req.AllowAutoTopicCreation, pruned = false, true
		}
	}
	ops := req.IncludeTopicAuthorizedOperations
	clusterOps := req.IncludeClusterAuthorizedOperations && c.version <= 10
	return verdict{pruned: pruned, edit: edits(func(resp *kmsg.MetadataResponse) {
		resp.Brokers = slices.DeleteFunc(resp.Brokers, func(b kmsg.MetadataResponseBroker) bool {
			h, p := b.Host, b.Port
			c.s.translate(b.NodeID, &h, &p, b.Rack)
			return p < 0
		})
		for i := range resp.Brokers {
			b := &resp.Brokers[i]
			b.Host, b.Port, _ = c.s.address(b.NodeID)
		}
		resp.Topics = slices.DeleteFunc(resp.Topics, func(t kmsg.MetadataResponseTopic) bool {
			return t.Topic != nil && !c.seesTopic(*t.Topic)
		})
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if t.Topic == nil {
				continue
			}
			c.g.names.put(t.TopicID, *t.Topic)
			if ops && t.ErrorCode == 0 {
				t.AuthorizedOperations = c.operations(kmsg.ACLResourceTypeTopic, *t.Topic)
			}
		}
		resp.Topics = append(resp.Topics, refused...)
		if clusterOps {
			resp.AuthorizedOperations = 0
			if c.seesCluster(opDescribe) {
				resp.AuthorizedOperations = c.operations(kmsg.ACLResourceTypeCluster, clusterName)
			}
		}
	})}
}

// describable returns the topics of the request that may be described, and puts the others into refused. One that is asked for by its id
// is not named.
func (c *call) describable(ctx context.Context, req *kmsg.MetadataRequest, refused *[]kmsg.MetadataResponseTopic) []kmsg.MetadataRequestTopic {
	var ids [][16]byte
	for i := range req.Topics {
		ids = append(ids, req.Topics[i].TopicID)
	}
	if c.version >= 10 {
		c.mustResolve(ctx, ids)
	}
	kept, _ := split(req.Topics, func(t *kmsg.MetadataRequestTopic) bool {
		code := kerr.None
		if t.TopicID != ([16]byte{}) {
			code = c.judge(opDescribe, t.TopicID)
		}
		if code == kerr.None && t.Topic != nil && !c.mayTopic(opDescribe, *t.Topic) {
			code = kerr.TopicAuthorizationFailed
		}
		if code == kerr.None {
			return true
		}
		out := kmsg.NewMetadataResponseTopic()
		out.ErrorCode, out.Topic, out.TopicID, out.Partitions = int16(code), t.Topic, t.TopicID, []kmsg.MetadataResponseTopicPartition{}
		*refused = append(*refused, out)
		return false
	})
	return kept
}

// mayCreate says whether every one of the topics may be created.
func (c *call) mayCreate(topics []kmsg.MetadataRequestTopic) bool {
	if c.seesCluster(opCreate) {
		return true
	}
	for i := range topics {
		if topics[i].Topic != nil && !c.sees(opCreate, kmsg.ACLResourceTypeTopic, *topics[i].Topic) {
			return false
		}
	}
	return true
}

// findCoordinator needs DESCRIBE on the group or the transactional id. Share partitions are found by brokers only.
func findCoordinator(_ context.Context, c *call, req *kmsg.FindCoordinatorRequest) verdict {
	judge := func(key string) kerr.Code {
		switch req.CoordinatorType {
		case 0:
			if !c.mayGroup(opDescribe, key) {
				return kerr.GroupAuthorizationFailed
			}
		case 1:
			if !c.mayTxn(opDescribe, key) {
				return kerr.TransactionalIDAuthorizationFailed
			}
		case 2:
			if !c.mayCluster(opClusterAction) {
				return kerr.ClusterAuthorizationFailed
			}
		}
		return kerr.None
	}
	if c.version < 4 {
		if code := judge(req.CoordinatorKey); code != kerr.None {
			v := topError(req, code)
			resp := v.answer.(*kmsg.FindCoordinatorResponse)
			resp.NodeID, resp.Host, resp.Port = -1, "", -1
			return v
		}
		return verdict{edit: edits(func(resp *kmsg.FindCoordinatorResponse) {
			if resp.ErrorCode == 0 {
				c.s.translate(resp.NodeID, &resp.Host, &resp.Port, nil)
			}
		})}
	}
	var refused []kmsg.FindCoordinatorResponseCoordinator
	kept, _ := split(req.CoordinatorKeys, func(key *string) bool {
		code := judge(*key)
		if code != kerr.None {
			out := kmsg.NewFindCoordinatorResponseCoordinator()
			out.Key, out.ErrorCode, out.ErrorMessage, out.NodeID, out.Port = *key, int16(code), text(code), -1, -1
			refused = append(refused, out)
		}
		return code == kerr.None
	})
	if len(kept) == 0 && len(refused) > 0 {
		resp := kmsg.NewPtrFindCoordinatorResponse()
		resp.Coordinators = refused
		return verdict{answer: resp}
	}
	req.CoordinatorKeys = kept
	return verdict{pruned: len(refused) > 0, edit: edits(func(resp *kmsg.FindCoordinatorResponse) {
		for i := range resp.Coordinators {
			if x := &resp.Coordinators[i]; x.ErrorCode == 0 {
				c.s.translate(x.NodeID, &x.Host, &x.Port, nil)
			}
		}
		resp.Coordinators = append(resp.Coordinators, refused...)
	})}
}

// describeCluster needs nothing, as the brokers are told to all in Metadata. Controllers are not for clients of a gateway.
func describeCluster(_ context.Context, c *call, req *kmsg.DescribeClusterRequest) verdict {
	ops := req.IncludeClusterAuthorizedOperations
	if c.version >= 1 && req.EndpointType != 1 {
		v := topError(req, kerr.MismatchedEndpointType)
		v.answer.(*kmsg.DescribeClusterResponse).EndpointType = req.EndpointType
		return v
	}
	return verdict{edit: edits(func(resp *kmsg.DescribeClusterResponse) {
		resp.Brokers = slices.DeleteFunc(resp.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool {
			h, p := b.Host, b.Port
			if !b.IsFenced { // one that is not up has nothing to learn of
				c.s.translate(b.NodeID, &h, &p, b.Rack)
			}
			_, _, ok := c.s.address(b.NodeID)
			return p < 0 || !ok
		})
		for i := range resp.Brokers {
			b := &resp.Brokers[i]
			b.Host, b.Port, _ = c.s.address(b.NodeID)
		}
		if ops {
			resp.ClusterAuthorizedOperations = 0
			if c.seesCluster(opDescribe) {
				resp.ClusterAuthorizedOperations = c.operations(kmsg.ACLResourceTypeCluster, clusterName)
			}
		}
	})}
}

// describeTopicPartitions needs DESCRIBE on each topic. A request for all becomes one for those that may be described, so that neither an
// answer nor its cursor tells of others.
func describeTopicPartitions(ctx context.Context, c *call, req *kmsg.DescribeTopicPartitionsRequest) verdict {
	pruned := false
	if len(req.Topics) == 0 {
		req.Topics, pruned = c.allDescribable(ctx), true
		if req.Cursor != nil {
			req.Topics = slices.DeleteFunc(req.Topics, func(t kmsg.DescribeTopicPartitionsRequestTopic) bool { return t.Topic < req.Cursor.Topic })
		}
		if len(req.Topics) == 0 {
			return verdict{answer: kmsg.NewPtrDescribeTopicPartitionsResponse()}
		}
	}
	var refused []kmsg.DescribeTopicPartitionsResponseTopic
	kept, _ := split(req.Topics, func(t *kmsg.DescribeTopicPartitionsRequestTopic) bool {
		if c.mayTopic(opDescribe, t.Topic) {
			return true
		}
		out := mirrorOf[kmsg.DescribeTopicPartitionsResponseTopic](t, kerr.TopicAuthorizationFailed)
		out.Partitions = []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
		refused = append(refused, out)
		return false
	})
	if len(kept) == 0 {
		resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
		resp.Topics = refused
		return verdict{answer: resp}
	}
	req.Topics = kept
	return verdict{pruned: pruned || len(refused) > 0, edit: edits(func(resp *kmsg.DescribeTopicPartitionsResponse) {
		resp.Topics = append(resp.Topics, refused...)
		for i := range resp.Topics {
			if t := &resp.Topics[i]; t.ErrorCode == 0 && t.Topic != nil {
				c.g.names.put(t.TopicID, *t.Topic)
				t.AuthorizedOperations = c.operations(kmsg.ACLResourceTypeTopic, *t.Topic)
			}
		}
	})}
}

// allDescribable asks the broker for all topics and returns those that the caller may describe.
func (c *call) allDescribable(ctx context.Context) []kmsg.DescribeTopicPartitionsRequestTopic {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = metadataVersion, false
	resp, err := c.s.ask(ctx, req)
	if err != nil {
		panic(lookupFailed{err})
	}
	var all []kmsg.DescribeTopicPartitionsRequestTopic
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.Topic != nil && c.seesTopic(*t.Topic) {
			all = append(all, kmsg.DescribeTopicPartitionsRequestTopic{Topic: *t.Topic})
		}
	}
	slices.SortFunc(all, func(a, b kmsg.DescribeTopicPartitionsRequestTopic) int { return strings.Compare(a.Topic, b.Topic) })
	return all
}
