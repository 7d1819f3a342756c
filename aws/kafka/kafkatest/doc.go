// Package kafkatest has stand-ins for what the service `kafka` works on: a control plane, configurations and topics that live in memory, do
// at once or on demand what the real ones take time for, and count what has been changed.
//
// Flow: New makes them with their own ids and times, always the same; a test changes what it wants to see and asks the service.
//
// Invariant: Changes grows with each change that was let through, and with nothing else, so a refused request can be seen to change nothing.
//
// They are safe for concurrent use only as far as a test locks them itself. Files: plane.go, configurations.go, topics.go, world.go (all of them, and how to ask), scenario.go (one call of each operation and more).
package kafkatest
