// Package secure measures what security costs, in one run on one machine: TLS, the IAM login and encryption at rest, each beside plain; the
// gateway beside what it guards; and TLS on Apache Kafka for comparison.
//
// Flow: start an express cluster with every login, one that is encrypted as well, Apache Kafka with a plain and a TLS listener, and a gateway
// in front of it -> a warm-up of each way that is thrown away -> rounds, in each of which every way takes its turn (there and back again):
// produce, settle, consume, settle, latency at a fixed rate -> logins by each method, in turn -> medians, ranges and ratios as a page.
//
//	make secure                                            full size, below 6 minutes on two quiet cores
//	make secure BENCH='-rounds 7 -mb 512'                  more of it
//	make secure BENCH='-summary ../results/secure.md'      keep the page
//	MILLRACE_TEST_REQUIRE=all go test ./bench/secure   a tiny run that only shows that the bench works
//
// What makes the comparison fair, and what it does not show:
//
//   - BS1: ways that are compared with one another share a broker process wherever that can be: plain, TLS and IAM are listeners of one express
//     broker, plain and TLS listeners of one Apache Kafka. Encryption at rest is a property of a cluster, so it has one of its own.
//   - BS2: one client for all (franz-go, in the bench's own process): acks=all, no compression, batches as large as the Java client's
//     by default. Its CPU is not counted, but it shares the cores, and under TLS it has as much to do as the broker.
//   - BS3: CPU is the process's own clock (CLOCK_PROCESS_CPUTIME_ID of its pid), taken when the process has come to rest, so that work put off
//     counts. A ratio is taken between two ways of the same round; the page tells the median of these ratios and their range.
//   - BS4: whether a cluster is encrypted is not believed but looked up: a marker is produced, and its files are searched for it.
//   - BS5: nothing here asserts a time. The load average stands on the page: with other work on the cores, only ratios mean something.
//
// It needs Linux. Files: ways.go (what is started), load.go (the client's work), login.go, cpu.go, report.go.
package secure
