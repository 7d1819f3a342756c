// Package modern is what the groups of Kafka's newer protocols (consumer, share, streams) have in common: what a group knows
// about topics, assignments by topic id, errors with a text for the client, the records and timers that an event leads to,
// and the pieces of which those records are made.
//
// Flow: an event makes a Change of a group without touching it; whoever keeps the groups (package group) sees that the log
// can take it, applies its records to the group by the same code as after a restart, sets its timers, and appends the
// records. So a group is at any time what its records say, and a refused event leaves no trace.
//
// Invariants
//   - B1: A Partitions or Owned value, and what it holds, never changes once it was made; groups share them freely.
//   - B2: Everything iterates in sorted order, so that the same events have the same effects, to the byte.
//   - B3: Bytes of the log that make no sense are ErrCorrupt, never a panic, and need memory in proportion to their length.
//
// Concurrency: none; these are values.
package modern
