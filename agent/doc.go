// Package agent runs the nodes of one host: it starts, watches and stops their
// processes as the control plane's NodeSpecs say, and reports what became of
// them.
//
// Flow: Run lists and watches the specs of its host; each has a supervisor that
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
//	    frees its log's lock only when it is dead.
//	A5  A node is never taken for ready by what another process answers: it is
//	    started only where its addresses are free.
//
// Files: agent.go (specs), node.go (one node's supervisor), report.go (status).
package agent
