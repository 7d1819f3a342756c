// Package assignor has Kafka's server-side assignors of consumer groups: functions that say which member shall have which
// partitions, from what the members subscribe to and what each was to have before.
//
// Uniform spreads all partitions evenly over the members, topics mixed. Range gives every member a part of each topic, the
// same numbers of each topic where it can, so that joins of topics with equal partitioning work. Both keep as much as they
// can where it was.
//
// Invariants
//   - A1: Every partition of every topic that somebody subscribes to goes to exactly one of its subscribers; nothing else is
//     given out.
//   - A2: Where all members subscribe to the same, no two differ by more than one partition (Uniform: in all; Range: per
//     topic). Elsewhere Uniform leaves no partition whose move to another subscriber would even things out.
//   - A3: An assignment that is whole and even already is returned as it is.
//   - A4: Members are served in a fixed order (by id; Range: static members first, by instance id), so the result depends on
//     nothing but the arguments.
//
// Where Kafka goes through members and topics in the order of a hash table, we go through them in order.
//
// Concurrency: the functions keep nothing, and are safe for concurrent use.
package assignor
