package api

import (
	"context"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// Transactions is the transaction coordinator.
type Transactions interface {
	// AddPartitions makes partitions part of a producer's transaction, or with verifyOnly asks whether they are. The codes
	// are in the order of the partitions.
	AddPartitions(ctx context.Context, txnID string, p machine.Producer, partitions []machine.TopicPartition, verifyOnly bool) []kerr.Code
}
