package producer

import "errors"

// Sentinels, for errors.Is.
var (
	// ErrOutOfOrderSequence refuses a batch that neither continues its producer's sequence nor repeats one of its
	// last batches (Kafka: OUT_OF_ORDER_SEQUENCE_NUMBER).
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidEpoch refuses a batch of a producer that a newer epoch has fenced (Kafka: INVALID_PRODUCER_EPOCH).
	ErrInvalidEpoch = errors.New("producer epoch is fenced")
	// ErrCorrupt is returned by Decode for bytes that AppendTo cannot have written.
	ErrCorrupt = errors.New("producer snapshot is corrupt")
	// ErrNewer is returned by Decode for a snapshot whose format this version does not know.
	ErrNewer = errors.New("producer snapshot was written by a newer version")
)
