// Package share is the state of one share-partition as a pure machine: which records of a partition a share group has in
// flight, who holds them, how often each was delivered, and which are done (KIP-932, KIP-1206, KIP-1222).
//
// Flow: a fetch asks NextFetch, reads the log there and passes what it read to Acquire, which says what of it the member gets.
// Acknowledge and Release begin changes; what they return is stored by the caller, who then tells the outcome by Settle. A
// lock that runs out is released by Expire, at Deadline. After a restart New takes in what was stored. There is no IO here, no
// goroutine, no clock and no lock: every event carries the time.
//
// States of a record. Offsets below Start are done; those at or above Next were never acquired.
//
//	             acquire                  accept, stored
//	Available ────────────> Acquired ────────────────────> Acknowledged
//	    ^                    │     │     reject or gap, stored
//	    └── release, stored ─┘     └─────────────────────> Archived
//	        or the lock ran out          or released with no delivery left
//
// Invariants
//   - S1: A record is held by one member at most. Only its holder can acknowledge or release it.
//   - S2: Acknowledged and archived are final: such a record is never acquired again.
//   - S3: No record is delivered more often than the limit: one that comes back after its last delivery is archived.
//   - S4: Start never goes back, and Start <= Next. What lies between is covered by runs without a gap or an overlap.
//   - S5: A change that is being stored counts for nobody until Settle: its records can be neither acquired nor acknowledged,
//     and if it fails they are as they were. What was settled as stored is in what a later New gets.
//   - S6: A request to acknowledge is taken as a whole or not at all, but for locks that it renewed.
//   - S7: Memory is bounded by the records in flight: Limits.MaxInFlight, and beyond that what is left of one batch of the
//     log, at most batchMost records of it.
//   - S8: Every held record has a lock that ends; Deadline is not after the first end.
//
// Where we differ from Kafka: records are kept as runs of equal state, where Kafka keeps a batch and, once that differs
// within, each offset. Records that retention removed are dropped at once, where Kafka keeps those that are held. A batch of
// the log with more than batchMost records is acquired in several parts.
//
// Concurrency: none; a Partition has one owner.
//
// Files: partition.go (state, what is stored), run.go (runs), acquire.go, acknowledge.go (acknowledge, release, expire, settle).
package share
