// Package conformance runs Kafka clients that nobody here wrote against a cluster and compares what they get with what
// Apache Kafka gives them. It holds tests only.
//
// Flow: a Cluster (Apache Kafka or millrace) -> every client runs every scenario -> its answers -> testdata/answers/CLIENT.txt.
// TestApacheKafka and TestConformance are one body over two clusters (a plain go test has two scenarios, on millrace alone); the recorded answers are Apache Kafka's, and are written
// anew by `MILLRACE_TEST_REQUIRE=all go test ./test/conformance -run TestApacheKafka -rewrite`.
//
//   - C1: a scenario checks by itself what must hold on any cluster (all bytes equal, every partition held exactly once); the
//     recorded answers hold the rest: error codes, defaults, bounds.
//   - C2: answers hold nothing that differs from run to run (ids, addresses, the time of day).
//   - C3: a client that does not offer an operation skips the steps that need it, and says so in its answers.
//   - C4: what one client wrote, with every compression it has, every other client reads.
//   - C5: what one client committed, every other client that can reads at read_committed; what it aborted, none does. Where
//     records and markers lie is known beforehand, offset by offset, and compared.
//   - C6: kcat, kafka-go and the console tools have no transactional producer. They take part as readers; kafka-go hides
//     neither markers nor what was aborted, so it is held to what lies in the log.
//
// Concurrency: two clients at a time; topics and groups carry the client's name, so they do not meet.
//
// Files: suite_test.go (the two tests), client_test.go (client programs), kcat_test.go, console_test.go (clients that are
// commands), answers_test.go (recorded answers), records_test.go (what is written, and comparing), scenario_*_test.go,
// matrix_test.go (everyone reads everyone), known_test.go (what passed before), streams_test.go, flights_test.go
// (examples/flights), group_records_test.go (what Apache Kafka writes of groups, for express/group), clients/ (the programs).
package conformance
