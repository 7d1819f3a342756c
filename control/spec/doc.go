// Package spec says what a cluster is and what an operation on it is: the records of the control plane, as plain data, and what follows
// from them without looking at anything else (which listeners a broker has, what the version of a cluster is called).
//
// Flow: package control reads and writes the records; place and plan take them as arguments. Nothing here does anything.
//
// Invariants:
//
//	S1  The records are what is stored: a field that is renamed or means something else needs another format, and one that a former
//	    program must not drop needs a higher one.
//	S2  Settings are never changed in place; Settle counts a version for each change.
//
// All is safe for concurrent use, as far as values are copied.
//
// Files: cluster.go (Cluster), settings.go (what the API is told, versions), listeners.go (logins and listeners), operation.go.
package spec
