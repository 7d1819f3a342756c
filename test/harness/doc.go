// Package harness starts the clusters that tests talk to and sets up the foreign toolchains that test clients need.
//
// Flow: Require (toolchain, lazily set up) -> StartKafka or StartMillrace -> Cluster{Bootstrap} -> test -> cleanup.
// One test body takes a Cluster and so runs against either engine.
//
//   - H1: a toolchain is set up once per set of pinned requirements, whatever number of test processes ask for it at a time
//     (a file lock), and asking for one that is there costs a few system calls.
//   - H2: nothing is written outside the cache folder and the test's temporary folders. The exceptions are kcat and sslscan,
//     which are distribution packages: they are installed only for root, and only where they are missing. Network namespaces (NewNetwork) are the kernel's, and end with the test.
//   - H3: every process that was started is ended at cleanup, by its id; a process that outlives its test binary is a fault.
//   - H4: a missing toolchain skips the test, unless MILLRACE_TEST_REQUIRE=all: then it fails it.
//   - H5: a test that calls Long runs with MILLRACE_TEST_REQUIRE=all only. No other variable and no flag decides what a plain go test has.
//
// The cache is .cache at the root of the repository, or the folder that MILLRACE_TEST_CACHE names. It may be deleted
// whenever no test runs. MILLRACE_BIN names a millrace binary to use instead of building one.
//
// Files: root.go (repository root), cache.go (locked, stamped folders), tool.go (Require and the toolchains), process.go (child
// processes), long.go (what a plain go test has no time for), wait.go (polling), ports.go, cluster.go (Cluster), kafka.go (Apache Kafka), millrace.go (our own), etcd.go and certs.go (etcd
// clusters and certificates), host.go and netns.go (hosts of their own, in network namespaces), client.go (logs of Go clients). The pinned
// requirements are in pins/.
package harness
