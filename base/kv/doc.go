// Package kv is the only door to etcd: a small, strongly consistent store of keys with transactions,
// leases and watches.
//
// It holds what must be agreed on (who owns what, what is configured) and never anything per record,
// per batch or per group offset. KV is the contract; package kv/etcd fulfils it over an etcd cluster or an
// embedded member, Memory in this process; package kvtest is the suite that both pass.
//
// Flow of a reader: List gives the items and their revision, Watch from the next revision gives every
// change after it; when Watch ends with a Resync, list again. Follow does just that.
//
// K1: Every Txn that applies gets a revision of its own, higher than all before; its conditions and
// writes are one step for every reader.
// K2: Get, List and Txn see all that was acknowledged before they began.
// K3: A watch delivers every change of its prefix from its first revision on, in order of revision, each
// once; or it delivers Resync and ends. It never leaves a gap.
// K4: A Txn is never applied twice. When its outcome cannot be known it returns ErrUnknown.
// K5: A lease's Deadline never lies after the time at which the store may let it expire, so a holder that
// stops at its Deadline stops before anybody else can see the lease gone (given clocks of equal speed).
// K6: A dependency that is away makes calls wait, until their context ends; it does not end the KV.
//
// Everything here is safe for concurrent use. Files: kv.go (contract), follow.go, lease.go (how a lease is
// kept, for both implementations), memory.go and memwatch.go.
package kv
