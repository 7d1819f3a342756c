package transaction

import (
	"cmp"
	"math"
	"slices"

	"millrace/express/machine"
)

// State is the state of a transactional id; doc.go draws the transitions. The numbers are those of the log.
type State int8

// The states, by Kafka's names.
const (
	Empty State = iota
	Ongoing
	PrepareCommit
	PrepareAbort
	CompleteCommit
	CompleteAbort
	Dead
	PrepareEpochFence
)

var stateNames = [...]string{
	"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
}

// String returns the name that ListTransactions and DescribeTransactions show.
func (s State) String() string { return stateNames[s] }

func (s State) prepared() bool { return s == PrepareCommit || s == PrepareAbort }

func compare(a, b machine.TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// none stands for a producer id or epoch that there is not.
const none = -1

// lastEpoch is the last epoch that a producer is ever told; the one after it is kept for fencing it.
const lastEpoch = math.MaxInt16 - 1

// Protocols that an end of a transaction may follow. Kafka's level 1 is the first protocol with newer records.
const (
	firstProtocol  int16 = 0
	secondProtocol int16 = 2
)

// metadata is what the log knows about a transactional id. Its slices are never changed in place.
type metadata struct {
	producer   machine.Producer
	lastEpoch  int16 // before the last bump that its producer asked for; none. Not in the log
	previous   int64 // producer id before the last transition; none
	next       int64 // producer id that takes over once this transaction is complete; none
	timeoutMs  int32
	state      State
	partitions []machine.TopicPartition // sorted, each once
	startMs    int64                    // of the transaction; none before the first
	updateMs   int64
	protocol   int16 // of the client, or of us
}

// to is the metadata after a transition that changes nothing else.
func (d metadata) to(s State, nowMs int64) metadata {
	d.previous = d.producer.ID
	d.state = s
	d.updateMs = nowMs
	return d
}

// exhausted says that the producer cannot be given another epoch.
func (d metadata) exhausted() bool { return d.producer.Epoch >= lastEpoch }

func (d metadata) contains(tp machine.TopicPartition) bool {
	_, ok := slices.BinarySearchFunc(d.partitions, tp, compare)
	return ok
}

// with returns the partitions and those added.
func (d metadata) with(added []machine.TopicPartition) []machine.TopicPartition {
	all := slices.Concat(d.partitions, added)
	slices.SortFunc(all, compare)
	return slices.Compact(all)
}

// completed is the metadata once every partition has its marker.
func (d metadata) completed(nowMs int64) metadata {
	end := CompleteAbort
	if d.state == PrepareCommit {
		end = CompleteCommit
	}
	out := d.to(end, nowMs)
	if d.protocol >= secondProtocol && d.next != none {
		out.producer = machine.Producer{ID: d.next}
	}
	out.next, out.partitions = none, nil
	return out
}

// entry is one transactional id.
type entry struct {
	id string
	metadata
	logged  bool // the log has it
	pending bool // a transition is with the log
	size    int  // of its record, in bytes
	waiting []*addition
}
