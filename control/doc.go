// Package control is the control plane: it decides which nodes should run and
// knows which of them do.
//
// Flow: Ensure writes a cluster's record and the specs of its nodes; the agents
// act on those and report; Readiness and Nodes read the reports. What takes long
// (create, update, scale, roll, upgrade, delete) is an Operation: Begin saves it as a list of steps, Run
// does the steps one after the other, each by changing specs and waiting for the
// reports to show it. State is in etcd only, changed by compare-and-swap.
//
// Invariants:
//
//	C1  A cluster's record is written before the specs of its nodes, and a spec
//	    that no record explains is removed by the next Ensure.
//	C2  What exists is changed only where it differs, so a restart of the
//	    control plane restarts no broker.
//	C3  A cluster has at most one operation under way: its number stands in the
//	    cluster's record, and comes and goes with the operation's own record in
//	    one transaction.
//	C4  An operation's record is saved before and after each step, and a step may
//	    be done twice: after a crash Run goes on with the step that it was at.
//	C5  A broker leaves only in this order: it is told to drain; another broker
//	    sees that it owns nothing; it is stopped; another broker still sees it;
//	    its data is deleted; its spec goes. A broker that was stopped and owns
//	    something after all is started again.
//	C6  At most one broker of a cluster is down at a time because of a roll or
//	    an upgrade, and the next one follows only when all others serve.
//	C7  A broker stays on the host where it was placed, with or without an agent
//	    there: its log may be there, and its process may run. No two brokers are
//	    given one address.
//	C8  What an agent reported counts only while its host has one. An operation
//	    does not begin where it would wait for a host without, and waits for one
//	    that is lost meanwhile.
//
//	C9  The logins of a cluster change while no broker of it runs, or by an operation: at each moment of that, every broker reaches
//	    every other, and nobody is asked for a permission before all brokers can tell who asks. A record that names logins or
//	    listeners is of a format that a program without them refuses.
//
//	C10 A cluster's ID is made with its record and never changes; Kafka's cluster id is the same, written in the same transaction. A name
//	    that is free again starts from nothing: what a cluster had is deleted in the order brokers, their data, objects, and at last
//	    everything in etcd, its record included, in one transaction.
//	C11 A cluster that Create has begun to make is either Active or Broken in the end, and Broken runs no broker. Deleting ends with the
//	    record. Neither waits for ever for a host.
//	C12 An update is the Settings before and those after, both in the operation's record. The cluster's record has those before until the
//	    operation is done and those after from then on; one that fails undoes, in the reverse order, what its steps have done.
//	C13 Settings change by one way, an operation that is Done (or Ensure), and Version grows with each change.
//	C14 The spec of a broker moves to another host in one transaction, which leaves the old host's agent the order to stop it and delete
//	    its data. Only a broker whose log is in the object store moves, and only when its host has had no agent for a while. What the
//	    old process, if it still runs, may do is bounded by the seal of its log: see docs/decisions/0016, and rehome in reconcile.go.
//	C15 A mend changes a spec only while no operation is under way: it compares the cluster's record too.
//	C16 One process at a time does operations; the others wait for PlaneKey (control/lead). What the former one was at is gone on with (C4).
//	C17 An address at which another program listens is given up for another one before a broker has ever served at it, and only of a cluster
//	    whose addresses come from the ranges of hosts; what was found stands in the step. A broker that served keeps its address.
//	C18 An operation that uses a configuration begins only while that is there and is not being deleted, in one transaction. What brokers
//	    are started with by it stands in the cluster's record and in their specs, which change by an operation that starts them anew.
//
// Of clusters of Apache Kafka (broker types kafka.*), whose replicas a Warden knows:
//
//	C19 At most one controller and at most one broker of a cluster are down at a time because of an operation: a node that runs is stopped
//	    only when all other nodes serve and the Warden says that all replicas and controllers are in step. One that does not run anyway
//	    may be started anew first.
//	C20 Before each stop, the Warden has said that the node may: no partition falls below its min.insync.replicas, none loses its last
//	    replica in sync, the quorum keeps its majority. Until then the step waits, with longer and longer pauses, and shows why.
//	C21 A broker leaves only in this order: its replicas are moved to the others; it is stopped; the Warden still finds none on it; the
//	    cluster forgets it; its data is deleted; its spec goes.
//	C22 A node of a lost host is placed on another host of its zone, with its identity and an empty disk, only when the Warden says that it
//	    could stop; one at a time. Where a controller has moved, the other nodes are started anew to know its address.
//	C23 Features are raised after every node runs the version, as an upgrade's last step. An upgrade that fails before goes back to the
//	    version before; after it there is no way back, and an older version is refused.
//
// Files: control.go (records, Ensure), types.go (names of control/spec), identity.go (ids, options), create.go (Create, Delete), placement.go
// (hosts, and specs that are written), status.go (reports), operation.go (records of operations), begin.go (their beginning), run.go (the
// runner), steps.go (what a step does), taken.go (ports of others), warden.go, roll.go and heal.go (Apache Kafka), undo.go (what a failed one leads to), reconcile.go (mending, healing, patches), names.go
// (certificates). Folders: spec (what is recorded), place (which node goes where), plan (which steps), window, lead.
package control
