// Package gateway measures what the gateway costs: the same client, the same Apache Kafka, in one run, in turn directly and through the
// gateway, which is a process of its own. It reports medians of several rounds: throughput of produce and fetch, CPU seconds of the gateway
// for each GB, and how long a record takes from its sender to its reader.
//
//	MILLRACE_TEST_REQUIRE=all go test ./bench/gateway -run TestGateway -v -rounds 5 -mb 256
//
// Without flags it is a short run that shows that it works.
package gateway
