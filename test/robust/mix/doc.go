// Package mix puts a mixed load on two topics and records it operation by operation on a tape, for the judges linear and rules.
//
// Flow: Start makes the topics and the clients -> senders send a few records at a time and wait for them; movers send and poll in
// transactions, of which some are aborted or abandoned; pollers poll, from places that change now and then; an asker asks for the ends
// of the plain topic's partitions -> Progress waits until everybody goes on -> Drain ends the load and reads everything once more.
//
// The keys of the tape are first the partitions of the plain topic, to which nobody sends in transactions, and then those of the mixed
// one, to which everybody sends. All consumers read at read_committed.
//
//   - X1: an operation stands on the tape before it is asked for, and each record before it is handed to a client.
//   - X2: a client that was told an error is closed, and its worker goes on with another one, as another process of the tape.
//   - X3: Start's goroutines have all ended when Drain or Stop returns.
//
// A Mix's methods are called by one goroutine. Files: mix.go (life), sender.go, mover.go, poller.go (pollers, the asker, the last reader).
package mix
