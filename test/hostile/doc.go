// Package hostile shows what a running millrace makes of bad input, of too much of it, and of limits that it was given, as
// its clients and its operator see it. It holds tests only.
//
// Flow of the tests with bad input: start a cluster -> a well-behaved client produces and consumes all the time -> peers
// with a socket of their own send what no client would -> each gets Kafka's error or a closed connection -> the client has
// seen no error, the broker is the same process, and its log has no complaint about itself.
//
//   - H1: what a hostile client gets is compared with Apache Kafka where a JDK is there: the same table runs against both, and a
//     case where millrace differs on purpose says so.
//   - H2: no test asserts how long anything takes. Memory is asserted with a margin, and printed.
//   - H3: nothing here waits for a fixed time: conditions are polled, with a deadline.
//
// Files: suite_test.go (the broker and its well-behaved client), kafka_test.go (the same against Apache Kafka), peer_test.go
// (raw sockets), frames_test.go (bytes that are no requests), requests_test.go (requests of every key, damaged),
// batch_test.go and produce_test.go (record batches), memory_test.go and bounds_test.go (memory, connections),
// policy_test.go (retention, compaction, codecs, limits of topics), formats_test.go (data of a newer version).
package hostile
