// Package ledger records what the clients of a transactional bank did and saw, and decides whether a correct cluster could
// have shown it.
//
// The bank: a transfer moves an amount from one account to another and is three records, one in each of three topics: the
// debit, the credit, and the entry that tells of both. A transaction holds one or more transfers. Some transfers fulfil an
// order, which was read from a topic of orders whose offsets are committed in the same transaction. A lane is one
// partition of one of the three topics.
//
// Flow: workers call Begin before they send, Stands for each ack, Request before they ask for the commit, and Committed or
// Aborted when the cluster has answered; readers at read_committed call See for what they read; a watcher calls Watermark
// for the offsets it was told. At the end Verify compares all that with two walks over every lane: what a read_committed
// reader is given, and what a read_uncommitted reader is given, markers included.
//
// A transaction is committed (it was told so), void (its commit was never asked for, or it was aborted, or it was fenced
// before it asked), or open (it asked and never learned). In a correct cluster:
//
//   - B1: each record of a committed transaction stands once in the committed view, where its ack said (lost, moved, doubled).
//   - B2: no record of a void transaction stands there (undone).
//   - B3: the records of an open transaction stand there all or not at all (torn).
//   - B4: no reader at read_committed is given a record before its commit was asked for (early).
//   - B5: what such a reader was given at an offset stays (changed), and it was given every record of the committed view
//     between its start and the last record that it read, each once, in order (skipped, disordered).
//   - B6: an order that was accepted is fulfilled, and none is fulfilled twice (unserved, repeated).
//   - B7: debits and credits agree with the entries for each account (unbalanced).
//   - B8: the uncommitted view, markers included, has no gaps (gap), and every acknowledged record stands in it where its ack
//     said, those of void transactions too (hidden).
//   - B9: a record stands in the committed view exactly if the next marker of its producer in its lane is a commit
//     (misread), and at the end each record has such a marker (hanging).
//   - B10: high watermark and last stable offset never go back (backwards), the second is not above the first (beyond), and it
//     lies above all that readers at read_committed were given (stale).
//   - B11: nobody is told that a transaction committed which was fenced before it asked (zombie).
//   - B12: every record was sent by someone, to this lane, with these bytes (phantom, corrupt).
//
// The package is pure: it talks to nobody and knows no time. A Book, its transactions and readers are safe for concurrent
// use; Verify is called once, when all of that has ended.
//
// Files: book.go (workers), reader.go (readers and the watcher), value.go (the bytes of records), verify.go (the judgement
// of the committed view), raw.go (the judgement of the uncommitted view).
package ledger
