// Package audit reads what a cluster has acknowledged and says where it is not what was written.
//
// Flow: an Auditor makes passes, by itself at intervals and at a slow pace, and at once when somebody asks for one by a
// record in etcd (exchange.go). A pass checks each partition that its broker serves (partition.go): the manifest against
// the one in etcd and the store, each segment object to its last byte, then the log up to the high watermark by the reader
// that fetches use; a chain judges offsets, leader epochs and producers' sequences over all of it (chain.go). One broker
// of the cluster also looks at the store as a whole (store.go): tails that somebody needs, objects that nobody
// needs. Findings are logged, counted and written to etcd. Offline does the same to a cluster whose brokers do not run, but for
// their logs.
//
// A1: Nothing is changed: the auditor writes its own result records and nothing else.
// A2: A finding is true. What looks wrong is looked at again, by the manifest that is current then; a partition that
// is closed, frozen or taken over meanwhile is skipped and said to be. Retention, compaction, cuts and moves are no damage.
// A3: One fault is one finding: after damage the check goes on behind it, and judges nothing by what it could not read.
// A4: What could not be checked is never called clean: it is in Skips, with the reason. So is a partition that its broker
// could not open.
// A5: A broker reads no more than its pace allows, and keeps a bounded number of findings, skips and suspects.
// A6: An object is called an orphan only after it was seen without a reference twice, Config.Orphan apart, and listed before
// the references were read each time.
//
// What a chain does not judge: offsets and sequences inside of what compaction rewrote, and the sequences of a producer
// that was silent for so long that the broker may have forgotten it.
//
// An Auditor is safe for concurrent use, but for Run. Files: finding.go (what is said), chain.go (pure), partition.go,
// store.go, auditor.go (when passes are made, what came of them), look.go (a pass), exchange.go (records in etcd), offline.go, pace.go.
package audit
