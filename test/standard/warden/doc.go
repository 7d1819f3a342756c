// Package warden has standard/warden at real clusters of Apache Kafka: what it says of nodes that are killed and hung, and what its moves,
// cordons, levels and configuration do there under load. Needs Java; the jars are those of the harness.
//
// Files: fleet_test.go (a cluster of combined nodes and brokers that come and go), load_test.go (clients that lose nothing), warden_test.go.
package warden
