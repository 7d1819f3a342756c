package group

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/consumer"
	"millrace/express/group/shares"
	"millrace/express/machine"
)

// recordsOfKafka is what Apache Kafka 4.3.1 wrote of groups of all protocols, in its order. TestGroupRecordsApacheKafka of
// test/conformance writes them down.
func recordsOfKafka(t testing.TB) []machine.Record {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "kafka_records.hex"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unhex := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var out []machine.Record
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), " ")
		r := machine.Record{Key: unhex(key)}
		if value != "null" {
			r.Value = unhex(value)
		}
		out = append(out, r)
	}
	return out
}

// TestRecordsOfKafka reads each record that Apache Kafka wrote, and writes it again to the same bytes.
func TestRecordsOfKafka(t *testing.T) {
	kinds := map[byte]int{}
	for _, r := range recordsOfKafka(t) {
		kind := r.Key[1]
		kinds[kind]++
		again, err := rewritten(r)
		if err != nil {
			t.Errorf("%x %x: %v", r.Key, r.Value, err)
			continue
		}
		if !bytes.Equal(again.Key, r.Key) || !bytes.Equal(again.Value, r.Value) || (again.Value == nil) != (r.Value == nil) {
			t.Errorf("kind %d: %x %x\nis written as\n%x %x", kind, r.Key, r.Value, again.Key, again.Value)
		}
	}
	for _, kind := range []byte{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16} {
		if kinds[kind] == 0 {
			t.Errorf("there is no record of kind %d", kind)
		}
	}
}

// rewritten decodes a record, and makes it anew from what it said.
func rewritten(r machine.Record) (machine.Record, error) {
	switch kind := int16(r.Key[1]); {
	case consumer.Kinds(kind):
		group, out, err := consumer.Decode(r)
		if err != nil {
			return machine.Record{}, err
		}
		return out.Encode(group), nil
	case shares.Kinds(kind):
		group, out, err := shares.Decode(r)
		if err != nil {
			return machine.Record{}, err
		}
		return out.Encode(group), nil
	case kind == groupKey:
		return rewrittenGroup(r)
	default:
		return rewrittenOffset(r)
	}
}

func rewrittenGroup(r machine.Record) (machine.Record, error) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(r.Key); err != nil {
		return machine.Record{}, err
	}
	m := New(DefaultLimits(), nil, nil)
	if err := m.Replay(r, nil); err != nil {
		return machine.Record{}, err
	}
	g := m.groups[k.Group]
	if g == nil {
		return groupTombstone(k.Group).Record, nil
	}
	return g.record(g.assignments()).Record, nil
}

func rewrittenOffset(r machine.Record) (machine.Record, error) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(r.Key); err != nil {
		return machine.Record{}, err
	}
	m := New(DefaultLimits(), nil, nil)
	if err := m.Replay(r, nil); err != nil {
		return machine.Record{}, err
	}
	tp := TopicPartition{Topic: k.Topic, Partition: k.Partition}
	o, ok := m.Offset(k.Group, tp)
	if !ok {
		return offsetTombstone(k.Group, tp).Record, nil
	}
	return offsetRecord(k.Group, tp, o).Record, nil
}

// TestLogOfKafka takes the whole log in, as after a move from Apache Kafka: every group comes out as that left it, and none that
// was deleted is left.
func TestLogOfKafka(t *testing.T) {
	m := New(DefaultLimits(), nil, nil)
	for _, r := range recordsOfKafka(t) {
		if err := m.Replay(r, nil); err != nil {
			t.Errorf("%x %x: %v", r.Key, r.Value, err)
		}
	}
	var left []string
	for _, g := range m.List(nil, nil) {
		left = append(left, g.Group+" "+g.GroupState)
	}
	if got := strings.Join(left, ", "); got != "g Stable, the end Empty" {
		t.Errorf("groups: %s", got)
	}
	o, ok := m.Offset("g", TopicPartition{Topic: "orders"})
	if !ok || o.Offset != 5 || o.Metadata != "note" {
		t.Errorf("the offset of g is %+v", o)
	}
}
