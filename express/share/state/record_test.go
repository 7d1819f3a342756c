package state

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"millrace/express/machine"
	"millrace/express/share"
	"millrace/kafka/topic"
)

// What Apache Kafka 4.3.1 writes for the same state.
const (
	kafkaKey           = "0000000567726f75700102030405060708090a0b0c0d0e0f100000000b"
	kafkaUpdateKey     = "0001000567726f75700102030405060708090a0b0c0d0e0f100000000b"
	kafkaSnapshot      = "000000000003000000040000000500000000000003e80000018bcfe568000000018bcfe568010300000000000003e800000000000003f10000020000000000000003f200000000000003f80200010001000400000007"
	kafkaUpdate        = "0000000000030000000500000000000003e80300000000000003e800000000000003f10000020000000000000003f200000000000003f80200010001000400000007"
	kafkaEmptySnapshot = "0000000000030000000400000005ffffffffffffffff0000018bcfe568000000018bcfe568010100"
	kafkaEmptyUpdate   = "00000000000300000005ffffffffffffffff0100"
)

var goldenKey = Key{Group: "group", Topic: topic.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Partition: 11}

func golden() value {
	return value{
		snapshotEpoch: 3, stateEpoch: 4, leaderEpoch: 5, start: 1000, complete: 7, created: 1_700_000_000_000, written: 1_700_000_000_001,
		batches: []share.Batch{{First: 1000, Last: 1009, Count: 2}, {First: 1010, Last: 1016, State: share.Acknowledged, Count: 1}},
	}
}

func TestRecordsAreKafkas(t *testing.T) {
	full, empty := golden(), golden()
	empty.start, empty.complete, empty.batches = -1, -1, nil
	for _, tc := range []struct{ name, got, want string }{
		{"snapshot key", hex.EncodeToString(goldenKey.appendTo(snapshotKey)), kafkaKey},
		{"update key", hex.EncodeToString(goldenKey.appendTo(updateKey)), kafkaUpdateKey},
		{"snapshot", hex.EncodeToString(full.appendSnapshot()), kafkaSnapshot},
		{"update", hex.EncodeToString(full.appendUpdate()), kafkaUpdate},
		{"empty snapshot", hex.EncodeToString(empty.appendSnapshot()), kafkaEmptySnapshot},
		{"empty update", hex.EncodeToString(empty.appendUpdate()), kafkaEmptyUpdate},
	} {
		if tc.got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.name, tc.got, tc.want)
		}
	}
	kind, k, err := readKey(unhex(t, kafkaUpdateKey))
	if err != nil || kind != updateKey || k != goldenKey {
		t.Errorf("key %d %+v: %v", kind, k, err)
	}
	v, err := readValue(snapshotKey, unhex(t, kafkaSnapshot))
	if err != nil || !reflect.DeepEqual(*v, full) {
		t.Errorf("snapshot %+v: %v", v, err)
	}
	full.stateEpoch, full.created, full.written = 0, 0, 0
	if v, err = readValue(updateKey, unhex(t, kafkaUpdate)); err != nil || !reflect.DeepEqual(*v, full) {
		t.Errorf("update %+v: %v", v, err)
	}
	if v, err = readValue(updateKey, unhex(t, kafkaEmptyUpdate)); err != nil || v.complete != -1 || v.start != -1 || len(v.batches) != 0 {
		t.Errorf("empty update %+v: %v", v, err)
	}
}

func TestBadRecordsAreSkipped(t *testing.T) {
	f := func(key, val string, want error) {
		t.Helper()
		m := New(DefaultLimits())
		err := m.Replay(machine.Record{Key: unhex(t, key), Value: unhex(t, val)}, nil)
		if !errors.Is(err, want) {
			t.Errorf("%s %s: %v, want %v", key, val, err, want)
		}
		if m.Keys() != 0 {
			t.Error("it left something behind")
		}
	}
	f("00", "", ErrCorruptRecord)
	f("0002"+kafkaKey[4:], kafkaSnapshot, ErrUnknownRecord)
	f(kafkaKey[:20], kafkaSnapshot, ErrCorruptRecord)
	f(kafkaKey, "0001"+kafkaSnapshot[4:], ErrUnknownRecord)
	f(kafkaKey, kafkaSnapshot[:60], ErrCorruptRecord)
	f(kafkaKey, "00000000000300000004000000050000000000000000000000000000000000000000000000ffffffff0f00", ErrCorruptRecord)
	// a batch that ends before it begins
	f(kafkaKey, "000000000003000000040000000500000000000003e80000018bcfe568000000018bcfe568010200000000000003f100000000000003e8000002000000", ErrCorruptRecord)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzReplay(f *testing.F) {
	f.Add(unhex(f, kafkaKey), unhex(f, kafkaSnapshot))
	f.Add(unhex(f, kafkaUpdateKey), unhex(f, kafkaUpdate))
	f.Add(unhex(f, kafkaKey), unhex(f, kafkaEmptySnapshot))
	f.Fuzz(func(t *testing.T, key, val []byte) {
		m := New(DefaultLimits())
		if err := m.Replay(machine.Record{Key: key, Value: val}, nil); err != nil {
			if !errors.Is(err, ErrCorruptRecord) && !errors.Is(err, ErrUnknownRecord) {
				t.Fatal(err)
			}
			return
		}
		for k, e := range m.keys {
			if e.start < 0 {
				continue
			}
			if _, err := share.New(share.DefaultLimits(), e.start, e.batches); err != nil {
				t.Fatalf("%v: what was replayed cannot be used: %v", k, err)
			}
		}
	})
}
