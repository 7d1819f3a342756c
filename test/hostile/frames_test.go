package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/wire"
)

// brokenFrames are bytes that nobody answers.
func brokenFrames() []struct {
	name  string
	bytes []byte
} {
	noise := make([]byte, 64<<10)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	size := func(n uint32, rest ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	header := func(rest ...byte) []byte { return sized(append(make([]byte, wire.SizeBytes), rest...)) }
	longTags := append([]byte{0, 3, 0, 12, 0, 0, 0, 1, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, 5)...)
	return []struct {
		name  string
		bytes []byte
	}{
		{"garbage", append([]byte{0x91}, noise...)},
		{"http", []byte("GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n")},
		{"tls client hello", append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, noise[:600]...)},
		{"ssh", []byte("SSH-2.0-OpenSSH_9.6\r\n")},
		{"size negative", size(0xffffffff, 0, 18)},
		{"size least", size(0x80000000, 0, 18)},
		{"size huge", size(0x7fffffff, 0, 18)},
		{"size beyond the limit", size(101<<20, 0, 18)},
		{"frame empty", size(0)},
		{"header cut off", header(0, 18, 0)},
		{"client id cut off", header(0, 18, 0, 0, 0, 0, 0, 1, 0, 200, 'x')},
		{"header with four billion tags", header(longTags...)},
		{"key unknown", frame(9999, 0, nil)},
		{"key negative", frame(-1, 0, nil)},
		{"key of the controllers", frame(int16(kmsg.Vote), 0, nil)},
		{"key retired", frame(int16(kmsg.LeaderAndISR), 2, nil)},
		{"version too new", frame(int16(kmsg.Metadata), 99, nil)},
		{"version negative", frame(int16(kmsg.Metadata), -1, nil)},
		{"version retired", frame(int16(kmsg.Fetch), 3, nil)},
		{"body missing", frame(int16(kmsg.Metadata), 1, nil)},
		{"array of two billion", frame(int16(kmsg.Metadata), 1, size(0x7fffffff))},
		{"compact array of four billion", frame(int16(kmsg.Metadata), 12, bytes.Repeat([]byte{0xff}, 5))},
		{"string cut off", frame(int16(kmsg.Metadata), 1, size(1, 0x7f, 0xff, 'x'))},
		{"tags of two billion", frame(int16(kmsg.ListGroups), 3, []byte{0xff, 0xff, 0xff, 0xff, 0x07})},
		{"tag of four billion bytes", frame(int16(kmsg.ListGroups), 3, []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})},
		{"varint without end", frame(int16(kmsg.ListGroups), 3, bytes.Repeat([]byte{0x80}, 30))},
	}
}

// closesBrokenFrames sends each of the broken frames on a connection of its own, which must be closed without an answer.
func closesBrokenFrames(t *testing.T, c *cluster) {
	for _, broken := range brokenFrames() {
		p := c.connect(t)
		p.send(broken.bytes)
		if reply, err := p.read(patience); !errors.Is(err, errClosed) {
			t.Errorf("%s: want a closed connection, got %x, %v", broken.name, reply, err)
		}
	}
}

// closesCutFrames ends connections in the middle of a frame, after every byte of a request.
func closesCutFrames(t *testing.T, c *cluster) {
	whole := frame(int16(kmsg.ApiVersions), 3, []byte{2, 'x', 2, '1', 0})
	for cut := range whole {
		p := c.connect(t)
		p.send(whole[:cut])
		p.finish()
		if reply, err := p.read(patience); !errors.Is(err, errClosed) {
			t.Errorf("cut after %d bytes: want a closed connection, got %x, %v", cut, reply, err)
		}
	}
}

// answersFutureAPIVersions: a client newer than the broker learns what it may speak (KIP-511).
func answersFutureAPIVersions(t *testing.T, c *cluster) {
	p := c.connect(t)
	p.send(frame(int16(kmsg.ApiVersions), 99, []byte("who knows what stands here")))
	reply, err := p.read(patience)
	if err != nil {
		t.Fatal(err)
	}
	response := kmsg.NewPtrApiVersionsResponse()
	if err := response.ReadFrom(reply[4:]); err != nil {
		t.Fatal(err)
	}
	if kerr.Code(response.ErrorCode) != kerr.UnsupportedVersion {
		t.Errorf("error %v", kerr.Code(response.ErrorCode))
	}
	listed := false
	for _, key := range response.ApiKeys {
		listed = listed || key.ApiKey == int16(kmsg.ApiVersions) && key.MaxVersion >= 3
	}
	if !listed {
		t.Errorf("the answer does not tell the versions of ApiVersions: %+v", response.ApiKeys)
	}
	// The connection goes on: the client asks again in a version that it was told.
	request := kmsg.NewPtrApiVersionsRequest()
	request.Version, request.ClientSoftwareName, request.ClientSoftwareVersion = 3, "x", "1"
	if again, err := ask[*kmsg.ApiVersionsResponse](p, request); err != nil || again.ErrorCode != 0 {
		t.Errorf("asked again: %+v, %v", again, err)
	}
}

// refusesSoftwareNames: names that would let a client write into logs or metrics.
func refusesSoftwareNames(t *testing.T, c *cluster) {
	for _, name := range []string{"", "a b", "-x", "x\n", "x\x00", "ü"} {
		request := kmsg.NewPtrApiVersionsRequest()
		request.Version, request.ClientSoftwareName, request.ClientSoftwareVersion = 3, name, "1"
		response, err := ask[*kmsg.ApiVersionsResponse](c.connect(t), request)
		if err != nil || kerr.Code(response.ErrorCode) != kerr.InvalidRequest {
			t.Errorf("software name %q: %+v, %v", name, response, err)
		}
	}
}

// frames is what both engines must do.
func frames(t *testing.T, c *cluster) {
	t.Run("broken", func(t *testing.T) { closesBrokenFrames(t, c) })
	t.Run("cut", func(t *testing.T) { closesCutFrames(t, c) })
	t.Run("future", func(t *testing.T) { answersFutureAPIVersions(t, c) })
	t.Run("software", func(t *testing.T) { refusesSoftwareNames(t, c) })
}

func TestFrames(t *testing.T) {
	c := startMillrace(t)
	c.unharmed(func() { frames(t, c) })
}
