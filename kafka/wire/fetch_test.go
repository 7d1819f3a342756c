package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// someFetch returns a response that uses every field, and kmsg's form of it.
func someFetch(version int16) (*FetchResponse, *kmsg.FetchResponse) {
	r := &FetchResponse{ThrottleMillis: 5, ErrorCode: 70, SessionID: 99}
	k := kmsg.NewPtrFetchResponse()
	k.SetVersion(version)
	k.ThrottleMillis, k.ErrorCode, k.SessionID = 5, 70, 99
	for i := range 3 {
		topic := FetchTopic{Name: fmt.Sprintf("topic-%d", i), ID: [16]byte{byte(i), 2, 3}}
		kt := kmsg.NewFetchResponseTopic()
		kt.Topic, kt.TopicID = topic.Name, topic.ID
		for j := range i * 2 {
			p, kp := somePartition(i, j)
			topic.Partitions = append(topic.Partitions, p)
			kt.Partitions = append(kt.Partitions, kp)
		}
		r.Topics = append(r.Topics, topic)
		k.Topics = append(k.Topics, kt)
	}
	for i, rack := range []string{"", "zone-a"} {
		n := NodeEndpoint{NodeID: int32(i), Host: string(make([]byte, 100*i)), Port: 9092, Rack: rack}
		r.Nodes = append(r.Nodes, n)
		if version >= 16 {
			kn := kmsg.NewFetchResponseBroker()
			kn.NodeID, kn.Host, kn.Port = n.NodeID, n.Host, n.Port
			if rack != "" {
				kn.Rack = kmsg.StringPtr(rack)
			}
			k.Brokers = append(k.Brokers, kn)
		}
	}
	return r, k
}

func somePartition(i, j int) (FetchPartition, kmsg.FetchResponseTopicPartition) {
	p := FetchPartition{
		Index: int32(j), ErrorCode: int16(i), HighWatermark: 1 << 40, LastStableOffset: 1<<40 - 1, LogStartOffset: 17,
		PreferredReadReplica: -1, NullAborted: j == 0,
	}
	kp := kmsg.NewFetchResponseTopicPartition()
	kp.Partition, kp.ErrorCode, kp.HighWatermark = p.Index, p.ErrorCode, p.HighWatermark
	kp.LastStableOffset, kp.LogStartOffset, kp.PreferredReadReplica = p.LastStableOffset, p.LogStartOffset, -1
	kp.RecordBatches = []byte{}
	if j > 0 {
		kp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	if j == 1 {
		p.Aborted = []AbortedTransaction{{ProducerID: 4, FirstOffset: 8}, {ProducerID: 5, FirstOffset: 9}}
		for _, a := range p.Aborted {
			ka := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
			ka.ProducerID, ka.FirstOffset = a.ProducerID, a.FirstOffset
			kp.AbortedTransactions = append(kp.AbortedTransactions, ka)
		}
		p.Diverging = &EpochEnd{Epoch: 3, EndOffset: 1000}
		kp.DivergingEpoch.Epoch, kp.DivergingEpoch.EndOffset = 3, 1000
	}
	if j != 0 {
		p.CurrentLeader = &LeaderEpoch{LeaderID: 2, Epoch: 6}
		kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch = 2, 6
		p.Records = net.Buffers{bytes.Repeat([]byte{byte(j)}, 300), {}, bytes.Repeat([]byte{0xee}, 7000)}
		for _, b := range p.Records {
			kp.RecordBatches = append(kp.RecordBatches, b...)
		}
	}
	return p, kp
}

func joined(bufs net.Buffers) []byte { return bytes.Join(bufs, nil) }

func TestFetchAgreesWithKmsg(t *testing.T) {
	var e FetchEncoder
	for version := FetchMin; version <= FetchMax; version++ {
		r, k := someFetch(version)
		for range 2 { // the second time in memory that was used
			bufs, n, err := e.Encode(version, r)
			if err != nil {
				t.Fatal(err)
			}
			got, want := joined(bufs), k.AppendTo(nil)
			if !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
			if n != len(got) {
				t.Errorf("version %d: says %d bytes, has %d", version, n, len(got))
			}
			if _, err := bufs.WriteTo(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
		empty, n, err := e.Encode(version, &FetchResponse{})
		ke := kmsg.NewPtrFetchResponse()
		ke.SetVersion(version)
		if want := ke.AppendTo(nil); err != nil || !bytes.Equal(joined(empty), want) || n != len(want) {
			t.Errorf("version %d, empty: %x", version, joined(empty))
		}
	}
}

func TestFetchVersions(t *testing.T) {
	var e FetchEncoder
	for _, v := range []int16{-1, 3, 19} {
		if _, _, err := e.Encode(v, &FetchResponse{}); !errors.Is(err, ErrVersion) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

func TestFetchRecordsAreNotCopied(t *testing.T) {
	var e FetchEncoder
	records := bytes.Repeat([]byte{1}, 100)
	r := &FetchResponse{Topics: []FetchTopic{{Partitions: []FetchPartition{{Records: net.Buffers{records}}}}}}
	bufs, _, err := e.Encode(16, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bufs {
		if &b[0] == &records[0] {
			return
		}
	}
	t.Error("the records are not among the buffers")
}

func TestFetchEncoderReusesItsMemory(t *testing.T) {
	var e FetchEncoder
	r, _ := someFetch(16)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := e.Encode(16, r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEncodeFetch1MiB(b *testing.B) {
	r := &FetchResponse{Topics: []FetchTopic{{Name: "orders", Partitions: []FetchPartition{{Records: net.Buffers{make([]byte, 1<<20)}}}}}}
	var e FetchEncoder
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := e.Encode(16, r); err != nil {
			b.Fatal(err)
		}
	}
}
