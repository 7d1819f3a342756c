// Package shares is one share group (KIP-932) as a pure value: its members, which send heartbeats, what they read, and which
// partitions each of them shall fetch from. What becomes of the records is none of its concern (package sharing).
//
// Flow: an event (Heartbeat, Fence, Alter, ...) looks at the group and makes a Change and an answer; package group applies
// the change (Group.Apply), appends its records, and answers when they are durable. Replay applies the same records after a
// restart. A change may ask for share-partitions to be initialized; whoever does that tells the outcome by Initialized.
//
// A topic's partitions go through three lists, which are in the log: initializing (the share coordinator is asked to make
// them new), initialized (they may be assigned), deleting (the share coordinator is asked to forget the topic). A group's
// epoch grows with every change of who reads what, and when partitions become initialized; a target assignment is computed
// for the epoch, at most once in AssignmentInterval; members follow it at once, as partitions are shared.
//
// Invariants
//   - SG1: Only initialized partitions are assigned.
//   - SG2: Every initialized partition that somebody subscribes to has a member, and every member of a group in which all
//     read the same has one if there are any; a partition has at most as many members as an even spread asks for.
//   - SG3: Replaying the records of all changes gives the same group, but for what is not in the log (deadlines, what was last
//     seen of the topics, when initializing was last asked for).
//   - SG4: What an event refuses has no effect.
//   - SG5: An answer lost on its way does no harm: the member may repeat the request of its previous epoch.
//
// Concurrency: none; a Group has one owner.
//
// Records are Kafka's own, kinds 10 to 15 of __consumer_offsets.
//
// Files: group.go (state, events), heartbeat.go, state.go (the three lists), assign.go, record.go.
package shares
