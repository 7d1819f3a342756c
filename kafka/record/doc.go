// Package record reads, checks and writes record batches in Kafka's format v2, the only one that brokers store.
//
// Flow in: Next splits a run of bytes into batches, Check validates what a producer sent, the setters of Batch put in
// what the broker decides, in place. Flow out: Batch.Records iterates, decompressing as it goes. Builder makes batches,
// EncodeMarker transaction markers, Recompress changes the codec.
//
// R1: base offset and leader epoch lie outside the checksum, so they are set without computing it; every other setter
// computes it anew.
// R2: no input makes this package panic, and what it allocates is bounded by the input's size plus the limit given for
// decompression. What comes out of a decompressor is counted, not believed.
// R3: a batch is never copied unless a function says so; Records yields slices that live until the next record.
// R4: a null key or value stays null, an empty one stays empty.
//
// Functions are safe for concurrent use, a Builder is not, nor are changes of a Batch.
//
// Layout of a batch: base offset 8, length of the rest 4, leader epoch 4, magic 1, CRC-32C of all that follows 4,
// attributes 2, last offset delta 4, base timestamp 8, max timestamp 8, producer id 8, producer epoch 2, base sequence 4,
// number of records 4, records. All integers are big endian.
//
// Files: batch.go (the view), check.go (validation), iterate.go (reading), parse.go (one record), builder.go (writing),
// marker.go (transaction markers), codec.go (compression), snappy.go (its framing).
package record
