// Package machine is what a coordinator's pure state machine and the runtime around it say to each other: requests come
// with tickets, events have effects, and effects are records to append, answers to send and notes for people.
//
// Flow: package coord hands one event after the other, with the time, to a machine (group, transaction, share). The machine
// answers with Effects. The runtime appends, tells each outcome, and sends the replies; nothing else goes between them. A
// machine does no IO, starts no goroutine, knows no clock, takes no lock, so that a test can play any history.
//
// Invariants
//   - M1: Outcomes of appends reach a machine in the order of the appends.
//   - M2: An append whose outcome is an error will never be read, by anybody.
//   - M3: A machine that shows an append's effect before its outcome says so (Append.Ahead). When such an append fails the
//     runtime closes the machine and replays the log into a new one.
//
// Concurrency: none; these are values.
package machine

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Ticket names one request until it is answered. The runtime chooses tickets; a machine only compares and returns them.
type Ticket uint64

// Reply is the one answer to the request of that ticket.
type Reply struct {
	Ticket   Ticket
	Response kmsg.Response
}

// Record is one record of an internal topic, in Kafka's own format. A nil Value is a tombstone.
type Record struct {
	Key, Value []byte
}

// Producer is whose transaction something belongs to.
type Producer struct {
	ID    int64
	Epoch int16
}

// TopicPartition names a partition the way requests and internal records do.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Marker ends a producer's transaction on one partition.
type Marker struct {
	Producer
	Commit           bool
	CoordinatorEpoch int32 // of the transaction coordinator that decided
	// TransactionVersion is that of the transaction (KIP-1228): from 2 on the end of a transaction raises the producer's epoch, so
	// that a marker which does not is a late one. Not in the log; 0 in what is replayed.
	TransactionVersion int16
}

// Append is a list of records that must enter the log together and in this order, or not at all; or one marker.
type Append struct {
	ID          int64 // ascending from 1 within one machine
	Records     []Record
	Transaction *Producer // not nil: the records are part of this producer's transaction, and share no batch with others
	Marker      *Marker   // not nil: there are no Records, but this marker
	Ahead       bool      // the machine's state shows the append already (M3)
}

// Note tells people what happened; it has no other effect.
type Note struct {
	Message string // constant, lower case
	Attrs   []slog.Attr
}

// Effects is what one event asks of the runtime: append the Appends in order and report each outcome in order, send the
// Replies, log the Notes. The slices and the bytes in them belong to the runtime; responses may share bytes with the
// machine's state, which never changes bytes in place.
type Effects struct {
	Appends []Append
	Replies []Reply
	Notes   []Note
}
