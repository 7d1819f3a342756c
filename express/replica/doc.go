// Package replica reads, on any broker, what the owner of a partition has moved into segments (KIP-392): consumers fetch old
// records in their own zone, and the owner keeps its memory and network for the newest.
//
// Flow: the owner names a broker of the consumer's zone -> that one reads here, by the partition's manifest -> at the end of
// the segments it answers ErrBeyond, and the consumer goes back to the owner.
//
// R1: What is read is what the owner would give: segments never change, hold decided transactions only, and know the aborted
// ones.
// R2: A manifest that is kept is at most maxAge old, so a log start may lag by that; a segment that went meanwhile has it read
// anew, and never makes a gap.
// R3: Memory is bounded: at most manifestsMost manifests are kept.
package replica
