// Package bank puts transactional load on a cluster and writes what it does and sees into a ledger.Book.
//
// Flow: Start makes the topics and the clients -> customers place orders; clerks fulfil them (consume, transform, produce:
// orders in, transfers out, the group's offsets in the same transaction); tellers make transfers of their own; readers at
// read_committed read all the time and a watcher asks for last stable offsets and high watermarks -> Progress waits until
// every worker commits again -> Drain ends the load: orders are worked off, every transaction has ended -> Views reads
// everything for the judge.
//
// Not every transaction is meant to be committed. Some are aborted; some are left open by a client that vanishes, whose
// successor uses the same transactional id (and so aborts them) or another one (so that only the timeout can); some are
// fenced by a twin with the same id and ask for their commit then; some wait longer than their timeout before they ask.
// Half of the workers speak the second version of the transaction protocol (KIP-890: an epoch for each transaction,
// partitions added by the broker), where the cluster has it, the others the first, and one of
// these does so through librdkafka.
//
//   - K1: every record is named in the book before it is handed to a client, and a commit is noted there before it is asked for.
//   - K2: a client that was told any error around a transaction is closed, and its worker goes on with another one.
//   - K3: Start's goroutines have all ended when Drain or Stop returns.
//
// A Bank's methods are called by one goroutine. Files: bank.go (life), worker.go (transactions and what befalls them), teller.go,
// foreign.go (librdkafka), clerk.go, customer.go, observe.go (readers, watcher), views.go.
package bank
