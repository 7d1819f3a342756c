// Package traffic puts load on one topic and writes what it does and sees into a history.
//
// Flow: Start makes the topic and the clients -> producers send named records at a fixed rate (idempotent, acks=all,
// retried for ever) while readers read from random places to the end again and again and a watcher asks for end
// offsets -> Progress waits until the cluster acknowledges again -> Drain ends the load with every outcome known that
// can be -> Log reads the whole topic for the judge.
//
//   - T1: every record is named in the history before it is handed to a client, and its ack is noted as it arrives.
//   - T2: no client gives up by itself: an error that a client hands to its user is a fault of the run (Faults).
//   - T3: Start's goroutines have all ended when Drain or Stop returns.
//
// A Traffic's methods are called by one goroutine. Files: traffic.go (life), produce.go, observe.go (readers, watcher, log).
package traffic
