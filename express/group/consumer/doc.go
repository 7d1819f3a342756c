// Package consumer is one group of Kafka's consumer protocol (KIP-848) as a pure value: members that only send heartbeats,
// and a coordinator that computes their assignments and walks them there one by one. Members of the classic protocol may be
// in it too.
//
// Flow: an event (Heartbeat, JoinGroup, Fence, ...) looks at the group and makes a Change and an answer; package group applies
// the change (Group.Apply), appends its records, and answers when they are durable. Replay applies the same records after a
// restart. So the group is always what its records say, and there is one piece of code for both.
//
// Three epochs. The group's grows with every change of who reads what. A target assignment is computed for the group's epoch,
// at most once in AssignmentInterval. Each member moves to the epoch of the target assignment once it has nothing left to
// give up:
//
//	                 must give up something
//	Stable ─────────────────────────────────> UnrevokedPartitions
//	  │  ^                                            │ has given it up, as its heartbeat says
//	  │  └──────────── all it shall have is free <────┤
//	  │                                               v
//	  └── something it shall have is taken ──> UnreleasedPartitions
//
// Invariants
//   - N1: A partition is never with two members at once (Assigned or Revoking): it goes to a member only when nobody has it.
//   - N2: A member is in at most the epoch of the target assignment, that at most in the group's. Neither of the latter goes
//     back; the member's does only when it rejoins.
//   - N3: Replaying the records of all changes gives the same group, but for what is not in the log (deadlines, what was
//     last seen of the topics).
//   - N4: What an event refuses has no effect.
//   - N5: When nothing changes any more and all members go on sending heartbeats, every member becomes Stable with its target
//     assignment, and every partition of every topic that somebody reads has one owner.
//   - N6: A member that neither sends heartbeats nor gives up what it must is taken out in time: each has a Session deadline,
//     and a Rebalance deadline while it is in UnrevokedPartitions; classic members have Join and Sync deadlines instead.
//   - N7: An answer lost on its way does no harm: the member may repeat the request of its previous epoch.
//
// Where we differ from Kafka:
//   - Regular expressions are resolved in the same event, after its answer is made, not by another thread; what a client sees
//     is the same as from a quick thread. Their length is bounded.
//   - Nothing refreshes on its own; like Kafka's, a group looks at its topics when a member sends a heartbeat.
//   - Members are served in the order of their ids, where Kafka's order is that of a hash table.
//
// Concurrency: none; a Group has one owner.
//
// Records are Kafka's own, kinds 3 to 8 and 16 of __consumer_offsets.
//
// Files: group.go (state), member.go, heartbeat.go, target.go (epochs and target assignment), reconcile.go (the picture above),
// regex.go, classic.go and subscription.go (members of the classic protocol), convert.go (to and from classic groups),
// admin.go (describe, check commits), record.go.
package consumer
