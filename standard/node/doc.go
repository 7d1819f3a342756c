// Package node runs nodes of Apache Kafka, brokers and controllers, as child processes for an agent: it is the engine "standard".
//
// Flow: Prepare (standard/dist gets the version -> certificates -> storage is formatted, once -> standard/render's files are written) -> Check ->
// Command (java and its arguments) -> Probe -> Remove. What a node keeps lies below the installation's data directory, in Dir.
//
// Invariants:
//
//	N1  Storage is formatted once, in one step: what a crash leaves in the midst has another name and is thrown away. A data folder that is there and
//	    names no cluster, or another cluster or node, is refused (ErrForeign), never formatted over.
//	N2  A broker counts as ready when it answers and is one of the brokers that it tells clients of, which a broker that recovers its log or has lost
//	    the controllers is not: that one is alive (engine.ErrAlive) and left alone. A controller is ready when it answers and knows a leader.
//	N3  What a node keeps is deleted only where no process holds its storage's lock, which is Apache Kafka's own.
//	N4  Command depends on the spec and on which versions are known, not on what is on the disk: an agent tells by it whether a process must be
//	    started anew. The configuration's properties are no part of it.
//	N5  What a node answers is hostile: it is bounded, and a bad answer is an error.
//
// Formatting copies what Kafka's own tool has made (standard/dist): bootstrap metadata are the same for every node of a version, and the rest,
// meta.properties, names cluster, node and a random id of the folder. So it costs no start of Java.
//
// SIGTERM is Kafka's controlled shutdown: a broker gives its leaders away, for which it needs the controllers, so they end after it (engine.Manners).
//
// Engine is safe for concurrent use. Files: engine.go, prepare.go, storage.go (formatting, N1, N3), probe.go (N2, N5).
package node
