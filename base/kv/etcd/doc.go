// Package etcd fulfils kv.KV over etcd: Dial connects to a cluster or to a member that StartEmbedded runs in
// this process.
//
// An embedded member listens on one unix socket in a directory that only its owner may enter, and has no
// peer listener at all, so it cannot be reached from outside the machine or by other users of it.
//
// N1: Two members never run on one data directory: StartEmbedded holds a kernel lock on it.
// N2: Writes are synced to disk before they are acknowledged.
//
// Client and Embedded are safe for concurrent use. Files: client.go, txn.go, watch.go (kv.KV), embedded.go,
// socket.go (where the socket is), logging.go (etcd's log into slog).
package etcd
