// Package flood attacks a real `millrace serve --secure` over sockets: with patience, in numbers, and with what nobody should send. It
// holds tests only.
//
// Flow: start serve --secure -> a good client produces, and others log in anew, one after the other -> the attack -> while and after it:
//
//   - F1: no good client has seen an error. How long its requests took is printed as a ratio to before, and never asserted.
//   - F2: the resident memory of the broker, and of serve, stays within a bound above what it was.
//   - F3: the broker is the same process, and has logged no fault of its own.
//   - F4: the trail grows far slower than the attack: what is alike takes one line, and the counts of all lines are the attack's.
//   - F5: nobody without the right gets in, and nothing changes and nothing leaks for somebody who is nobody, or may do nothing.
//
// The number of bad logins is that of MILLRACE_LOGINS, or some tens of thousands.
//
// Files: suite_test.go (the installation), guests_test.go (its good clients), wire_test.go (clients that speak by hand), loris_test.go,
// handshakes_test.go, logins_test.go, giants_test.go, keys_test.go (every key of the Kafka protocol), api_test.go (the HTTP API).
package flood
