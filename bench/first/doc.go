// Package first compares millrace with Apache Kafka on one machine, in one run, with one client.
//
// Flow: start both engines -> measure start to first ack and idle memory -> a warm-up of each that is thrown away ->
// rounds, in each of which both take their turn (the first one changes): produce, settle, consume, settle, latency at
// a fixed rate -> medians, spreads and ratios as a table, and every single figure as JSON.
//
//	make bench                                        full size
//	make bench BENCH='-rounds 7 -records 2000000'     more of it
//	make bench BENCH='-summary ../results/first.md'   keep the table, too, as a page of the repository
//	MILLRACE_TEST_REQUIRE=all go test ./bench/first   a tiny run that only shows that the bench works
//
// What makes the comparison fair, and what it does not show:
//
//   - B1: both engines run all the time, so that the JVM stays warm; the one whose turn it is not idles.
//   - B2: between turns dirty pages are written (sync), so that nobody pays for the other's page cache. Apache Kafka
//     does not sync before it acknowledges, millrace does; both at their defaults, which the report says.
//   - B3: the CPU of a turn runs until the engine has come to rest, so that work put off is counted too.
//   - B4: throughput comes from Apache Kafka's own performance tools, whose client is Java; its CPU is not counted, but
//     it shares the cores. Latency comes from one Go client and is taken from the time at which a record was due, so
//     that a stall counts for every record that it held up.
//   - B5: nothing here asserts a time. What a figure should be stands in docs, what it is in bench/results.
//
// Processes are measured through /proc, so it needs Linux. Files: compare.go (the run), engine.go (starting, memory,
// first ack), java.go (throughput), latency.go, usage.go (/proc), report.go.
package first
