// Package quotas puts entities of client quotas into the words of express/quota, and the answers about them into rows, and says how much
// of the time of a request counts.
//
// Flow: the parts of a request -> Entity -> the catalog; the same parts -> Answer. A request's time -> Counted -> quota.Client.
//
// All functions are pure. Files: quotas.go.
package quotas

import (
	"slices"
	"time"

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

// waitedMost is what a request counts at most whose handler waits for others: for members of a group, the log or etcd.
const waitedMost = time.Millisecond

// waits says whether most of the time that a key takes is spent waiting.
func waits(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.LeaveGroup, kmsg.OffsetCommit, kmsg.OffsetDelete, kmsg.DeleteGroups, kmsg.FindCoordinator,
		kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions, kmsg.DeleteRecords, kmsg.InitProducerID,
		kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs, kmsg.AlterClientQuotas,
		kmsg.InitializeShareGroupState, kmsg.ReadShareGroupState, kmsg.WriteShareGroupState, kmsg.DeleteShareGroupState,
		kmsg.ShareAcknowledge, kmsg.AlterShareGroupOffsets, kmsg.DeleteShareGroupOffsets:
		return true
	default:
		return false
	}
}

// Counted is how much of the time since a request of a key came counts for its client.
func Counted(key int16, d time.Duration) time.Duration {
	if waits(key) {
		return min(d, waitedMost)
	}
	return d
}
