package api

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/quota"
	"millrace/kafka/kerr"
)

// DescribeClientQuotas: v0-1 (KIP-546), v1 flexible.

func (a *API) describeClientQuotas(_ context.Context, c caller, req *kmsg.DescribeClientQuotasRequest) *kmsg.DescribeClientQuotasResponse {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	found, err := a.findQuotas(c, req)
	if err != nil {
		code := a.code(err)
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, err)
		return resp
	}
	resp.ErrorMessage = new(string) // empty, not null, as in Kafka
	resp.Entries = make([]kmsg.DescribeClientQuotasResponseEntry, 0, len(found))
	for _, e := range found {
		out := kmsg.NewDescribeClientQuotasResponseEntry()
		for _, p := range e.Entity.Parts() {
			part := kmsg.NewDescribeClientQuotasResponseEntryEntity()
			part.Type, part.Name = p.Type, p.Name
			out.Entity = append(out.Entity, part)
		}
		for _, key := range slices.Sorted(maps.Keys(e.Values)) {
			v := kmsg.NewDescribeClientQuotasResponseEntryValue()
			v.Key, v.Value = key, e.Values[key]
			out.Values = append(out.Values, v)
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp
}

func (a *API) findQuotas(c caller, req *kmsg.DescribeClientQuotasRequest) ([]quota.Entry, error) {
	if !a.mayCluster(c, kmsg.ACLOperationDescribeConfigs) {
		return nil, kerr.ClusterAuthorizationFailed
	}
	filter := make([]quota.Component, len(req.Components))
	for i, in := range req.Components {
		filter[i] = quota.Component{Type: in.EntityType, Match: quota.MatchType(in.MatchType), Name: in.Match}
	}
	return a.catalog.Quotas().Describe(filter, req.Strict)
}
