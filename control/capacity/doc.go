// Package capacity lets the number of brokers of a serverless cluster follow its load.
//
// Flow: each broker says every few seconds what it has to do (engine.Load, below the cluster's keys) -> Loop.Round reads that of each
// cluster, leaves out who is silent -> Policy.Decide -> the plane is asked to Scale, and a Point goes into the History.
//
// Out at once: as soon as the load is more than Out of what the brokers bear, there shall be as many as bear it at Out. In slowly: only
// when fewer brokers would have borne everything of the last Calm at In, which is well below Out, and then by a quarter at a time, for
// which the next has to be calm as long again. What is looked at is bytes in and out, requests, connections and partitions, each by
// itself, against what one broker is worth (control/sizes). Clients that were told to wait show less than they wanted, so the load that
// is seen is near what the brokers bear, and each step out uncovers more.
//
// Invariants, each with a test:
//
//	P1  There are never fewer brokers than Least nor more than Most.
//	P2  A load that does not change makes the number change in one direction only, and then not at all; after a step in, the load
//	    has to grow by Out/In before there is a step out.
//	P3  A load beyond Out is answered in the round in which it is seen.
//	P4  Nobody who is silent counts as idle: while fewer brokers report than there are, none is taken away.
//	P5  A cluster that is being changed is left alone, and of a Loop that was started anew none is taken away before Calm has gone by.
//
// Decide is pure. A Loop is safe for concurrent use; one Loop should run in an installation: that of the plane that leads. Files: decide.go,
// loop.go, history.go, plane.go (what of control.Plane the loop uses).
package capacity
