// Package network is a network in memory: hosts that listen, dial and are cut off from each other, for programs that take
// net.Listener and net.Conn. It has no goroutines of its own and sleeps only with timers of package time, so that it works in
// the bubbles of testing/synctest, where a real network does not.
//
// Flow: Dial puts one end of a pair of connections into the queue of the listener at the address; what one end writes waits, as
// long as a message takes, in the inbox of the other.
//
//   - NW1: What is written arrives whole, in order, once, or the reader is told that the connection broke. Each direction has one
//     order: what is written later arrives later, the end of the connection last.
//   - NW2: Between two hosts that are cut off from each other nothing arrives, neither data nor ends nor answers to Dial; it
//     arrives when they are joined again.
//   - NW3: A host that is frozen neither reads, nor writes, nor accepts, nor dials, nor sees a deadline pass, until it is thawed;
//     what others send waits for it, and Dial to its listeners succeeds, as with a process that is stopped.
//   - NW4: After Kill nothing that the host's process does reaches anybody. The other ends break after the time that is given:
//     at once when a process dies, later when a machine does.
//
// Addresses are what Listen was told; a port 0 is not understood. Everything is safe for concurrent use, but a connection has at
// most one reader at a time.
//
// Files: network.go (hosts, listeners), conn.go (connections).
package network
