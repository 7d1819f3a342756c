// Package peer asks the other brokers of the cluster what only they can answer: to end a transaction on their partitions, whether
// a partition is part of a transaction that they coordinate, for the state of share-partitions that they keep, for the ends of
// their partitions, and whether they are there.
//
// Flow: a call -> the lane of its broker and kind -> one request with all calls that have gathered -> the broker -> an answer for
// each call. A lane is one goroutine and one connection with one request at a time; what comes meanwhile shares the next request, so
// many calls cost few round trips. Requests are Kafka's own, to the listener that clients use: WriteTxnMarkers, AddPartitionsToTxn,
// Initialize-, Read-, Write-, Delete- and ReadSummary-ShareGroupState, ListOffsets, ApiVersions. Who owns what, and what to do when a broker does
// not own it any more, is the caller's: the broker's codes are passed on as they are.
//
//	lane: idle ──call──> connecting ──> asking ──answered──> idle ──nothing for long, or the broker has gone──> gone
//	                       │  ^           │ failed: the connection is closed
//	                       │  └──pause────┘
//	                       └ failed: all that wait fail; the next call waits for the end of the pause
//
// Invariants
//   - PE1: Every call is answered exactly once: by the broker, or with an error that is or wraps ErrAway, ErrBusy or ErrClosed, or
//     is the end of the caller's own context.
//   - PE2: Bounded: Config.Queue calls wait for one lane (ErrBusy beyond), a call waits no longer than one pause, one connect and the
//     requests before its own, each bounded by Config.Timeout
//     (markers by three times that); an answer has at most maxAnswer bytes.
//   - PE3: A broker that does not answer holds back nobody who asks another broker, or this one for another kind of thing.
//   - PE4: A request is never sent twice. Whether one whose answer did not come was carried out, nobody knows: ErrAway says that, and
//     the caller asks again only for what may happen twice.
//   - PE5: A connection is only used for the incarnation of the broker that it was made for.
//   - PE6: An answer that is not of the shape of its request answers no call: the connection is closed, and the calls fail.
//   - PE7: After Close there is no goroutine and no connection.
//   - PE8: Whoever asks Silent knows of a broker's end at most one answer late: it is heard from after it was asked about, or named.
//   - PE9: A silence is waited for at most Config.Silence, all who ask taken together, however often they ask; it ends with an
//     answer, or with another incarnation.
//
// Concurrency: Pool is safe for concurrent use. Pool.mu protects the table of lanes and their queues, Pool.quiet the silences; neither
// is held while anything blocks, nor while an answer is given.
//
// Files: pool.go (lanes and their calls), lane.go (the goroutine of a lane), conn.go (a connection), markers.go, verify.go, share.go,
// latest.go and presence.go (the kinds of calls).
package peer
