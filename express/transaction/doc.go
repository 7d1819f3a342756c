// Package transaction is the state of transactional ids as a pure machine: who may produce under an id, which partitions
// are in its transaction, how that ends, and what administrators ask about it.
//
// Flow: one event and the time go into a method of Machine; Effects come out (package machine). A decision to commit or
// abort that has become durable gives work: TakeMarkers hands out "write this marker to these partitions", MarkerWritten
// takes the outcomes, and when every partition has its marker the end is logged. After a restart Machine.Replay takes the
// log's records in, then Machine.Loaded goes on with all decisions that were not carried out.
//
// States of an id, by Kafka's names. A transition is pending while its record is on the way to the log; meanwhile requests
// that would change the id are answered CONCURRENT_TRANSACTIONS, and afterwards it has happened, or not at all.
//
//	                 partitions added        commit                    all markers written
//	Empty ───────────────> Ongoing ───────> PrepareCommit ──────────────> CompleteCommit
//	  │ ^                  ^  │ abort, time is up, a new producer           │
//	  │ └── InitProducerId │  └───────────> PrepareAbort ──> CompleteAbort  │ partitions added: Ongoing again
//	  │       from Complete*                  ^                  │          │ InitProducerId: Empty again
//	  └───────────────────────────────────────┘ <────────────────┴──────────┘ abort of nothing (second protocol)
//
// An id that nobody used for long becomes Dead: its record is deleted, and it is gone. PrepareEpochFence is only a name:
// fencing a producer is an abort with a raised epoch.
//
// There are two protocols. With the first the epoch stays the same from transaction to transaction. With the second
// (EndTxn from version 5 on, and every abort that the coordinator itself begins) each end raises the epoch, so that nothing
// late can touch the next transaction; when the epochs of a producer id are used up, the next id takes over.
//
// Invariants
//   - T1: Every ticket is answered exactly once, at the latest by Close, as long as outcomes come in.
//   - T2: What is shown, and what success was answered for, is durable: Replay of the log gives the same state.
//   - T3: Each id has at most one transaction, and at most one transition of it is with the log.
//   - T4: For one producer id the epoch never goes back. A producer id never belongs to two transactional ids.
//   - T5: A durable decision never changes. Complete* follows its Prepare* only after each partition of the transaction has
//     taken its marker or is gone, and no marker is handed out before the decision is durable.
//   - T6: While time goes on and outcomes come in, every decision is carried out, also after a replay; a marker that could
//     not be written is handed out again after a pause.
//   - T7: The same events at the same times have the same effects, to the byte.
//
// Where we differ from Kafka:
//   - A marker that a partition refuses because its producer is at a later epoch counts as written: that transaction cannot
//     be open there any more. Kafka gives up the whole transaction then and leaves it in its Prepare state.
//   - An InitProducerId that repeats the one which used up the last epoch gets the answer of the first; Kafka fails.
//   - A new id is shown once its first record is durable.
//   - The number of ids, the bytes of all their records and those of one record are bounded.
//
// Concurrency: none; a Machine has one owner.
//
// Records are Kafka's own, of __transaction_state: TxnMetadata key 0 with value 1; tombstones delete. Value 0 is read too.
//
// Files: machine.go (events, effects, appends), state.go (an id and its transitions), init.go (InitProducerId), add.go
// (partitions), end.go (EndTxn, fencing, timeouts), complete.go (markers), admin.go (list, describe, expiry), record.go
// (encode, replay).
package transaction
