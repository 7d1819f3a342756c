// Package atrest encrypts the objects of an object store.
//
// Flow: segments, manifests, tails, log groups -> Store (frames of AES-256-GCM) -> the object.Store behind it; and back, with ranged reads of the
// frames that are wanted. docs/formats/sealed-object.md describes the bytes.
//
// A store is encrypted from its first object on, or never: so the size that a listing gives tells the size of the content, without a look
// at the object. A plain object in an encrypted store is ErrSealed.
//
// Invariants, each with a test:
//
//	AR1  A Store keeps the contract of object.Store: it passes its suite.
//	AR2  No byte of a content or of its metadata is in the store behind in the clear, but names, sizes and times.
//	AR3  What was changed, cut, extended, exchanged with another object or frame, or written under another key is ErrSealed, and none of it is
//	     given to a reader.
//	AR4  No nonce comes twice under one key: each object has a key of its own, derived from a data key and a random salt, and each frame is
//	     encrypted once under it.
//	AR5  New objects take the newest data key; those under older ones stay readable.
//
// Concurrency: a Store is safe for concurrent use; a Writer is for one goroutine, as object says.
//
// Files: store.go, frames.go (bytes), reader.go, writer.go.
package atrest
