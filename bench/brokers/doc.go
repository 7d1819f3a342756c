// Package brokers measures what clients notice when brokers come and go, beside Apache Kafka on the same machine in one
// run: a broker is killed, hangs, all are rolled, brokers are added and removed; and what many partitions cost.
//
// Flow: start both engines with three brokers each -> rounds, in each of which both take their turn at each event ->
// medians and spreads as a table, and every single figure as JSON.
//
//	make brokers                             all of it
//	make brokers BENCH='-rounds 5'           more of it
//	make brokers BENCH='-only roll,scale'    some of it
//	MILLRACE_TEST_REQUIRE=all go test ./bench/brokers   a tiny run that only shows that the bench works
//
// What makes the comparison fair, and what it does not show:
//
//   - BB1: one driver for both: a Go client (franz-go) with default settings that writes to each of the partitions at
//     a fixed rate; a record's time counts from when it was due, so that a stall counts for every record that it held up.
//     Other clients pause otherwise, so the figures are of this one.
//   - BB2: "without acks" is the longest time in which some partition had no ack, the worst of all partitions.
//   - BB3: a broker that was killed or hangs is started again at once where nobody else does it: millrace's agent does, for
//     Apache Kafka the bench starts a killed node, and wakes a hung one when the round is over.
//   - BB4: a roll goes on with the next broker when the cluster is well again: for millrace by its own operation, for Apache
//     Kafka when every partition has all its replicas in sync. Preferred leaders are elected at its end, not after each.
//   - BB5: nothing here asserts a time. The load average of the machine before each figure is kept beside it: with more
//     work than cores, all figures are of the waiting.
//
// It needs Linux. Files: cluster.go (both engines as one kind), driver.go (load), events.go, many.go (thousands of
// partitions), report.go.
package brokers
