package shares

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
	"time"

	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/topic"
)

var goldenID = topic.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// golden is what Apache Kafka 4.3.1 writes, key and value.
var golden = map[string][2]string{
	"member":        {"000a000567726f757000016d", "000002720263032f68030261026200"},
	"group":         {"000b000567726f7570", "000000000007000000000000006300"},
	"target":        {"000c000567726f7570", "0000000000070100080000018bcfe56800"},
	"target member": {"000d000567726f757000016d", "0000020102030405060708090a0b0c0d0e0f100300000000000000010000"},
	"current":       {"000e000567726f757000016d", "0000000000070000000600020102030405060708090a0b0c0d0e0f100300000000000000010000"},
	"state": {"000f000567726f7570", "0000020102030405060708090a0b0c0d0e0f100261020000000200020102030405060708090a0b0c0d0e0f10" +
		"026103000000000000000100020102030405060708090a0b0c0d0e0f1002620000"},
}

func TestRecordsAreKafkas(t *testing.T) {
	rack := "r"
	has := modern.Partitions{goldenID: {0, 1}}
	for name, r := range map[string]record{
		"member":        memberRecord{&Member{ID: "m", Rack: &rack, Client: modern.Client{ID: "c", Host: "/h"}, Topics: []string{"a", "b"}}},
		"group":         metadataRecord{7, 99},
		"target":        targetRecord{7, 1_700_000_000_000},
		"target member": targetMemberRecord{"m", has},
		"current":       currentRecord{&Member{ID: "m", Epoch: 7, PreviousEpoch: 6, Assigned: has}},
		"state": stateRecord{lists: lists{
			initializing: map[topic.ID]topicState{goldenID: {"a", []int32{2}}}, initialized: map[topic.ID]topicState{goldenID: {"a", []int32{0, 1}}},
			deleting: map[topic.ID]string{goldenID: "b"},
		}},
	} {
		encoded := r.Encode("group")
		if got := [2]string{hex.EncodeToString(encoded.Key), hex.EncodeToString(encoded.Value)}; got != golden[name] {
			t.Errorf("%s\n got %v\nwant %v", name, got, golden[name])
		}
		group, back, err := Decode(encoded)
		if err != nil || group != "group" || !reflect.DeepEqual(back, r) {
			t.Errorf("%s of %q: %+v, want %+v: %v", name, group, back, r, err)
		}
		if _, back, err = Decode(machine.Record{Key: encoded.Key}); err != nil || len(back.Encode("group").Value) != 0 {
			t.Errorf("tombstone of %s: %+v, %v", name, back, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		key, _ := hex.DecodeString(g[0])
		value, _ := hex.DecodeString(g[1])
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		_, r, err := Decode(machine.Record{Key: key, Value: value})
		if err != nil {
			if !errors.Is(err, modern.ErrCorrupt) && !errors.Is(err, ErrUnknownKind) {
				t.Fatal(err)
			}
			return
		}
		g := New("g")
		g.Replay(r)
		g.Loaded(Env{Now: time.UnixMilli(1), Topics: modern.NoTopics{}, Config: DefaultConfig()})
		g.Tombstones()
		g.Describe(modern.NoTopics{})
	})
}
