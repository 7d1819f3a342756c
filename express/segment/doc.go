// Package segment keeps record batches of one partition in immutable objects: writes them, reads them, compacts them.
//
// Flow in: Create -> Append -> Finish gives an Info, which the partition's manifest then refers to. Flow out: Cache.With
// lends a Reader; Read finds the place by the index (binary search in memory) and takes the batches with one ranged read
// into a slab, walking their headers, copying nothing. Compact reads segments and writes their successors.
//
// S1: An object is never changed, and has a key that was never used before.
// S2: A segment covers [Base, End) whether or not it has a record for each offset. Batches lie in that range, ascending.
// S3: Everything but the batches has a checksum that is looked at before use; each batch has its own, for its reader.
// What an object says about lengths is checked against its real size before memory is taken for it.
// S4: An object of a newer format is refused with ErrNewer and left alone.
// S5: Compaction changes no offset, timestamp or order of what it keeps, and its outputs cover what its inputs covered. It
// drops a record only if a later one with its key is kept or was dropped as an expired tombstone, if it is an expired
// tombstone itself, has no key, or was aborted.
//
// Reader and Cache are safe for concurrent use, Writer is not.
//
// Format: docs/formats/segment.md. Files: segment.go (Info, keys), footer.go and index.go (format), writer.go, reader.go,
// scan.go (walking batches), verify.go, cache.go; compact.go, keymap.go and rewrite.go (compaction).
package segment
