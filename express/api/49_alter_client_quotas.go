package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/quotas"
	"millrace/express/quota"
	"millrace/kafka/kerr"
)

// AlterClientQuotas: v0-1 (KIP-546), v1 flexible. Entries stand for themselves: one that is refused keeps no other from being
// applied.

func (a *API) alterClientQuotas(ctx context.Context, c caller, req *kmsg.AlterClientQuotasRequest) *kmsg.AlterClientQuotasResponse {
	ctx, cancel := withTimeout(ctx, int32(timeoutMost.Milliseconds()))
	defer cancel()
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	answered := make(map[quota.Entity]int, len(req.Entries))
	for i := range req.Entries {
		e, err := quotas.Entity(req.Entries[i].Entity)
		at, again := answered[e]
		switch {
		case err != nil:
		case again: // the first stays applied, and the answer is of the second, as in Kafka
			err = quota.Duplicate(e)
		default:
			answered[e] = len(resp.Entries)
			err = a.alterQuotas(ctx, c, e, req.Entries[i].Ops, req.ValidateOnly)
		}
		out := quotas.Answer(req.Entries[i].Entity)
		if err != nil {
			code := a.code(err)
			out.ErrorCode, out.ErrorMessage = int16(code), message(code, err)
		}
		if again && err != nil {
			resp.Entries[at] = out
			continue
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp
}

func (a *API) alterQuotas(ctx context.Context, c caller, e quota.Entity, in []kmsg.AlterClientQuotasRequestEntryOp, validateOnly bool) error {
	if !a.mayCluster(c, kmsg.ACLOperationAlterConfigs) {
		return kerr.ClusterAuthorizationFailed
	}
	ops := make([]quota.Op, len(in))
	for i, op := range in {
		ops[i] = quota.Op{Key: op.Key, Value: op.Value, Remove: op.Remove}
	}
	before := a.catalog.Quotas().Values(e)
	err := a.catalog.SetQuotas(ctx, e, ops, validateOnly)
	if !validateOnly {
		a.recordAdmin(c, change{resource: "quota/" + clip(e.String()), before: before, after: a.catalog.Quotas().Values(e), err: err})
	}
	return err
}
