package api

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// ListConfigResources: v0-1. v0 lists telemetry subscriptions; v1 takes the types to list (KIP-1142), no types being all.

func (a *API) listConfigResources(_ context.Context, c caller, req *kmsg.ListConfigResourcesRequest) *kmsg.ListConfigResourcesResponse {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	if !a.mayCluster(c, kmsg.ACLOperationDescribeConfigs) {
		resp.ErrorCode = int16(kerr.ClusterAuthorizationFailed)
		return resp
	}
	wanted := make(map[kmsg.ConfigResourceType]bool)
	if req.Version == 0 {
		wanted[kmsg.ConfigResourceTypeClientMetrics] = true
	}
	for _, t := range req.ResourceTypes {
		wanted[kmsg.ConfigResourceType(t)] = true
		if !listable(kmsg.ConfigResourceType(t)) {
			resp.ErrorCode = int16(kerr.UnsupportedVersion)
			return resp
		}
	}
	list := func(kind kmsg.ConfigResourceType, name string) {
		if len(wanted) == 0 || wanted[kind] {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, r)
		}
	}
	for _, name := range a.catalog.Subscriptions().Names() {
		list(kmsg.ConfigResourceTypeClientMetrics, name)
	}
	for _, t := range a.catalog.Topics() {
		list(kmsg.ConfigResourceTypeTopic, t.Name)
	}
	for _, b := range a.catalog.Brokers() {
		name := strconv.Itoa(int(b.ID))
		list(kmsg.ConfigResourceTypeBroker, name)
		list(kmsg.ConfigResourceTypeBrokerLogger, name)
	}
	for _, group := range a.catalog.ConfiguredGroups() {
		list(kmsg.ConfigResourceTypeGroupConfig, group)
	}
	return resp
}

// listable says whether Kafka knows resources of this type.
func listable(kind kmsg.ConfigResourceType) bool {
	switch kind {
	case kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
		kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		return true
	default:
		return false
	}
}
