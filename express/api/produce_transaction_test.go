package api

import (
	"testing"

	"millrace/kafka/kerr"
)

// What the coordinator says of a producer is told in the codes that the version of Produce knows.
func TestVerificationCode(t *testing.T) {
	for _, c := range []struct {
		code    kerr.Code
		version int16
		want    kerr.Code
	}{
		{kerr.None, 9, kerr.None},
		{kerr.ProducerFenced, 9, kerr.InvalidProducerEpoch},
		{kerr.ProducerFenced, 12, kerr.InvalidProducerEpoch},
		{kerr.TransactionAbortable, 10, kerr.InvalidTxnState},
		{kerr.TransactionAbortable, 11, kerr.TransactionAbortable},
		{kerr.TransactionAbortable, 12, kerr.TransactionAbortable},
		{kerr.ConcurrentTransactions, 11, kerr.NotEnoughReplicas},
		{kerr.ConcurrentTransactions, 12, kerr.ConcurrentTransactions},
		{kerr.NotCoordinator, 12, kerr.NotEnoughReplicas},
		{kerr.CoordinatorLoadInProgress, 9, kerr.NotEnoughReplicas},
		{kerr.CoordinatorNotAvailable, 9, kerr.NotEnoughReplicas},
		{kerr.NetworkException, 12, kerr.NotEnoughReplicas},
		{kerr.OperationNotAttempted, 12, kerr.NotEnoughReplicas},
		{kerr.InvalidProducerIDMapping, 12, kerr.InvalidProducerIDMapping},
	} {
		if got := verificationCode(c.code, c.version); got != c.want {
			t.Errorf("%v at version %d: %v, want %v", c.code, c.version, got, c.want)
		}
	}
}
