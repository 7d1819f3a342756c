package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/wire"
	"millrace/test/harness"
)

// TestFeatures: the features of the cluster are told as the cluster tells them; clients choose how they run transactions by them.
func TestFeatures(t *testing.T) {
	harness.Long(t, "make suite SUITE=gateway")
	kafka := harness.StartKafka(t, harness.KafkaOptions{})
	f := start(t, kafka.Bootstrap, nil)
	told := func(c *kgo.Client) string {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "x", "1"
		resp, err := req.RequestWith(deadline(t), c)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("version %d: %+v, %+v", resp.Version, resp.SupportedFeatures, resp.FinalizedFeatures)
	}
	if direct, through := tooNew(t, kafka.Bootstrap), tooNew(t, f.bootstrap); !bytes.Equal(direct, through) {
		t.Errorf("ApiVersions too new: through the gateway: %x\nby itself: %x", through, direct)
	}
	if direct, through := told(newClient(t, kafka.Bootstrap)), told(f.client(t, "alice")); direct != through {
		t.Errorf("through the gateway: %s\nby itself: %s", through, direct)
	}
}

// tooNew returns the answer to ApiVersions in a version that nobody serves.
func tooNew(t *testing.T, bootstrap string) []byte {
	nc, err := net.Dial("tcp", bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	request := wire.AppendHeader(make([]byte, 4), wire.RequestHeader{Key: int16(kmsg.ApiVersions), Version: 99, CorrelationID: 7, ClientID: "x"})
	binary.BigEndian.PutUint32(request, uint32(len(request)-4))
	if _, err := nc.Write(request); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(nc, answer); err != nil {
		t.Fatal(err)
	}
	return answer
}
