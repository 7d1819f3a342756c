// Package lives makes a topic, writes to it, reads it, deletes it and makes it again under the same name, over and over, and decides
// whether each of its lives had its own records and no others.
//
// Flow: Start -> one life after the other -> Drain ends the last one -> Verify.
//
//   - L1: a reader of a life is given exactly the records that were acknowledged in it, each at its offset, from 0 on (wrong).
//     A life begins when all brokers know of it.
//   - L2: no request of a life meets an error that its user would see.
//
// Files: lives.go.
package lives
