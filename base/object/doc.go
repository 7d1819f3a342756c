// Package object stores immutable blobs under keys: segments, write-ahead log objects, snapshots.
//
// Store is the contract; Files fulfils it on a file system, Memory in this process, and Faulty fails calls of
// another Store on purpose. Package objecttest is the suite that all pass. Stores of cloud vendors fulfil
// the same contract.
//
// O1: An object is visible whole or not at all, and durable when the call that made it has returned nil.
// O2: Of concurrent creations of one key (PutOptions.IfAbsent, Writer.Commit) exactly one succeeds, and the
// others get ErrExists.
// O3: What one call has made, every later Get-like call and List sees, in any process.
// O4: A call that failed for any other reason than ErrExists, ErrNotFound or ErrBadKey may or may not have
// taken effect (a network may lose the answer); a caller who needs to know reads the object back.
//
// Every Store and Reader is safe for concurrent use, a Writer is not. Files: object.go (contract), files.go
// and upload.go (file system), memory.go, fault.go (errors on purpose).
package object
