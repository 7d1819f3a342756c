// Package robust kills, pauses and damages millrace under load and judges what its clients saw.
//
// Flow of every test: start a cluster (harness) -> start load (traffic) -> rounds of one fault each, at a random moment
// under load, until acks flow again -> drain -> read the whole topic -> judge it (history). README.md tells what is
// checked, what each fault stands for, and which bugs were found.
//
// The number of rounds follows MILLRACE_KILL_ROUNDS; without it there are as many as fit an ordinary
// run of everything, or four kills alone in a plain go test. No
// test asserts how long anything takes: times without acks are printed.
//
// Transactions have a load and a judge of their own (bank, ledger), and so have consumer groups (churn, tenure). These
// tests go on for as long as MILLRACE_BANK and MILLRACE_CHURN say, and run against Apache Kafka with -server=apache-kafka,
// which shows that they are right. MILLRACE_CLIENT_LOGS names a folder for the logs of their clients and, when a test has
// failed, of the brokers.
//
// A nemesis (nemesis, victim) strikes clusters of several brokers, on one host and on several, with all loads at a time, for as long as
// MILLRACE_NEMESIS says; -seed gives the rounds of an earlier run again.
//
// Files: run_test.go (one run: start, wait, judge), fault_test.go (the faults), bank_test.go, churn_test.go,
// main_test.go (how many run side by side), nemesis_linux_test.go (clusters and rounds), victim_linux_test.go (faults of processes and of
// the store), site_linux_test.go (several hosts and their network), loads_linux_test.go.
package robust
