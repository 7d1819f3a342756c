// Package view is one moment of a cluster of Apache Kafka as plain data, and what follows from it: in which order nodes are started anew,
// which may stop now, what is not yet as it was, and what is wrong with partitions, and because of whom.
//
// Flow: warden reads a Cluster -> Order, MayStop, Settled, Examine. All of it is pure: nothing here asks anybody, or knows the time.
//
// Invariants, each with a test:
//
//	V1  Order returns each node that it was given once: controllers before brokers, those that do not take part before those that do,
//	    the active controller last of the controllers, and else by id.
//	V2  Where MayStop lets a broker stop, each partition that has more replicas than min.insync.replicas keeps that many in sync
//	    without it, and each with no more replicas than that has all of them in sync before. Nothing stops without an active controller.
//	V3  Where MayStop lets a controller stop, a majority of the voters takes part without it.
//	V4  A broker that does not run may stop, and be started with an empty disk, just when none of its partitions has its last complete
//	    replica there: one whose replicas in sync are all away comes back with whoever has all, and whoever comes back empty in his
//	    place would make that the truth. A broker that runs and has fallen behind is needed where a partition of it is below
//	    min.insync.replicas: it may be the first to catch up.
//	V5  Settled is "" just when all known brokers run, each replica that is not on its way is in sync, and all voters keep up.
//
// A node that is broker and controller is asked about as both, and comes with the controllers. Files: view.go (data), stop.go (Order,
// MayStop, Settled), health.go (Examine).
package view
