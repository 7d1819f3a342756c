package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cluster is what one moment showed. Who has it may read it from several goroutines.
type Cluster struct {
	Brokers    map[int32]Broker // that should run, or do
	Partitions []Partition      // of all topics, internal ones too
	Quorum     Quorum
}

// Broker is one broker.
type Broker struct {
	Rack     string // "": it has none
	Alive    bool   // registered and not fenced: clients are told of it
	Cordoned bool   // it is given no new replicas
}

// Partition is one partition. Ids are those of brokers.
type Partition struct {
	Topic    string
	Number   int32
	Leader   int32   // -1: none, the partition is offline
	Replicas []int32 // the preferred leader first; while replicas move, those that come and those that go are among them
	ISR      []int32 // in sync
	ELR      []int32 // out of sync, and known to have all that was acknowledged (KIP-966); nil where nobody asked
	Adding   []int32 // those of Replicas that are on their way
	Removing []int32 // those of Replicas that go once the others are there
	MinISR   int     // min.insync.replicas in force; 0: not known
}

// Name is TOPIC-NUMBER, as Kafka writes it.
func (p Partition) Name() string { return p.Topic + "-" + strconv.Itoa(int(p.Number)) }

// Moving tells whether replicas are on their way.
func (p Partition) Moving() bool { return len(p.Adding)+len(p.Removing) > 0 }

// Target is which replicas there are once none is on its way, in their order.
func (p Partition) Target() []int32 {
	return slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return slices.Contains(p.Removing, id) })
}

// settled are the replicas that are not on their way here.
func (p Partition) settled() []int32 {
	return slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return slices.Contains(p.Adding, id) })
}

// Quorum is the controllers that vote.
type Quorum struct {
	Leader int32 // the active controller; -1: none
	Voters []Voter
}

// Voter is one controller.
type Voter struct {
	ID     int32
	Behind time.Duration // since it last had all that the active controller had; the active one has 0
	Lag    int64         // records that it does not have; what is written now is among them
}

// Patience is how far a voter may be behind: twice that and it would stand for election itself (controller.quorum.fetch.timeout.ms). An
// idle active controller writes something every half second, so who keeps up is less than a second behind.
const Patience = 2 * time.Second

// Keeps tells whether the voter takes part in the quorum.
func (v Voter) Keeps() bool { return v.Behind <= Patience }

func (q Quorum) voter(id int32) (Voter, bool) {
	i := slices.IndexFunc(q.Voters, func(v Voter) bool { return v.ID == id })
	if i < 0 {
		return Voter{}, false
	}
	return q.Voters[i], true
}

// alive are those of the ids that run.
func (c Cluster) alive(ids []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return !c.Brokers[id].Alive })
}

// less is the order of partitions.
func less(a, b Partition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Number, b.Number))
}

// list joins ids for a message.
func list(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ", ")
}

// namedMost is how many partitions a message names.
const namedMost = 3

// some names the first of many things.
func some(names []string) string {
	if len(names) <= namedMost {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namedMost], ", "), len(names)-namedMost)
}
