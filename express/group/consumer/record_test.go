package consumer

import (
	"bufio"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/topic"
)

// TestRecordsRoundTrip decodes every kind of record, with and without what is optional, into what was encoded. That the bytes
// are Kafka's is shown in package group.
func TestRecordsRoundTrip(t *testing.T) {
	text := "text"
	has := modern.Partitions{topic.ID{1}: {0, 2}, topic.ID{2}: {1}}
	owned := modern.Owned{topic.ID{1}: {0: 3, 2: 4}}
	client := modern.Client{ID: "c", Host: "/h"}
	classic := &Classic{Session: time.Second, Protocols: []Protocol{{"range", []byte{1}}, {"other", []byte{}}}}
	for name, r := range map[string]record{
		"group":          metadataRecord{7, 99},
		"group, no hash": metadataRecord{7, 0},
		"member":         memberRecord{&Member{ID: "m", Client: client, Topics: []string{"a", "b"}, Rebalance: time.Minute}},
		"member, all of it": memberRecord{&Member{ID: "m", Instance: &text, Rack: &text, Client: client, Regex: &text, Assignor: &text,
			Rebalance: time.Minute, Classic: classic}},
		"target":           targetRecord{7, 1_700_000_000_000},
		"target, no time":  targetRecord{7, 0},
		"target member":    targetMemberRecord{"m", has},
		"nothing to have":  targetMemberRecord{"m", modern.Partitions{}},
		"current":          currentRecord{&Member{ID: "m", Epoch: 7, PreviousEpoch: 6, State: UnrevokedPartitions, Assigned: owned, Revoking: has.At(2)}},
		"current, unknown": currentRecord{&Member{ID: "m", State: Unknown, Assigned: modern.Owned{}, Revoking: modern.Owned{}}},
		"regex":            regexRecord{"a.*", Resolved{Topics: []string{"a", "ab"}, Version: 3, Timestamp: 4}},
	} {
		encoded := r.Encode("group")
		group, back, err := Decode(encoded)
		if err != nil || group != "group" || !reflect.DeepEqual(back, r) {
			t.Errorf("%s of %q: %+v, want %+v: %v", name, group, back, r, err)
		}
		for n := range encoded.Value {
			if _, _, err := Decode(machine.Record{Key: encoded.Key, Value: encoded.Value[:n]}); !errors.Is(err, modern.ErrCorrupt) {
				t.Errorf("%s, %d of %d bytes: %v", name, n, len(encoded.Value), err)
			}
		}
		gone := machine.Record{Key: encoded.Key}
		if group, back, err = Decode(gone); err != nil || !reflect.DeepEqual(back.Encode(group), gone) {
			t.Errorf("tombstone of %s: %+v: %v", name, back, err)
		}
	}
	if _, _, err := Decode(machine.Record{Key: modern.Key(kindRegex+1, "g")}); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("another kind: %v", err)
	}
}

// TestUnknownMemberState takes what a newer version wrote for a state that we do not know.
func TestUnknownMemberState(t *testing.T) {
	r := currentRecord{&Member{ID: "m", State: 9}}.Encode("g")
	if _, back, err := Decode(r); err != nil || back.(currentRecord).m.State != Unknown {
		t.Errorf("%+v: %v", back, err)
	}
}

// FuzzDecode takes hostile records into a group, and makes the group do all it can with them.
func FuzzDecode(f *testing.F) {
	file, err := os.Open(filepath.Join("..", "testdata", "kafka_records.hex"))
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), " ")
		k, _ := hex.DecodeString(key)
		v, _ := hex.DecodeString(value)
		if Kinds(int16(k[1])) {
			f.Add(k, v, value == "null")
		}
	}
	f.Fuzz(func(t *testing.T, key, value []byte, null bool) {
		r := machine.Record{Key: key, Value: value}
		if null {
			r.Value = nil
		}
		group, back, err := Decode(r)
		if err != nil {
			if !errors.Is(err, modern.ErrCorrupt) && !errors.Is(err, ErrUnknownKind) {
				t.Fatal(err)
			}
			return
		}
		again := back.Encode(group)
		if _, _, err := Decode(again); err != nil && back != (record)(oldMetadataRecord{}) {
			t.Fatalf("%+v is written as %x %x: %v", back, again.Key, again.Value, err)
		}
		s := newStage(t, topics{"a": 2})
		s.group.Replay(back)
		s.group.Loaded(s.env)
		s.group.Describe(s.env)
		for _, m := range []string{"m", "n"} {
			_, _ = s.ask(joining(m, "a")) // may be refused
		}
		s.group.Apply(s.group.Refresh(s.env))
		s.group.Apply(s.group.Fence(s.env, slices.Clone(s.group.order)...))
		s.group.Tombstones()
	})
}

// FuzzSubscription reads what members and leaders of the classic protocol send, as its clients encode it.
func FuzzSubscription(f *testing.F) {
	said := kmsg.NewConsumerMemberMetadata()
	said.Version, said.Topics = 3, []string{"a", "b"}
	said.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a", Partitions: []int32{1, 0, 1}}}
	f.Add(said.AppendTo(nil))
	had := kmsg.NewConsumerMemberAssignment()
	had.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "a", Partitions: []int32{1, 0, 1}}}
	f.Add(had.AppendTo(nil))
	f.Add([]byte{255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		all := topics{"a": 2}
		if s, err := readSubscription(b); err == nil {
			sorted(t, s.partitions(all))
		} else if !errors.Is(err, errSubscription) {
			t.Fatal(err)
		}
		if p, err := readAssignment(b, all); err == nil {
			sorted(t, p)
		} else if !errors.Is(err, errSubscription) && !errors.Is(err, errUserData) {
			t.Fatal(err)
		}
	})
}

// sorted holds partitions to what modern.Partitions promises.
func sorted(t *testing.T, p modern.Partitions) {
	for id, indexes := range p {
		for i, index := range indexes {
			if i > 0 && indexes[i-1] >= index {
				t.Fatalf("%v: %v", id, indexes)
			}
		}
		if len(indexes) == 0 {
			t.Fatalf("%v has an empty list", id)
		}
	}
}
