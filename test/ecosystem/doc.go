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
//   - E6: what a tool says is what it says on Apache Kafka (testdata/*.txt), or a departure of express
//     (testdata/express.departures), which has a row in docs/compatibility.md. What differs from run to run is left out of both.
//
// MILLRACE_STREAMS_KILLS is how often the Streams application is killed; the default is a few, `make ecosystem` has 50.
//
// What each tool is run by:
//
//	VerifiableProducer, VerifiableConsumer (both protocols), VerifiableShareConsumer    TestTools verifiable
//	TransactionalMessageCopier, killed                                                  TestTools copier
//	ReplicaVerificationTool                                                             TestTools replicas
//	ConsumerGroupCommand, ShareGroupCommand, GroupsCommand, StreamsGroupCommand         TestCommands groups, share-groups
//	TransactionsCommand                                                                 TestCommands transactions
//	ConfigCommand                                                                       TestCommands quotas
//	election, reassignment, log directories, topics, offsets                            TestCommands partitions
//	cluster, features, quorum, API versions, client metrics                             TestCommands cluster
//	ProducerPerformance, ConsumerPerformance, ShareConsumerPerformance, EndToEndLatency TestCommands performance
//	Kafka Streams, StreamsResetter                                                      TestStreamsKilled
//	ConnectDistributed, FileStreamSource, FileStreamSink                                TestConnect
//
// Files: suite_test.go (engines, kills), program_test.go (child processes), reader_test.go (read_committed to the end),
// load_test.go (what is put in), expect_test.go (what must come out, and that faults are seen), streams_test.go, connect_test.go,
// verifiable_test.go, copier_test.go, toolbox_test.go (tools in one JVM), tools_test.go (what is asked of them),
// transcript_test.go (what they say, compared), clients/streams (the application), clients/tools (the JVM of the toolbox).
package ecosystem
