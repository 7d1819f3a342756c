// Package codes says which of Kafka's error codes stands for an error of a room, and carries Kafka's own words.
//
// Flow: an error -> Of -> the code of a response.
//
// All functions are pure but for the log. Files: codes.go.
package codes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/quota"
	"millrace/express/replica"
	"millrace/express/settings"
	"millrace/express/telemetry"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
	"millrace/secure/acl"
	"millrace/secure/scram"
)

// mapping says which code clients see for a sentinel of a room.
type mapping struct {
	err  error
	code kerr.Code
}

// mappings are asked in order, so an error that wraps several sentinels comes before what it wraps: a
// refused assignment may name an unknown broker, an unavailable cluster a deadline.
var mappings = []mapping{
	{partition.ErrNotOwner, kerr.NotLeaderOrFollower},
	{replica.ErrBeyond, kerr.NotLeaderOrFollower},
	{partition.ErrFencedEpoch, kerr.FencedLeaderEpoch},
	{partition.ErrUnknownEpoch, kerr.UnknownLeaderEpoch},
	{partition.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{partition.ErrPolicy, kerr.PolicyViolation},
	{partition.ErrStorage, kerr.KafkaStorageError},
	{partition.ErrGap, kerr.KafkaStorageError},

	{partition.ErrTransactionState, kerr.InvalidTxnState},
	{partition.ErrCoordinatorFenced, kerr.TransactionCoordinatorFenced},

	{producer.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{producer.ErrInvalidEpoch, kerr.InvalidProducerEpoch},

	{record.ErrNotOne, kerr.InvalidRecord},
	{record.ErrNoKey, kerr.InvalidRecord},
	{record.ErrBomb, kerr.InvalidRecord},
	{record.ErrInvalid, kerr.InvalidRecord},
	{record.ErrMagic, kerr.InvalidRecord},
	{record.ErrTooLarge, kerr.MessageTooLarge},
	{record.ErrTimestamp, kerr.InvalidTimestamp},
	{record.ErrCodec, kerr.UnsupportedCompressionType},
	{record.ErrCorrupt, kerr.CorruptMessage},
	{record.ErrTruncated, kerr.InvalidRecord},

	{catalog.ErrTopicExists, kerr.TopicAlreadyExists},
	{catalog.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{catalog.ErrInvalidPartitions, kerr.InvalidPartitions},
	{catalog.ErrInvalidReplication, kerr.InvalidReplicationFactor},
	{catalog.ErrInvalidAssignment, kerr.InvalidReplicaAssignment},
	{catalog.ErrUnknownBroker, kerr.BrokerIDNotRegistered},
	{catalog.ErrFenced, kerr.StaleBrokerEpoch},
	{catalog.ErrReplaced, kerr.StaleBrokerEpoch},
	{catalog.ErrUnavailable, kerr.RequestTimedOut},
	{catalog.ErrNewer, kerr.UnsupportedVersion},

	{settings.ErrInvalid, kerr.InvalidConfig},
	{quota.ErrInvalid, kerr.InvalidRequest},
	{telemetry.ErrRequest, kerr.InvalidRequest},
	{telemetry.ErrConfig, kerr.InvalidConfig},
	{telemetry.ErrThrottled, kerr.ThrottlingQuotaExceeded},
	{telemetry.ErrUnknownSubscription, kerr.UnknownSubscriptionID},
	{telemetry.ErrCompression, kerr.UnsupportedCompressionType},
	{telemetry.ErrTooLarge, kerr.TelemetryTooLarge},
	{telemetry.ErrInstance, kerr.InvalidRequest},
	{telemetry.ErrRecord, kerr.InvalidRecord},
	{quota.ErrUnsupported, kerr.UnsupportedVersion},
	{topic.ErrInvalidName, kerr.InvalidTopicException},

	{acl.ErrUnavailable, kerr.RequestTimedOut},
	{scram.ErrUnacceptable, kerr.UnacceptableCredential},
	{scram.ErrMechanism, kerr.UnsupportedSaslMechanism},
	{scram.ErrNotFound, kerr.ResourceNotFound},
	{scram.ErrFormat, kerr.UnsupportedVersion},
	{scram.ErrUnavailable, kerr.RequestTimedOut},

	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.RequestTimedOut}, // the client has gone, or the broker is closing
}

// said is a code with Kafka's own words, which its tools print.
type said struct {
	code kerr.Code
	text string
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.code }

// Say returns an error that is code, with words of its own.
func Say(code kerr.Code, format string, args ...any) error {
	return &said{code, fmt.Sprintf(format, args...)}
}

// Of finds the code for an error: a kerr.Code in it, or that of the sentinel it wraps. What is neither
// is logged, because it is a fault of ours (A3).
func Of(log *slog.Logger, err error) kerr.Code {
	if err == nil {
		return kerr.None
	}
	var code kerr.Code
	if errors.As(err, &code) {
		return code
	}
	for _, m := range mappings {
		if errors.Is(err, m.err) {
			return m.code
		}
	}
	log.Error("error without a code", "err", err)
	return kerr.UnknownServerError
}
