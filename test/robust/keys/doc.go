// Package keys writes to a compacted topic, and decides whether readers from its beginning were given the latest of every key.
//
// Flow: Start makes the topic and the clients -> writers write and delete their keys, each key by one writer alone, and wait for each
// answer -> readers read from the beginning to the end, over and over, and hand what they saw to a Table -> Drain ends the load and
// reads once more.
//
// What is written to a key has numbers that go up. A reader that begins after the number a was acknowledged, and ends before b was sent:
//
//   - V1: is given a number from a to b-1 for the key at last, or a deletion with such a number was sent (stale).
//   - V2: is given numbers that go up (disordered), all of which were sent, as they were sent (phantom).
//
// A Table is pure and safe for concurrent use. Files: table.go, keys.go (the load).
package keys
