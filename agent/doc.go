// Package agent runs the nodes of one host: it starts, watches and stops their
// processes as the control plane's NodeSpecs say, and reports what became of
// them.
//
// Flow: Join tells the control plane of the host; Run keeps it told, and lists and watches the specs of its host; each has a supervisor that
// goes round: adopt or start the process, probe it until it serves, watch it,
// and when it ends start it again, at once the first time and with a growing
// pause if it keeps ending.
//
// Invariants:
//
//	A1  One process at most runs for a node: a process that an earlier agent
//	    left running is adopted, never doubled, by the PID and start mark that
//	    its status carries.
//	A2  A node that fails never keeps another from being looked after.
//	A3  Run returns only after every process that it runs has ended. An agent
//	    that is killed leaves its nodes running for the next one.
//	A4  A process that stops answering is killed, never doubled: the kernel
//	    frees its log's lock only when it is dead. One that starts is given all
//	    the time that it needs, and silence that is the agent's own fault (it
//	    was suspended, it has no file descriptors left) kills nobody.
//	A5  A node is never taken for ready by what another process answers: it is
//	    started only where its addresses are free.
//	A6  A process is asked to end before it is killed, and may hand over what
//	    it owns first; when the agent itself stops, it is given that time only
//	    where another host has an agent.
//	A7  What a node keeps is deleted only where the spec says both Stopped and
//	    Remove, and while nothing holds the node's lock.
//	A8  One agent at a time has a host's name: its record is written under a
//	    lease, and only where there is none or that of an earlier agent with the
//	    same data directory on the same running machine. An agent that finds
//	    another in its place stops its nodes. While the store is away it goes on.
//	A9  A running process is not stopped for a program that this host cannot run.
//	A10 What a cluster keeps in the object store is deleted only where the spec says Stopped, Remove and Purge, after what the node
//	    itself keeps; and Purged is reported only after all of it is gone.
//
// Files: agent.go (specs), host.go (the host's record), node.go (one node's supervisor), watch.go (what it
// sees of the running process), report.go (status).
package agent
