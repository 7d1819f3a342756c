// Package partition is one partition on the broker that owns it: it gives the
// offsets, keeps the producers' state, moves the high watermark and decides
// where a read finds its bytes.
//
// # Flow
//
// A batch comes in by Append (append.go): it is checked, gets its offsets by
// having them patched into its header, and is queued on the partition's stream
// of the write-ahead log. When the log calls back, the bytes are durable: the
// high watermark moves, waiting fetches wake (waiter.go) and the producer gets
// its answer. A Read (read.go) takes segments below the manifest's end and the
// write-ahead log above it. Transactions (transaction.go) begin with the first
// batch that a guard lets in and end with a marker. In the background (maintain.go, compact.go) sealed
// parts of the log are cut into segments, retention moves the log start, and
// compaction rewrites segments; each ends in one commit of the manifest.
//
// # States
//
// A partition that goes to another broker (handover.go) is first served on while Shrink cuts most of its log into
// segments, then frozen, then closed, or thawed where the other broker does not get it after all:
//
//	serving --Freeze--> frozen --Thaw--> serving
//	serving, frozen --Close, Delete--> closed
//
// While it is frozen, WriteTail writes what is in no segment as one object. Import takes that in at the other broker,
// which then opens the partition. Where a broker died, Replay takes the same from its log instead (replay.go).
//
// # Invariants
//
//	P1  logStart <= LSO <= HW <= end; none of the first three ever goes back.
//	P2  Offsets are given in the order in which the log makes batches durable:
//	    an offset below HW never changes its record.
//	P3  A reader sees only what is below HW, so only what is durable.
//	P4  A failed write leaves no trace: end and the producers' state return to
//	    what is durable before another batch is taken.
//	P5  A duplicate is answered with its first offset, and not before that
//	    offset is durable.
//	P6  The manifest's segments and the log's stream meet without a gap at the
//	    manifest's end; the stream is trimmed only after the commit.
//	P7  What batches decompress to, at a time and over all partitions, stays
//	    within World.Inflate.
//	P8  A segment holds decided transactions only, and knows all aborted ones that
//	    reach into it; those of the log are in memory. LSO is the first offset of
//	    the oldest open transaction, or HW.
//	P9  A client's batch begins a transaction only with a Guard, and no marker of
//	    the producer came in between, so each transaction has somebody to end it.
//	P10 Frozen, nothing is in flight and nothing changes: no batch is taken, end = HW, and no manifest is
//	    committed. Whoever asks for a change meanwhile waits for at most patience, and then hears ErrNotOwner.
//	P11 A closed partition takes no batch and commits no manifest, except that Delete removes it.
//	P12 A tail is exactly the batches in [manifest's end, HW) as they stand in the log, with offsets, leader
//	    epochs, producers and markers; P8 makes all open transactions part of it.
//	P13 What Import brings in is durable in the log, whole, when Import returns nil; before that, nobody may
//	    open the partition. It may be repeated, on a new stream.
//	P14 A Replay brings in exactly the batches of a log from the manifest's end on, each once and without a gap, or
//	    names the partition as failed; it holds for what it brings in as P13 does, when Finish returns. The rest of an
//	    earlier stay in that log, whose begin is trimmed, is passed over: what came with the later one covers it.
//
// # Concurrency
//
// All methods are safe for concurrent use. Lock order: maintenance, committing,
// appending, mu. maintenance is held over the background work of one partition,
// committing over the commit that ends it; appending over the queueing of one batch, so that the order of offsets and
// the log's order are one (the log may block there, which is the producers'
// back-pressure); mu guards the fields and is never held over IO.
package partition
