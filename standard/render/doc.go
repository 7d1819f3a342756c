// Package render says how a node of Apache Kafka is started: its properties, the options of its Java machine, its logging. It is pure: what it
// returns depends on what it is given alone.
//
// Flow: NodeSpec and Place (paths) -> Properties (server.properties), Options (of java), Logging (configuration of log4j) -> the node's engine
// writes the files and makes the command line.
//
// Invariants:
//
//	R1  What the spec says of a node (its id, roles, quorum, listeners, logins, rack, storage) is set by this package alone: a property of the
//	    configuration that would say otherwise is refused (ErrProperty), never dropped in silence, and never written twice.
//	R2  Whatever a value holds, it is read by Java as it was given: nothing in it begins another property.
//	R3  A node is never more open than its spec: what this package cannot express (a login that Apache Kafka does not have, a listener with TLS
//	    and no certificates) is an error (ErrSpec).
//	R4  Only who shows a certificate of a node of the installation, at the installation's own listener, is the super user NodePrincipal there.
//
// The quorum is a list of voters in the properties (controller.quorum.voters), not one that is kept in the metadata log: every version from 3.9
// to 4.3 takes it, formatting needs no order among the nodes, and a cluster that began with it stays so through upgrades. What it cannot do is
// change: a controller moves to another host under its own id, by a restart of all nodes with the new address.
//
// Defaults are MSK's, where they differ from Apache Kafka's; see defaults. Controllers get them too: they, not the brokers, decide on the number of
// replicas of a new topic and on elections. JVM metrics are shown by Java itself only (JMX on no port, jcmd on the host).
//
// Files: properties.go, listeners.go, configured.go (the configuration's own), java.go (options, logging), escape.go (the format of properties).
package render
