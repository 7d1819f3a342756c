// Package node builds one express broker of its rooms, runs it and takes it
// down again.
//
// Start, in this order, each step with its reason: the directory's lock (the
// broker that held the log before is dead once we have it), the log (replay
// needs nobody else), the catalog (what exists), the claim (a higher leader
// epoch for every partition, so that nobody mistakes us for the incarnation
// before), the coordinators, the partitions, the registration (others see
// the broker), the listener last: an answer on it means that the broker takes
// produce.
//
// Stop is the same backwards: the registration goes and the listener closes,
// requests in flight get their answers, the log is made durable and sealed.
//
// Files: node.go (the order), rooms.go (what is built of what), registry.go
// (partitions in step with the catalog), coordinators.go (their
// partitions and logs), markers.go (ends of transactions),
// engine.go (how an agent runs and probes it).
package node
