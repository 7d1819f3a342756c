// Package sharing serves share groups on the broker that owns the partitions: share sessions, fetches that wait, acknowledgements,
// and the locks of what members hold (KIP-932).
//
// Flow: API -> Manager.Open (session) -> Manager.Acknowledge and Manager.Fetch -> sharePartition, which keeps the pure state
// (package share) of one group on one partition -> the log to read, the Persister to store. A sharePartition is loaded by its
// first fetch. What its changes store is written in their order, one write at a time; what gathers meanwhile shares the next
// one. Fetches wait for the log, for records that come back, and for each other: only one reads a sharePartition at a time.
//
// Invariants
//   - SH1: An acknowledgement is answered without an error only after the Persister said that it is durable.
//   - SH2: A sharePartition that was fenced (another owner, deleted, its group gone) acquires and acknowledges nothing any more,
//     and no new one takes its place before its last write has come back.
//   - SH3: When a session ends, for whatever reason, what its member holds is released.
//   - SH4: Bounded: sessions and their partitions (Config), what is in flight by package share, fetches by the caller.
//   - SH5: No lock is held over IO or a call of the Persister.
//
// Concurrency: Manager is safe for concurrent use. Lock order: Manager.mu, then sharePartition.mu.
//
// Files: manager.go (life, table of sharePartitions, lock timer), session.go, fetch.go, partition.go (sharePartition),
// store.go (its writes), metrics.go.
package sharing
