// Package control is the control plane: it decides which nodes should run and
// knows which of them do.
//
// Flow: Ensure writes a cluster's record and the specs of its nodes; the agents
// act on those and report; Readiness and Nodes read the reports. What takes long
// (scale, roll, upgrade) is an Operation: Begin saves it as a list of steps, Run
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
// Files: control.go (clusters), listeners.go (which listeners a broker has), placement.go (hosts, and which broker goes where), status.go (reports), operation.go (operations
// and their records), run.go (the runner), steps.go (what a step does).
package control
