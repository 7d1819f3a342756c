// Package robust kills, pauses and damages millrace under load and judges what its clients saw.
//
// Flow of every test: start a cluster (harness) -> start load (traffic) -> rounds of one fault each, at a random moment
// under load, until acks flow again -> drain -> read the whole topic -> judge it (history). README.md tells what is
// checked, what each fault stands for, and which bugs were found.
//
// The number of rounds follows MILLRACE_KILL_ROUNDS; without it there are as many as fit an ordinary test run. No
// test asserts how long anything takes: times without acks are printed.
//
// Files: run_test.go (one run: start, wait, judge), fault_test.go (the faults).
package robust
