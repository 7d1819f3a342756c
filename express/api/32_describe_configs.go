package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/configs"
	"millrace/express/settings"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// DescribeConfigs: v1-4.
//
//   - v1 source and synonyms (KIP-226), v3 type and documentation (KIP-569), v4 flexible
//
// Topics, groups and this broker have configurations; the broker without a name stands for what was set for
// all of them. A group need not exist. Loggers of this broker are an empty list, and telemetry subscriptions show
// their defaults even where there is none. Other kinds are refused.

func (a *API) describeConfigs(_ context.Context, c caller, req *kmsg.DescribeConfigsRequest) *kmsg.DescribeConfigsResponse {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	type key struct {
		kind kmsg.ConfigResourceType
		name string
	}
	seen := make(map[key]bool, len(req.Resources))
	for i := range req.Resources {
		in := &req.Resources[i]
		if k := (key{in.ResourceType, in.ResourceName}); !seen[k] {
			seen[k] = true
			resp.Resources = append(resp.Resources, a.describeResource(c, req, in))
		}
	}
	return resp
}

func (a *API) describeResource(c caller, req *kmsg.DescribeConfigsRequest, in *kmsg.DescribeConfigsRequestResource) kmsg.DescribeConfigsResponseResource {
	out := kmsg.NewDescribeConfigsResponseResource()
	out.ResourceType, out.ResourceName = in.ResourceType, in.ResourceName
	entries, err := a.configEntries(c, in)
	if err != nil {
		code := a.code(err)
		out.ErrorCode, out.ErrorMessage = int16(code), message(code, err)
		return out
	}
	out.ErrorMessage = kmsg.StringPtr("")
	for i := range entries {
		if len(in.ConfigNames) == 0 || slices.Contains(in.ConfigNames, entries[i].Name) {
			out.Configs = append(out.Configs, configs.Row(&entries[i], req))
		}
	}
	return out
}

// configEntries gives all keys of a resource.
func (a *API) configEntries(c caller, in *kmsg.DescribeConfigsRequestResource) ([]settings.Entry, error) {
	switch in.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if !a.mayTopic(c, kmsg.ACLOperationDescribeConfigs, in.ResourceName) {
			return nil, kerr.TopicAuthorizationFailed
		}
		if err := topic.ValidateName(in.ResourceName); err != nil {
			return nil, err
		}
		t, ok := a.catalog.Topic(in.ResourceName)
		if !ok {
			return nil, kerr.UnknownTopicOrPartition
		}
		return t.Settings.Describe(a.catalog.BrokerSettings()), nil
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		if !a.mayCluster(c, kmsg.ACLOperationDescribeConfigs) {
			return nil, kerr.ClusterAuthorizationFailed
		}
		return a.brokerEntries(in)
	case kmsg.ConfigResourceTypeGroupConfig:
		if !a.mayGroup(c, kmsg.ACLOperationDescribeConfigs, in.ResourceName) {
			return nil, kerr.GroupAuthorizationFailed
		}
		if in.ResourceName == "" {
			return nil, fmt.Errorf("%w: Group name must not be empty", kerr.InvalidRequest)
		}
		return a.catalog.GroupSettings(in.ResourceName).Describe(a.catalog.BrokerSettings()), nil
	case kmsg.ConfigResourceTypeClientMetrics:
		if !a.mayCluster(c, kmsg.ACLOperationDescribeConfigs) {
			return nil, kerr.ClusterAuthorizationFailed
		}
		if in.ResourceName == "" {
			return nil, say(kerr.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return configs.OfSubscription(a.catalog.Subscriptions().Configs(in.ResourceName)), nil
	default:
		return nil, fmt.Errorf("%w: resources of type %d have no configuration here", kerr.InvalidRequest, in.ResourceType)
	}
}

func (a *API) brokerEntries(in *kmsg.DescribeConfigsRequestResource) ([]settings.Entry, error) {
	logger := in.ResourceType == kmsg.ConfigResourceTypeBrokerLogger
	if in.ResourceName == "" && !logger {
		return a.catalog.BrokerSettings().DescribeDefaults(), nil
	}
	self := strconv.Itoa(int(a.catalog.Self().ID))
	switch {
	case in.ResourceName != self:
		return nil, fmt.Errorf("%w: this is broker %s, not %q", kerr.InvalidRequest, self, in.ResourceName)
	case logger:
		return nil, nil
	}
	return a.catalog.BrokerSettings().Describe(), nil
}
