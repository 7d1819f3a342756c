// Package tail is the object by which a partition's newest records go from one broker to another: the end of its log
// that is in no segment yet, as whole record batches with their offsets, leader epochs and producers as they are.
//
// Flow: the owner that releases a partition makes a Writer, appends the batches in order and finishes it; the key then
// stands in the partition's record of the catalog. The new owner opens a Reader and takes the runs of batches into its
// own log, one after the other. The object is deleted when that is durable; what crashes leave behind goes by Sweep.
//
// T1: A Reader hands out nothing that it has not checked: every byte is covered by a checksum, every batch by its own.
// T2: The batches of a tail follow each other without a gap, and their leader epochs never fall. A run has one epoch.
// T3: A tail that ends early, or goes on behind its end, is corrupt; io.EOF comes only where it ends whole.
// T4: Memory is bounded by one run: runBytes, or one batch, and never more than the object holds.
// T5: Sweep deletes only what no owner can need any more; see Sweep.
//
// Writers and Readers are for one goroutine each. The format is described in docs/formats/tail.md.
//
// Files: tail.go (keys, header), writer.go, reader.go, sweep.go.
package tail
