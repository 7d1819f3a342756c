// Package standard runs Apache Kafka as the engine "standard" does: the real one, by a real agent that is told of nodes through etcd.
//
// Flow: fixture_test.go starts an embedded etcd and an agent as a process of its own, writes the specs of three controllers and some brokers, and
// follows what the agent reports; the tests produce and consume by franz-go, kill nodes and agents, and remove everything.
//
// Every process that a test leaves behind is found by the agent's reports and killed at its end.
package standard
