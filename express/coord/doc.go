// Package coord has the coordinators of one broker: a runtime that drives one pure machine (package machine) for each partition
// of an internal topic that the broker owns, and the calls of those machines as the API wants them. Coordinator is the one of
// groups, on __consumer_offsets; Transactions is the one of transactional ids, on __transaction_state.
//
// Flow: API call -> queue of the partition -> machine -> records -> one batch in the log -> durable -> machine -> reply.
// While the log has a batch, what other requests want to append waits and shares the next one, so many commits cost one
// write. Reads (OffsetFetch, list, describe) go through the same queue and are answered at once.
//
// Invariants
//   - C1: A reply that promises something stored leaves only after the log said that its records are durable.
//   - C2: At most one batch of a partition is with the log. Outcomes reach the machine in the order of its appends, and a
//     batch that failed took nothing with it that came after. A machine that applies what is durable just hears of failures
//     (group.G2, G3); one that is ahead of the log (machine.M3) is closed and replayed anew.
//   - C3: After any crash, a replay of the log up to its high watermark gives all that was acknowledged.
//   - C4: A partition answers nothing before its replay has ended (COORDINATOR_LOAD_IN_PROGRESS; heartbeats are let through)
//     and nothing after Unload has returned (NOT_COORDINATOR).
//   - C5: Every call returns: with its reply, when ctx ends, or when the partition is unloaded. It never touches the request
//     after that.
//   - C6: Queues are bounded: QueueLen requests per partition, beyond which callers wait; a batch has BatchBytes, or what one
//     request needs, up to MaxBytes.
//
// When the log refuses a batch (disk full, not the owner any more), its requests are answered with the error and the groups
// go on from what is durable: commits did not happen, a rebalance whose assignment was lost starts over.
//
// Concurrency: Runtime is safe for concurrent use. Each loaded partition has one goroutine that owns its machine; Unload
// and Close wait for it. Runtime.mu protects the table of partitions, shard.mu the list of what it was told; neither is
// held while the other is taken or while anything blocks.
//
// The machine of transactions also has work that blocks: markers to write, and producer ids to get. A bounded number of
// goroutines does it, and the outcomes come back as events (Tell). They are lost with the machine, and the next one begins anew.
//
// Files: runtime.go (load and unload), shard.go (a partition's goroutine, appends), call.go, replay.go; coordinator.go (groups),
// api.go (their calls), offsets.go (commit and fetch), txn_offsets.go (those of transactions); transactions.go (transactional
// ids), transactions_api.go (their calls), shares.go (share states), state_requests.go (what other brokers ask of them), share.go
// (calls of share groups), work.go (what may block).
package coord
