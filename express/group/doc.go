// Package group is the state of the groups of one partition of __consumer_offsets as a pure machine: Kafka's JoinGroup,
// SyncGroup, Heartbeat and LeaveGroup protocol, committed offsets, their expiry, and what administrators ask about all that.
// It knows which protocol each group speaks; groups of the newer ones have packages of their own (kind.go, consumer.go).
//
// Flow: one event and the time go into a method of Machine; Effects come out: records to append to the log, answers to
// requests, notes for people. The caller appends, reports each outcome with Machine.Appended, sends the answers, and calls
// Machine.Advance at Machine.Deadline. After a restart Machine.Replay takes the log's records in, then Machine.Loaded. There
// is no IO here, no goroutine, no clock, no randomness and no lock, so a test can play any history.
//
// A group's states. Every join that changes something leads to PreparingRebalance, where all members must join again; when
// they have (or the time is up) the next generation begins; when the leader's assignment is durable, it is stable.
//
//	        join                    all joined, or time is up
//	Empty ────────> PreparingRebalance ──────────> CompletingRebalance
//	  ^  nobody left  │  ^  ^                │ join, leave,     │ assignment
//	  │<──────────────┘  │  └────────────────┘ session expired  │ durable
//	  │                  └───────────────────────── Stable <────┘
//	  └─> Dead (being deleted: takes no request, and becomes Empty again if the log refuses)
//
// Invariants
//   - G1: Every ticket is answered exactly once, at the latest by Close, as long as time goes on and outcomes come in. The
//     exception is a ticket whose request a later one of the same member has replaced: it is answered then.
//   - G2: An answer that promises something to be stored (an assignment, an offset, a deletion, a static member's new id, a
//     leave that empties the group) comes after Appended reported its records durable, and is an error if it reported one.
//   - G3: Offsets change when their records are durable, in the log's order, by the same code as in Replay. So what Offset
//     returns is what a reload would return.
//   - G4: A group's generation grows by one with each end of a join phase. All members of a generation were told the same
//     generation, protocol and leader, and only the leader's assignment counts.
//   - G5: Every state but Empty and Stable has a deadline that ends it, so no rebalance is stuck while time goes on; every
//     member and every pending member has a session, except while it waits in a rebalance that has a deadline itself.
//   - G6: A log of nothing but durable records, replayed, gives each group its last stable (or empty) generation. Joins of
//     an unfinished rebalance are not in the log; their members find out by UNKNOWN_MEMBER_ID or ILLEGAL_GENERATION.
//   - G7: The same events at the same times have the same effects, to the byte.
//   - G8: A group of a newer protocol is ahead of the log (machine.M3). Every answer that shows something of it waits until
//     all that the group has asked the log for is durable.
//
// G2, G4 and G6 are about classic groups; offsets are as G3 says in all.
//
// Where we differ from Kafka:
//   - A group enters the log with its first generation or offset, not with its first JoinGroup.
//   - A request that a retry of the same member replaced is answered REBALANCE_IN_PROGRESS; Kafka never answers it.
//   - While a static member's new id is on its way to the log, further restarts of static members of a stable group are told
//     to try again (COORDINATOR_LOAD_IN_PROGRESS), so that no record holds an id that the log may yet refuse.
//   - The number of groups, of pending members and the bytes of a group are bounded.
//   - Votes for a protocol that tie, and the choice of a new leader, go to the oldest member, where Kafka takes any.
//
// Concurrency: none; a Machine has one owner.
//
// Records are Kafka's own, of __consumer_offsets: OffsetCommit key 1 with value 3 (1 with an expiry of its own, 4 with a
// topic id), GroupMetadata key 2 with value 3; tombstones delete. Older versions are read, other kinds are skipped.
//
// Files: machine.go (events, effects, appends), state.go (group and member), join.go, rebalance.go, sync.go (SyncGroup,
// Heartbeat, LeaveGroup), offsets.go (commit, delete, expire), admin.go (list, describe, delete), record.go (encode,
// replay), timer.go (deadlines), txn.go (offsets in transactions), kind.go (groups of the newer protocols), consumer.go
// (those of the consumer protocol), share.go (share groups). testdata/ has transcripts,
// and records that Apache Kafka wrote.
package group
