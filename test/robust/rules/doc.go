// Package rules judges a tape by the anomalies of queues, after the published description of Jepsen's workload for Kafka
// (jepsen.tests.kafka); the judgement is written anew.
//
// Flow: Judge(ops) -> an index of what stands where and who sent it -> each rule -> violations.
//
//   - J1: a key holds one record at an offset (inconsistent), and a record at one offset of one key (duplicate).
//   - J2: a record that was acknowledged, and whose transaction was committed if it was in one, is given to somebody: lost if records
//     above it were given and it was not, unseen if none were. The tape has to end with readers that read everything (Final).
//   - J3: what is given was sent (phantom), and not in a transaction whose commit was never asked for (aborted).
//   - J4: nobody is given a record of a transaction before its commit was asked for: not the transaction itself (precommitted), and no
//     operation that returned before (early).
//   - J5: the polls of a consumer go up (nonmonotonic-poll) and leave nothing out that others are given (poll-skip), within an
//     operation and from one to the next, until the consumer is placed anew.
//   - J6: the records that a process sends to a key, one operation after the other, go up (nonmonotonic-send).
//   - J7: of a transaction of unknown outcome all records are given to somebody, or none (torn).
//   - J8: no transactions have read from each other in a circle (G1c): each would have been committed before the next had read.
//
// Not judged, because a log of this kind allows it: writes of two transactions to two keys in different orders (G0), and consumers that are
// given a part of a transaction's records in one poll and the rest in a later one.
package rules
