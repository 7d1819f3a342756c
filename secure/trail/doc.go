// Package trail is the audit trail: an append-only, hash-chained record of who did what.
//
// Flow: a login, a refusal or an administrative call makes an Event -> Log.Record (gathers repeats, queues) -> the goroutine of Log.Run
// writes what has gathered as lines and syncs once -> at intervals the head of the chain goes into etcd as an Anchor. Read and Follow
// give the lines of all writers in the order of time; Verify checks the chains against their anchors.
//
// Each process has a chain of its own, in a directory of its own below one root: the brokers, the control plane, each gateway. A line
// names the hash of the line before it, so a line that is changed, taken out or put in breaks the chain behind it; an Anchor names
// the last line, so that the end cannot be rewritten or cut off either, by somebody who cannot write to etcd or does not have the key
// that anchors are sealed with. docs/formats/trail.md describes both.
//
// Invariants, each with a test:
//
//	T1  Lines are numbered from 1 without a gap, and no number is given twice, whatever ends the process. Where the end of a chain is
//	    missing at a start, the chain goes on behind its anchor, and the anchor keeps the gap for ever.
//	T2  An anchor never runs ahead of what is durable: a crash is not taken for tampering.
//	T3  Any change of a byte, removed, added or reordered line, file or end of a chain that is older than its anchor is found by Verify, also after
//	    the writer has started again. Lines put in behind the end are cut off at a start, as a torn end is.
//	T4  Record never blocks. Memory is bounded: Config.Queue events, Config.Repeats kinds of repeats, and a line has at most maxLine bytes.
//	T5  Nothing is lost in silence: what found no room, and what could not be written, is counted, and the count is the next line.
//	T6  A flood of refusals that are alike takes one line for each Config.Window; administrative calls have room of their own in the
//	    queue, which no flood takes.
//	T7  The oldest files are removed only when the anchor says from where on the chain is kept.
//
// Concurrency: Log is safe for concurrent use; Run is called once. Log.mu protects the queue and the repeats and is held for moments only.
//
// Files: event.go, line.go (bytes), repeats.go (what is alike), log.go (writer), anchor.go, read.go (cursors), verify.go.
package trail
