// Package place says which node of a cluster runs on which host, and where it listens. It is pure: hosts and what runs there come in,
// specs come out.
//
// Flow: package control reads hosts and specs, calls Brokers, and writes what came out if nobody has given out addresses meanwhile.
//
// Invariants:
//
//	P1  A node that is there stays on its host (control's C7), with or without an agent there, and as far as it can at its addresses.
//	P2  No two nodes are given one address, nor one that the listeners of another may come to have.
//	P3  Nodes are spread over zones first, then over the hosts of a zone; the order in which hosts are named does not matter.
//
// Files: place.go.
package place
