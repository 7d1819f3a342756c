// Package producer keeps the idempotence state of one partition: which batches each producer wrote last, so that a
// batch sent twice is answered with its first offsets and a batch out of order is refused.
//
// Flow: partition asks Check before it gives a batch its offsets and calls Apply after; when the write fails it calls
// Rollback. The same Table serves as a partition's whole state, as what one WAL file added to it (Merge joins them
// again at the next start) and as the snapshot at the end of a segment (Below).
//
// The rules are those of Apache Kafka's ProducerAppendInfo and ProducerStateEntry (4.x):
//
// P1: A batch whose epoch and sequence range equal those of one of the producer's last Kept batches is a duplicate.
// P2: A batch of a lower epoch than the producer's is refused with ErrInvalidEpoch.
// P3: The first batch of a new epoch has sequence 0, later ones continue where the last one ended; 0 follows 2^31-1.
// Anything else is ErrOutOfOrderSequence. A producer that is not known may begin anywhere: its state may have
// expired or been trimmed away.
// P4: A transaction marker of a new epoch forgets the batches of the old one, and sequence 0 comes next.
// P5: Apply and Merge change nothing when they bring only what is known. Rollback restores what Check answered before
// the batches that it forgets, as long as at most Kept of the producer's batches are rolled back.
//
// A producer's memory is a history of its last events across epochs, twice Kept, because up to Kept unacknowledged
// batches may be rolled back and Kept must be left to recognise duplicates by. Everything else is derived from it:
// the epoch is that of the newest event and the window of P1 is the newest batches of that epoch.
//
// A Table is not safe for concurrent use. Files: table.go, history.go (one producer), codec.go (the snapshot).
package producer
