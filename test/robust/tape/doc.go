// Package tape records what clients asked a cluster and were answered, operation by operation, with the moments of call and return.
// Several judges read the same tape: linear (does each partition behave like one log?) and rules (the anomalies of queues).
//
// Flow: New -> Process, once for each client -> Begin before an operation is asked for -> its methods, while it goes on -> OK, Fail or
// Leave -> Ops, when all have ended.
//
//   - T1: the operations of a process follow each other: the next begins when the one before has ended.
//   - T2: a record is named by its value, which is sent at most once by anybody, and on no other tape.
//   - T3: what is not known of an operation is said not to be known: its Outcome is Unknown, a record's Offset is NoOffset, and its
//     Return is Never, because it may still take effect.
//
// A key is a partition of a topic; the load maps one to the other. A Tape and its processes are safe for concurrent use, an operation
// belongs to one goroutine.
package tape
