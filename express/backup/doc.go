// Package backup keeps what a cluster has in etcd, and brings it back into an empty one.
//
// Flow: Take lists everything in etcd at one revision; what is there under a lease belongs to processes and stays out.
// Write and Read are the file (docs/formats/backup.md). Restore is in two steps: Prepare compares the backup with the store,
// and with the brokers' logs where they can be reached, and makes a Plan that says what will be and what is missing;
// Apply writes it.
//
// The records themselves are in the store and in the logs, and go on while a backup grows old. So a restore looks for
// what happened since: the newest manifest of each partition is found by its bodies in the store, a partition's owner by
// the log that holds its newest records, a tail by its object.
//
// B1: A backup is what etcd held at one revision. A backup that is damaged or cut short is refused whole.
// B2: Nothing is written to etcd before everything was compared; what is missing is said, and refused unless it is accepted.
// B3: An etcd that holds something is refused unless it shall be overwritten; one that a broker is registered in, always.
// B4: After a restore no leader epoch or producer id is given out that may have been given out before, and no process of
// before it may serve.
// B5: A restore that was cut short can be repeated, and until it has ended no broker serves: the record that says which
// cluster it is comes last, and a store is refused to any other cluster.
//
// Files: format.go, take.go, prepare.go, logs.go, apply.go.
package backup
