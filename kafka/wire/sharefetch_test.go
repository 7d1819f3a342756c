package wire

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// The response is what kmsg makes of the same, with the records in their place.
func TestShareFetchAgreesWithKmsg(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Ptr(rapid.StringN(0, 200, 200), true)
		r := kmsg.NewPtrShareFetchResponse()
		r.Version = rapid.Int16Range(ShareFetchMin, ShareFetchMax).Draw(t, "version")
		r.ThrottleMillis, r.ErrorCode = rapid.Int32().Draw(t, "throttle"), rapid.Int16().Draw(t, "code")
		r.ErrorMessage, r.AcquisitionLockTimeoutMillis = text.Draw(t, "message"), rapid.Int32().Draw(t, "lock")
		var all [][]net.Buffers
		for range rapid.IntRange(0, 3).Draw(t, "topics") {
			topic := kmsg.ShareFetchResponseTopic{TopicID: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))}
			var records []net.Buffers
			for range rapid.IntRange(0, 3).Draw(t, "partitions") {
				p := kmsg.NewShareFetchResponseTopicPartition()
				p.Partition, p.ErrorCode, p.AcknowledgeErrorCode = rapid.Int32().Draw(t, "index"), rapid.Int16().Draw(t, "c"), rapid.Int16().Draw(t, "a")
				p.ErrorMessage, p.AcknowledgeErrorMessage = text.Draw(t, "m"), text.Draw(t, "am")
				p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = rapid.Int32().Draw(t, "leader"), rapid.Int32().Draw(t, "epoch")
				for range rapid.IntRange(0, 3).Draw(t, "acquired") {
					a := kmsg.NewShareFetchResponseTopicPartitionAcquiredRecord()
					a.FirstOffset, a.LastOffset, a.DeliveryCount = rapid.Int64().Draw(t, "f"), rapid.Int64().Draw(t, "l"), rapid.Int16().Draw(t, "n")
					p.AcquiredRecords = append(p.AcquiredRecords, a)
				}
				bufs := net.Buffers(rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 3).Draw(t, "records"))
				p.Records = append([]byte{}, bytes.Join(bufs, nil)...)
				records = append(records, bufs)
				topic.Partitions = append(topic.Partitions, p)
			}
			r.Topics, all = append(r.Topics, topic), append(all, records)
		}
		for range rapid.IntRange(0, 2).Draw(t, "nodes") {
			n := kmsg.NewShareFetchResponseNodeEndpoint()
			n.NodeID, n.Port, n.Host, n.Rack = 1, 2, rapid.String().Draw(t, "host"), text.Draw(t, "rack")
			r.NodeEndpoints = append(r.NodeEndpoints, n)
		}
		bufs, err := EncodeShareFetch(r, func(i, j int) net.Buffers { return all[i][j] })
		if err != nil {
			t.Fatal(err)
		}
		if got, want := bytes.Join(bufs, nil), r.AppendTo(nil); !bytes.Equal(got, want) {
			t.Fatalf("got  %x\nwant %x", got, want)
		}
	})
	if _, err := EncodeShareFetch(&kmsg.ShareFetchResponse{Version: 3}, nil); !errors.Is(err, ErrVersion) {
		t.Errorf("version 3: %v", err)
	}
}
