package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

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
		e, err := entityOf(req.Entries[i].Entity)
		at, again := answered[e]
		switch {
		case err != nil:
		case again: // the first stays applied, and the answer is of the second, as in Kafka
			err = quota.Duplicate(e)
		default:
			answered[e] = len(resp.Entries)
			err = a.alterQuotas(ctx, c, e, req.Entries[i].Ops, req.ValidateOnly)
		}
		out := quotaAnswer(req.Entries[i].Entity)
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
	return a.catalog.SetQuotas(ctx, e, ops, validateOnly)
}

func entityOf(in []kmsg.AlterClientQuotasRequestEntryEntity) (quota.Entity, error) {
	parts := make([]quota.Part, len(in))
	for i, p := range in {
		parts[i] = quota.Part{Type: p.Type, Name: p.Name}
	}
	return quota.NewEntity(parts)
}

// quotaAnswer is the answer to an entry without a fault. Of several parts of a type the last is named.
func quotaAnswer(in []kmsg.AlterClientQuotasRequestEntryEntity) kmsg.AlterClientQuotasResponseEntry {
	out := kmsg.NewAlterClientQuotasResponseEntry()
	at := make(map[string]int, len(in))
	for _, p := range in {
		part := kmsg.NewAlterClientQuotasResponseEntryEntity()
		part.Type, part.Name = p.Type, p.Name
		if i, again := at[p.Type]; again {
			out.Entity[i] = part
			continue
		}
		at[p.Type] = len(out.Entity)
		out.Entity = append(out.Entity, part)
	}
	slices.SortStableFunc(out.Entity, func(a, b kmsg.AlterClientQuotasResponseEntryEntity) int {
		return order(a.Type) - order(b.Type)
	})
	return out
}

// order is that in which Kafka names parts.
func order(kind string) int {
	if kind == quota.TypeClientID {
		return 0
	}
	return 1
}
