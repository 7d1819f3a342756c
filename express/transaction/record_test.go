package transaction

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
)

// Records as Apache Kafka 4.3.1 wrote them are read, and written back the same.
func TestRecordsOfApacheKafka(t *testing.T) {
	for text, want := range map[string]metadata{
		"0001000000000000000100000000ea600000000001a207b623afffffffffffffffff0100080000000000000001": {
			producer: machine.Producer{ID: 1}, previous: 1, state: Empty, startMs: none, updateMs: 0x1a207b623af,
		},
		"0001000000000000000100010000ea600302135f5f636f6e73756d65725f6f666673657473020000000300000001a207b623d0000001a207b623cb020008000000000000000102020002": {
			producer: machine.Producer{ID: 1, Epoch: 1}, previous: 1, state: PrepareAbort, partitions: parts("__consumer_offsets/3"),
			startMs: 0x1a207b623cb, updateMs: 0x1a207b623d0, protocol: 2,
		},
		"0001000000000000000000010000ea600501000001a207b62344000001a207b6233f020008000000000000000002020002": {
			producer: machine.Producer{Epoch: 1}, state: CompleteAbort, startMs: 0x1a207b6233f, updateMs: 0x1a207b62344, protocol: 2,
		},
	} {
		value, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		want.lastEpoch, want.next, want.timeoutMs = none, none, 60_000
		got, err := decode(value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v\nwant %+v", got, err, want)
		}
		if again := hex.EncodeToString(encode("x", got).Value); again != text {
			t.Errorf("got  %s\nwant %s", again, text)
		}
	}
}

// Field by field; the first is the version.
func TestRecordBytes(t *testing.T) {
	r := encode("x", metadata{
		producer: machine.Producer{ID: 4000, Epoch: 3}, lastEpoch: 2, previous: 4000, next: none, timeoutMs: 60_000,
		state: PrepareCommit, partitions: parts("a/0", "a/2", "b/1"), startMs: 1, updateMs: 2, protocol: 2,
	})
	if got := hex.EncodeToString(r.Key); got != "0000"+"0001"+"78" {
		t.Error(got)
	}
	want := "0001" + "0000000000000fa0" + "0003" + "0000ea60" + "02" +
		"03" + "0261" + "03" + "00000000" + "00000002" + "00" + "0262" + "02" + "00000001" + "00" +
		"0000000000000002" + "0000000000000001" +
		"02" + "00" + "08" + "0000000000000fa0" + "02" + "02" + "0002"
	if got := hex.EncodeToString(r.Value); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	empty := encode("x", metadata{producer: machine.Producer{ID: 1}, previous: none, next: none})
	if v := empty.Value[17]; v != 0 {
		t.Errorf("partitions of an empty id are %d, want null", v)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	for _, d := range []metadata{
		{producer: machine.Producer{ID: 1}, lastEpoch: none, previous: none, next: none, startMs: none},
		{producer: machine.Producer{ID: 1 << 40, Epoch: lastEpoch}, lastEpoch: none, previous: 3, next: 9, timeoutMs: 7, state: PrepareAbort,
			partitions: parts("a/0", "b/1", "b/2"), startMs: 5, updateMs: 6, protocol: 2},
	} {
		got, err := decode(encode("x", d).Value)
		if err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("%+v, %v\nwant %+v", got, err, d)
		}
	}
}

// Version 0 is what Kafka wrote before 4.0, and has no tagged fields.
func TestReplayOfOldRecords(t *testing.T) {
	v := kmsg.NewTxnMetadataValue()
	v.ProducerID, v.ProducerEpoch, v.TimeoutMillis, v.State = 8, 1, 1000, kmsg.TransactionState(PrepareCommit)
	v.Topics = []kmsg.TxnMetadataValueTopic{{Topic: "b", Partitions: []int32{1, 0, 1}}, {Topic: "a", Partitions: []int32{2}}}
	m := New(DefaultLimits(), 4)
	r := tombstone("old")
	r.Value = v.AppendTo(nil)
	if err := m.Replay(r, nil); err != nil {
		t.Fatal(err)
	}
	m.Loaded(time.UnixMilli(9))
	task := m.TakeMarkers()
	want := machine.Marker{Producer: machine.Producer{ID: 8, Epoch: 1}, Commit: true, CoordinatorEpoch: 4}
	if len(task) != 1 || spell(task[0].Partitions) != "a/2,b/0,b/1" || task[0].Marker != want {
		t.Errorf("%+v", task)
	}
}

func TestReplayErrors(t *testing.T) {
	good := encode("x", metadata{producer: machine.Producer{ID: 1}, previous: none, next: none})
	set := func(f func(v *kmsg.TxnMetadataValue)) []byte {
		v := kmsg.NewTxnMetadataValue()
		v.Version, v.ProducerID = 1, 1
		f(&v)
		return v.AppendTo(nil)
	}
	for name, tc := range map[string]struct {
		key, value []byte
		want       error
	}{
		"no key":        {nil, good.Value, ErrCorruptRecord},
		"other kind":    {[]byte{0, 1, 0, 0}, good.Value, ErrUnknownRecord},
		"short key":     {good.Key[:4], good.Value, ErrCorruptRecord},
		"no id":         {[]byte{0, 0, 0, 0}, good.Value, ErrCorruptRecord},
		"newer value":   {good.Key, append([]byte{0, 2}, good.Value[2:]...), ErrUnknownRecord},
		"no value":      {good.Key, []byte{}, ErrUnknownRecord},
		"short value":   {good.Key, good.Value[:20], ErrCorruptRecord},
		"dead":          {good.Key, set(func(v *kmsg.TxnMetadataValue) { v.State = 6 }), ErrCorruptRecord},
		"unknown state": {good.Key, set(func(v *kmsg.TxnMetadataValue) { v.State = -1 }), ErrCorruptRecord},
		"no producer":   {good.Key, set(func(v *kmsg.TxnMetadataValue) { v.ProducerID = -1 }), ErrCorruptRecord},
		"no epoch":      {good.Key, set(func(v *kmsg.TxnMetadataValue) { v.ProducerEpoch = -1 }), ErrCorruptRecord},
	} {
		m := New(DefaultLimits(), 0)
		if err := m.Replay(machine.Record{Key: tc.key, Value: tc.value}, nil); !errors.Is(err, tc.want) || len(m.entries) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReplay: no bytes can break the machine, and what it takes in it writes back the same.
func FuzzReplay(f *testing.F) {
	r := encode("x", metadata{producer: machine.Producer{ID: 4000, Epoch: 3}, previous: 1, next: 2, state: PrepareAbort, partitions: parts("a/0", "b/1"), protocol: 2})
	f.Add(r.Key, r.Value)
	f.Add(r.Key, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		k, v := bytes.Clone(key), bytes.Clone(value)
		m := New(DefaultLimits(), 0)
		err := m.Replay(machine.Record{Key: k, Value: v}, nil)
		clear(k)
		clear(v)
		if err != nil || len(m.entries) == 0 {
			return
		}
		for id, e := range m.entries {
			again, err := decode(encode(id, e.metadata).Value)
			if err != nil {
				t.Fatal(err)
			}
			if len(again.partitions) == 0 {
				again.partitions = e.partitions
			}
			if !reflect.DeepEqual(again, e.metadata) {
				t.Fatalf("%+v\n%+v", again, e.metadata)
			}
		}
		m.Loaded(time.UnixMilli(1))
		m.Advance(time.UnixMilli(1 << 60))
		m.Expire(time.UnixMilli(1 << 50))
		m.Close(time.UnixMilli(1 << 50))
	})
}
