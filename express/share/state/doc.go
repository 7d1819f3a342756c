// Package state keeps what share-partitions have stored (package share), as a pure machine: the state of one partition of
// __share_group_state, in Kafka's own records.
//
// Flow: one event and the time go into a method of Machine; Effects come out: records to append, answers to requests. The
// caller (package coord) appends, reports each outcome with Appended, and sends the answers. After a restart Replay takes the
// log's records in, then Loaded. There is no IO here, no goroutine, no clock and no lock.
//
// What is kept of a share-partition is its start offset and the runs of records from there on that are not available for the
// first time. A ShareSnapshot holds all of it, a ShareUpdate what changed since; after Limits.UpdatesPerSnapshot updates a
// write becomes a snapshot. A tombstone of the snapshot deletes. What is before the oldest of all last snapshots is of no use
// any more; Expire begins a generation, gives all that have none in it a new snapshot, and Covered tells when all have.
//
// Invariants
//   - SS1: Every ticket is answered exactly once, at the latest by Close; a write after Appended reported its record durable,
//     with an error if it reported one.
//   - SS2: State changes when its record is durable, in the log's order, by the same code as in Replay. So what Read answers
//     is what a reload would answer, and it answers after everything that was appended for the same key before it.
//   - SS3: A snapshot is made only while nothing else of its key is on its way to the log, so it holds all before it.
//   - SS4: Epochs fence: of a key, no write is taken whose leader epoch or state epoch is below one that was taken before,
//     durable or on its way. Nor is a write taken of what is not initialized. When an append fails the caller must not append
//     what came after it, but close the machine and replay the log into a new one.
//   - SS5: A record never goes back: deliveries grow, then the state (share.Combine). The start offset moves back only by
//     Initialize, which makes everything new.
//   - SS6: Bounded: Limits.MaxKeys keys; runs of one key by Limits.MaxBatches.
//
// Concurrency: none; a Machine has one owner.
//
// Records, as in Kafka 4.3: ShareSnapshot has key 0 and value 0, ShareUpdate key 1 and value 0. Others are skipped.
//
// Files: machine.go (events, appends), request.go (the five requests), record.go (encode, decode).
package state
