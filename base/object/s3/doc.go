// Package s3 is an object.Store in a bucket of Amazon S3, or of a server that speaks its protocol.
//
// Flow: Parse reads the URL that --store takes -> Open makes the client, and probes the bucket: whether it can be reached, written
// to, and keeps its word about conditional writes. Then every call of the Store is one request, but for Create, which uploads in
// parts, and for reads of a Reader that take too long, which are asked for a second time (hedge.go).
//
// S1: A creation is conditional (If-None-Match), so of many exactly one succeeds. A store that ignores the condition is refused by
// Open with ErrUnconditional: nothing could fence a broker there.
// S2: An answer that was lost leaves no doubt about a creation: each carries a nonce of its own in the object's metadata, and a refusal
// after a repeated request is compared with it. What is ours was not refused.
// S3: A Reader reads one object: every range is asked for with the entity tag that Open has seen. An object that was replaced or deleted
// gives an error, never other bytes.
// S4: Memory is bounded: a Writer holds at most partsAtOnce parts, whatever the object's size.
// S5: A request that fails for reasons that pass (5xx, SlowDown, a broken connection) is repeated with growing pauses, attempts times in
// all, within its context; then the error is the caller's to handle.
//
// Everything here is safe for concurrent use, but a Writer. Uploads that a crash left behind cost money until they are ended: the
// bucket should have a lifecycle rule that aborts incomplete multipart uploads after a day.
package s3
