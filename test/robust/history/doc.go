// Package history records what clients saw of a cluster and decides whether a correct one could have shown it.
//
// Flow: producers call Invoke before they send and Ack when the cluster has answered; readers call Observe for what
// they read and Watermark for the end offsets they were told; at the end Verify walks the whole log once and returns
// every violation, of the during-the-run kinds too.
//
// A correct log, for idempotent producers without transactions, retention or compaction:
//
//   - R1: an acknowledged record stands exactly at the offset of its ack, with the bytes that were sent (lost, moved, corrupt).
//   - R2: a record stands at most once, acknowledged or not (doubled).
//   - R3: the records of one producer stand in the order in which it sent them (reordered).
//   - R4: every record was sent by someone (phantom).
//   - R5: offsets begin at 0 and have no gaps (gap).
//   - R6: what a reader saw at an offset stays there for ever (changed).
//   - R7: the end offset never goes back (backwards), and once an ack has arrived it lies above the ack's offset (stale).
//
// A record whose outcome the client never learned may stand in the log or not.
//
// The package is pure: it talks to nobody and knows no time. A History and its producers are safe for concurrent use;
// Verify is called once, when all of that has ended.
//
// Files: history.go (recording), value.go (the bytes of a record), verify.go (the judgement).
package history
