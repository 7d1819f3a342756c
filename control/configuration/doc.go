// Package configuration keeps the configurations of clusters, which are lists of broker properties with revisions, and brings a revision
// into force at a cluster.
//
// Flow: the text of server.properties -> Parse -> Store.Create or Update (checks it, keeps it as a revision) -> an operation of the plane asks
// Applier.Plan whether brokers must be started anew, calls Applier.Apply, and starts brokers with Applier.Starting. Applier.Drift tells what
// somebody has changed at the brokers since.
//
//	ACTIVE -> DELETING -> gone, and DELETING -> ACTIVE where a cluster uses it after all
//
// Invariants, each with a test:
//
//	F1  A revision never changes and its number is never given twice; the newest of a configuration is its Latest, and numbers have no gap.
//	F2  What is kept passed the check: each property is writable, known and within bounds, and all of them fit together. Otherwise nothing
//	    is written, and the error names every fault with its line.
//	F3  A configuration that a cluster uses is not deleted, and one that is being deleted is taken by no cluster: who begins to use one puts
//	    Store.Holds among the conditions of its own write.
//	F4  Everything changes by compare-and-swap; a delete that was broken off is finished by Store.Resume.
//	F5  What Apply has set at a cluster stands in a record there, written before it is set. So after a crash, whatever was set by one revision
//	    and is not in the next is taken back.
//	F6  Apply touches only what a revision has or had: what else somebody sets by AlterConfigs stays, and Drift shows it.
//	F7  At most 100 configurations, with at most 50 revisions each.
//
// # Properties
//
// An express cluster takes 34 properties (table.go), a Serverless cluster takes none (ErrServerless). They are of three kinds:
//
//	Live   brokers take a new value at once, through IncrementalAlterConfigs
//	Start  brokers take it when they start: a change of one makes a rolling restart. Starting gives these to who starts brokers, FormatStarting as
//	       the text of their specs;
//	       what brokers were not started with shows in Drift
//	Kept   it is checked and kept, and has no effect, because express has no such part: advertised.listeners (the plane gives brokers
//	       their addresses), leader.imbalance.per.broker.percentage (ownership is balanced all the time), max.connections.per.ip.overrides
//	       (limits of addresses stand in the cluster's network rules), replica.fetch.max.bytes and replica.selector.class (there are no
//	       followers to fetch, every broker serves what it owns)
//
// In etcd, versioned JSON: control/configurations/NAME (what it is), control/revisions/NAME/NNNN (its revisions), control/configuration-serial
// (changes with every create), clusters/CLUSTER/configuration (F5).
//
// Store and Applier are safe for concurrent use. Files: properties.go (the text), table.go (what is writable), check.go (faults), record.go,
// store.go, delete.go, apply.go, starting.go (the text of what brokers are started with), drift.go, watch.go (drift in the log).
package configuration
