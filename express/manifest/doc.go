// Package manifest says which segments a partition consists of.
//
// A manifest is an immutable body in the object store, written anew for every change, and one small pointer to it in kv,
// which moves by compare-and-swap. The pointer also holds the log start, so that deleting records costs no body.
//
// Flow of a change: Load -> Clone -> change the clone (segments are already finished objects) -> Commit: check, put body if
// absent, move the pointer if nobody else has. What a change leaves behind (the former body, segments that were replaced or
// dropped) has no reference any more; Sweep deletes it after a grace period.
//
// M1 (E6): Segments are ascending and gapless and reach from at or below LogStart to End: every offset in between is
// covered by exactly one object.
// M2 (E5): LogStart, End and the last leader epoch never go back from one version to the next; versions count by one.
// M3: A manifest refers only to objects of its own partition, that were in the store when it was committed, and whose
// description never changes.
// M4 (E6): Sweep deletes nothing that a current manifest refers to. See sweepPage for why, also against commits and reads
// at the same time.
// M5: Of concurrent commits over one version exactly one succeeds. A commit that succeeded is never reported as a conflict,
// even when the answer of the store was lost.
//
// M6: Once Fence has returned a manifest for a leader epoch, only commits over that one or its successors come to pass: an
// owner of an earlier epoch that is still there changes nothing any more, whatever it loads.
//
// A Manifest is a value that nobody changes once it is loaded or committed. Store is safe for concurrent use.
//
// Format: docs/formats/manifest.md. Files: manifest.go, validate.go (M1 to M3), encode.go (format), store.go (load, commit,
// delete), fence.go (M6), sweep.go.
package manifest
