package group

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// TestOldRecords reads the versions that older brokers wrote.
func TestOldRecords(t *testing.T) {
	m := New(DefaultLimits(), nil, nil)
	for version := int16(0); version <= 4; version++ {
		k := kmsg.OffsetCommitKey{Version: min(version, 1), Group: "g", Topic: "t", Partition: int32(version)}
		v := kmsg.NewOffsetCommitValue()
		v.Version, v.Offset, v.LeaderEpoch, v.CommitTimestamp, v.ExpireTimestamp = version, 7, 3, 11, 12
		if err := m.Replay(machine.Record{Key: k.AppendTo(nil), Value: v.AppendTo(nil)}, nil); err != nil {
			t.Fatal(version, err)
		}
		o, ok := m.Offset("g", TopicPartition{Topic: "t", Partition: int32(version)})
		want := Offset{Offset: 7, LeaderEpoch: -1, CommittedMs: 11, ExpiresMs: -1}
		if version >= 3 {
			want.LeaderEpoch = 3
		}
		if version == 1 {
			want.ExpiresMs = 12
		}
		if !ok || o != want {
			t.Errorf("version %d: %+v, want %+v", version, o, want)
		}
	}
	for version := int16(0); version <= 3; version++ {
		k := kmsg.GroupMetadataKey{Version: 2, Group: "h"}
		v := kmsg.NewGroupMetadataValue()
		protocol := "range"
		v.Version, v.ProtocolType, v.Generation, v.Protocol = version, "consumer", int32(version)+1, &protocol
		mv := kmsg.NewGroupMetadataValueMember()
		mv.MemberID, mv.SessionTimeoutMillis, mv.RebalanceTimeoutMillis = "m", 8000, 9000
		v.Members = append(v.Members, mv)
		if err := m.Replay(machine.Record{Key: k.AppendTo(nil), Value: v.AppendTo(nil)}, nil); err != nil {
			t.Fatal(version, err)
		}
		g := m.groups["h"]
		wait := 9 * time.Second
		if version == 0 {
			wait = 8 * time.Second
		}
		if g.state != Stable || g.generation != int32(version)+1 || g.leader != "m" || g.rebalanceTimeout() != wait {
			t.Errorf("version %d: %+v", version, g)
		}
	}
}

func TestReplayOrder(t *testing.T) {
	m := New(DefaultLimits(), nil, nil)
	replay := func(r machine.Record) {
		t.Helper()
		if err := m.Replay(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	tp := TopicPartition{Topic: "t"}
	replay(offsetTombstone("g", tp).Record)
	replay(groupTombstone("g").Record)
	if m.Groups() != 0 {
		t.Error("tombstones made a group")
	}
	replay(offsetRecord("g", tp, Offset{Offset: 1, ExpiresMs: -1}).Record)
	replay(groupTombstone("g").Record)
	if _, ok := m.Offset("g", tp); !ok {
		t.Error("a group's tombstone took an offset that was committed before it")
	}
	replay(offsetTombstone("g", tp).Record)
	if m.Groups() != 0 {
		t.Error("a group without anything is left")
	}
	for name, r := range map[string]machine.Record{
		"no key":       {},
		"short offset": {Key: []byte{0, 1, 0}},
		"short group":  {Key: []byte{0, 2, 0}},
		"no version":   {Key: offsetTombstone("g", tp).Key, Value: []byte{0}},
		"new kind":     {Key: []byte{0, 99, 0, 0}},
		"new offset":   {Key: offsetTombstone("g", tp).Key, Value: []byte{0, 9}},
		"new group":    {Key: groupTombstone("g").Key, Value: []byte{0, 4}},
		"torn offset":  {Key: offsetTombstone("g", tp).Key, Value: []byte{0, 3, 0}},
		"torn group":   {Key: groupTombstone("g").Key, Value: []byte{0, 3, 0}},
	} {
		err := m.Replay(r, nil)
		if !errors.Is(err, ErrCorruptRecord) && !errors.Is(err, ErrUnknownRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReplay takes in a hostile record, asks for everything, and lets time pass.
func FuzzReplay(f *testing.F) {
	m := New(DefaultLimits(), func(p string) string { return p + "-1" }, nil)
	now := time.UnixMilli(1)
	e := m.OffsetCommit(now, 1, commitRequest(args{"offsets": "t/1:5:meta"}))
	f.Add(e.Appends[0].Records[0].Key, e.Appends[0].Records[0].Value)
	f.Add([]byte{0, 2, 0, 1, 'g'}, []byte{0, 3, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0})
	f.Add([]byte{0, 3}, []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m := New(DefaultLimits(), func(p string) string { return p + "-1" }, nil)
		if err := m.Replay(machine.Record{Key: key, Value: value}, nil); err != nil && !errors.Is(err, ErrCorruptRecord) && !errors.Is(err, ErrUnknownRecord) {
			t.Fatal(err)
		}
		m.Loaded(now)
		for _, g := range m.List(nil, nil) {
			m.Describe(g.Group, 6)
			m.Committed(g.Group)(func(string, []int32) bool { return true })
		}
		for range 3 {
			if at, ok := m.Deadline(); ok {
				for _, a := range m.Advance(at).Appends {
					m.Appended(at, a.ID, kerr.None)
				}
			}
		}
		m.Expire(now.Add(1000 * time.Hour))
		m.Close(now.Add(1000 * time.Hour))
	})
}
