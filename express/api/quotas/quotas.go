// Package quotas puts entities of client quotas into the words of express/quota, and the answers about them into rows.
//
// Flow: the parts of a request -> Entity -> the catalog; the same parts -> Answer.
//
// All functions are pure. Files: quotas.go.
package quotas

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/quota"
)

// Entity reads an entity. The error matches quota.ErrInvalid.
func Entity(in []kmsg.AlterClientQuotasRequestEntryEntity) (quota.Entity, error) {
	parts := make([]quota.Part, len(in))
	for i, p := range in {
		parts[i] = quota.Part{Type: p.Type, Name: p.Name}
	}
	return quota.NewEntity(parts)
}

// Answer is the answer to an entry without a fault. Of several parts of a type the last is named.
func Answer(in []kmsg.AlterClientQuotasRequestEntryEntity) kmsg.AlterClientQuotasResponseEntry {
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
