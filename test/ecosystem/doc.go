// Package ecosystem runs what the Kafka world ships beside the broker against a cluster: Apache Kafka's own tools, a Kafka
// Streams application and a Kafka Connect worker. It holds tests only.
//
// Flow: a cluster (Apache Kafka or millrace) -> programs of Apache Kafka as child processes, some of them killed -> what they
// printed, wrote and left -> compared with what was put in.
//
//   - E1: one body serves both engines, so a failure tells which of them is wrong. By default millrace alone is run;
//     MILLRACE_ECOSYSTEM=full adds Apache Kafka, the long forms, and the runs with a planted fault.
//   - E2: what must come out is computed from what was put in, never taken from an earlier run. What a killed application wrote
//     is held against an undisturbed one's as well.
//   - E3: exactly once is told from the log alone, by a read_committed reader that this package watches to the last offset:
//     a transaction that nobody ends fails the test, it does not hide what comes behind it.
//   - E4: a kill comes at an event (an offset that moved, a state that was entered), never after a time.
//   - E5: a program that ends by itself where it should run on fails the test with what it said.
//
// MILLRACE_STREAMS_KILLS is how often the Streams application is killed; the default is a few, `make ecosystem` has 50.
//
// Files: suite_test.go (engines, kills), program_test.go (child processes), reader_test.go (read_committed to the end),
// load_test.go (what is put in), expect_test.go (what must come out, and that faults are seen), streams_test.go, connect_test.go,
// verifiable_test.go, copier_test.go, performance_test.go, admin_*_test.go (command line tools), clients/java (the application).
package ecosystem
