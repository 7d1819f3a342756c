// Package wal makes the record batches of all partitions of one broker durable in one ordered log, and is itself the
// first home of that data: a sealed file stays readable as data until every partition in it was cut to segments, trimmed
// or deleted.
//
// Flow of an append: partition -> Stream.Append (checks, queues) -> committer: takes what is queued, writes it as one
// commit group, syncs once, shows it to readers, calls Done. While a group is being synced the next one gathers; there is
// no other delay. Flow of a read: Stream.Read -> index (in memory for the active file, in the footer for sealed ones) ->
// one pread per neighbourhood of runs -> slices of one slab.
//
// Three goroutines: the committer writes groups; the preparer has the next file ready; the keeper seals rolled files and
// removes dead ones. Only the committer writes to the active file.
//
// Invariants, each with a test:
//
// W1: Done(nil) is called, and End moves, only after the entry and everything before it in the log is synced.
// W2: Done is called exactly once per taken entry, in append order over all streams.
// W3: After a failed group all entries queued behind it fail before a new one is taken, and a failed stream takes only
// an entry at the offset that failed first. So offsets in the log have no gap that a failure made.
// W4: Nothing of an entry that failed with ErrNoSpace is ever read, not after a crash either. An entry that failed with
// ErrFailed has an unknown outcome, as if its acknowledgement were lost: it may be there after recovery.
// W5: A failed sync is never asked again. Only a full device is survived, by cutting the file back to its last good
// group and syncing that; after any other failed write or sync the log takes nothing more.
// W6: Recovery yields a prefix of the groups in commit order that holds every acknowledged one, byte for byte, and makes
// it durable before Open returns. Where acknowledged data is known to be damaged, Open refuses with a CorruptionError.
// W7: A group becomes readable whole or not at all, and what was readable stays so until Trim or Forget.
// W8: A file is removed only when no stream has data in it that is neither trimmed nor forgotten, and nobody reads it.
// W9: Memory is bounded: QueueBytes, one group's header, the index of the active file (128 Ki runs), a cache of the
// sealed files' indexes (64 Ki runs), and one Extent per stream and file.
//
// W10: With World.Keys nothing of a record is on the disk in the clear, and no nonce is used twice under one key, whatever a crash or a
// full device leaves (cipher.go). A key that is missing or wrong is ErrKey before anything is changed.
//
// With a World.Replica the log is durable there, group by group, and its files only serve reads: they are never synced, and wiped by Open,
// so W6 is the Replica's, and "synced" reads "stored, and all groups before it". The committer writes a group to the file, hands it to the
// Replica, and goes on gathering; what it publishes and acknowledges, it does when the Replica is done with it, in order. So several groups
// are in flight (Pipeline), a file is sealed only when its last one has landed, and the bytes in flight count as queued (W9). When the
// Replica fails, all that is in flight or queued fails in order with ErrFailed. What no file holds any more is trimmed from the Replica:
// not before W8 lets go of the file.
//
// What recovery can tell apart: because a group is written only after the one before it was synced, at most one group is
// incomplete after a crash, and it is the last. Damage with a whole group behind it, in the same file or in the one that
// continues it, is therefore corruption and refused; damage with nothing behind it is taken for the group that was torn,
// and cut off. The one case that looks alike is a last acknowledged group that the medium damaged later: no log without a
// second copy can tell it from a torn one. It is logged as a warning with file and offset.
//
// What a device must do: sectors of 512 bytes are written whole or not at all, and rewriting a sector in which only the
// later bytes differ does not endanger the earlier ones.
//
// The format is described in docs/formats/wal.md.
//
// Files: wal.go (Log), append.go (queue), commit.go (committer), replicate.go (committer with a Replica), replica.go (what that is),
// keeper.go (preparer, sealing, removal), stream.go, read.go, index.go and cache.go (where runs lie), recover.go (replay),
// file.go, batch.go, format.go and footer.go (bytes), cipher.go (encryption).
package wal
