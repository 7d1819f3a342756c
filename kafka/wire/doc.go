// Package wire speaks the outer layer of the Kafka protocol: frames, request and response headers, the two hot bodies
// (Produce requests in, Fetch responses out) by hand, and a guarded door to kmsg for every other request.
//
// Flow in: frame -> DecodeHeader -> DecodeProduce, or Decoder.Decode. Flow out: AppendResponseHeader -> FetchEncoder, or
// kmsg's AppendTo.
//
// WI1: no function here panics on any input, and none allocates more than the input's own bytes justify. Counts are
// checked against the bytes that are there before anything is made by them.
// WI2: Produce records and names are slices of the frame; nothing is copied. They live as long as the frame does.
// WI3: Fetch records are never copied: they stand in the net.Buffers as they were given.
// WI4: what Decoder lets through to kmsg is well formed in its lengths, counts and tags, and its decoded size is bounded.
//
// All functions are safe for concurrent use; FetchEncoder is not.
//
// Files: header.go (frames, headers, flexible versions), reader.go (primitives), produce.go, fetch.go, decode.go (the
// guarded door), layout.go (how it learns the layout of a request).
package wire
