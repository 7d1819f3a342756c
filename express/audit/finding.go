package audit

import (
	"fmt"
	"time"

	"millrace/kafka/topic"
)

// Kind says what is wrong.
type Kind string

// The kinds of findings.
const (
	LostObject    Kind = "lost-object"    // something refers to an object that is not in the store
	DamagedObject Kind = "damaged-object" // an object is not what was written: its size, a checksum, its footer or index
	DamagedLog    Kind = "damaged-log"    // a batch in a broker's log cannot be read, or its checksum is wrong
	Gap           Kind = "gap"            // acknowledged offsets that nothing holds
	Overlap       Kind = "overlap"        // offsets that two objects or two batches hold
	Epoch         Kind = "epoch"          // leader epochs that go back, or differ from what the manifest says
	Sequence      Kind = "sequence"       // batches of a producer that are out of order, doubled or missing
	BadManifest   Kind = "manifest"       // a pointer or body that cannot be read, does not fit, or went back
	BadTail       Kind = "tail"           // a partition's new owner needs a tail that is lost or damaged
	Orphan        Kind = "orphan"         // an object that nothing has referred to for long, and that nobody deleted
)

// Kinds lists all kinds of findings, for who counts them.
func Kinds() []Kind {
	return []Kind{LostObject, DamagedObject, DamagedLog, Gap, Overlap, Epoch, Sequence, BadManifest, BadTail, Orphan}
}

// Finding is one thing that is wrong. It is plain data.
type Finding struct {
	Kind      Kind      `json:"kind"`
	Topic     string    `json:"topic,omitempty"` // its name; "" where it is not known
	TopicID   topic.ID  `json:"topic_id"`
	Partition int32     `json:"partition"`
	Object    string    `json:"object,omitempty"` // key in the store; "": it is not about an object
	Offset    int64     `json:"offset"`           // of a record; -1: it is not about one
	Detail    string    `json:"detail"`           // for people
	Found     time.Time `json:"found"`
}

// String is one line for people.
func (f Finding) String() string {
	name := f.Topic
	if name == "" {
		name = f.TopicID.String()
	}
	at := ""
	if f.Offset >= 0 {
		at = fmt.Sprintf(" at offset %d", f.Offset)
	}
	return fmt.Sprintf("%s in %s-%d%s: %s", f.Kind, name, f.Partition, at, f.Detail)
}

// identity is what makes two findings of different passes the same one.
type identity struct {
	kind   Kind
	id     topic.Partition
	object string
	offset int64
}

func (f Finding) identity() identity {
	return identity{kind: f.Kind, id: topic.Partition{Topic: f.TopicID, Index: f.Partition}, object: f.Object, offset: f.Offset}
}

// Skip is something that could not be checked, or not to its end: that says nothing about its state.
type Skip struct {
	Topic     string   `json:"topic,omitempty"`
	TopicID   topic.ID `json:"topic_id"`
	Partition int32    `json:"partition"` // -1: it is not about one
	Reason    string   `json:"reason"`
	Moved     bool     `json:"moved,omitempty"` // it went to another broker meanwhile, which checks it in a pass of its own
}
