// Package sizes is what broker types promise: bytes in and out, partitions, connections, as AWS publishes them for express brokers, and
// the quotas of serverless clusters.
//
// Flow: a cluster's broker type -> Find -> Limits for the NodeSpec, which each broker keeps, and Process, what its process gets. A
// serverless cluster -> Quotas -> Unit, the size of each of its brokers, and Most, how many there can be.
//
// What a type promises is its limits, and these are AWS's. The machine below is not: a broker of ours needs a fraction of the memory of a
// JVM with its page cache, and several share one host, a laptop perhaps. So Process is scaled down, and VCPUs and MemoryGiB only say what
// the type of this name has at AWS.
//
// Invariants, each with a test:
//
//	S1  A larger type promises no less of anything than a smaller one.
//	S2  The brokers that a serverless cluster can have are together worth its quotas, and fewer are not.
//	S3  All Limits that come from here are valid.
//	S4  Every standard type has a heap, and memory for what Java needs beside it.
//
// Standard types (kafka.*) are Apache Kafka itself. AWS publishes how many partitions a broker may have, and no throughput but that of the
// machine's network; a broker here has the number of partitions, connections and processors as limits. The table stands in docs/standard-types.md.
//
// MB are a million bytes, as in AWS's tables. All functions are pure. Files: sizes.go (express), standard.go, serverless.go.
package sizes
