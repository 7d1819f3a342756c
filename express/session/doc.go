// Package session keeps the fetch sessions of consumers (KIP-227): a client names its partitions once, later only what changes, and
// is told only of partitions of which there is something new.
//
// Flow: Sessions.Plan applies a Fetch request to its session and says what to read, in a fair order -> the caller reads -> Conclude
// leaves out what the client knows and moves what was read behind the others.
//
// F1: Slots and the partitions of all sessions are bounded. A newcomer gets the slot of a session that is idle for sessionGrace, or of
// a smaller one that is as old; else it has none, and names all its partitions each time.
// F2: Nobody can guess the id of a session.
// F3: A client that was told of an error of a partition hears of the partition again, whatever is new.
package session
