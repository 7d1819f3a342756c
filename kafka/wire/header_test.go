package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFlexibleVersionsAgreeWithKmsg(t *testing.T) {
	if int(kmsg.MaxKey)+1 != len(firstFlexible) {
		t.Errorf("kmsg knows keys to %d, the table has %d", kmsg.MaxKey, len(firstFlexible))
	}
	everyVersion(func(key, version int16) {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		if IsFlexible(key, version) != req.IsFlexible() {
			t.Errorf("%s version %d", kmsg.NameForKey(key), version)
		}
	})
	for _, key := range []int16{-1, 95, 32767} {
		if IsFlexible(key, 5) {
			t.Errorf("unknown key %d is flexible", key)
		}
	}
}

// TestHeadersAgreeWithAClient decodes what kmsg's own formatter writes.
func TestHeadersAgreeWithAClient(t *testing.T) {
	fmtr := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me"))
	everyVersion(func(key, version int16) {
		if key == KeyControlledShutdown && version == 0 {
			return // kmsg leaves its body away
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		frame := fmtr.AppendRequest(nil, req, 77)
		size, err := FrameSize(frame)
		if err != nil || size != len(frame)-SizeBytes {
			t.Fatalf("size %d of %d: %v", size, len(frame), err)
		}
		h, body, err := DecodeHeader(frame[SizeBytes:], "")
		want := RequestHeader{Key: key, Version: version, CorrelationID: 77, ClientID: "me"}
		if err != nil || h != want {
			t.Errorf("%s version %d: %+v, %v", kmsg.NameForKey(key), version, h, err)
		}
		if wantBody := req.AppendTo(nil); !bytes.Equal(body, wantBody) {
			t.Errorf("%s version %d: body %x, want %x", kmsg.NameForKey(key), version, body, wantBody)
		}
		if ours := AppendHeader(nil, h); !bytes.Equal(ours, frame[SizeBytes:SizeBytes+len(ours)]) {
			t.Errorf("%s version %d: AppendHeader differs", kmsg.NameForKey(key), version)
		}
	})
}

func TestHeaderOddities(t *testing.T) {
	for _, tc := range []struct {
		name  string
		frame []byte
		want  RequestHeader
		body  string
		err   error
	}{
		{"null client id", []byte{0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 'b'}, RequestHeader{Key: 3, Version: 1, CorrelationID: 9}, "b", nil},
		{"unknown tags", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'c', 2, 5, 2, 'x', 'y', 9, 0, 'b'},
			RequestHeader{Key: 3, Version: 9, CorrelationID: 9, ClientID: "c"}, "b", nil},
		{"unknown key", []byte{1, 0, 0, 1, 0, 0, 0, 9, 0, 1, 'c', 'b'}, RequestHeader{Key: 256, Version: 1, CorrelationID: 9, ClientID: "c"}, "b", nil},
		{"api versions of the future", []byte{0, 18, 0, 99, 0, 0, 0, 9, 0, 1, 'c', 0, 'b'},
			RequestHeader{Key: 18, Version: 99, CorrelationID: 9, ClientID: "c"}, "b", nil},
		{"header without client id", []byte{0, 7, 0, 0, 0, 0, 0, 9, 'b'}, RequestHeader{Key: 7, CorrelationID: 9}, "b", nil},
		{"empty", nil, RequestHeader{}, "", ErrMalformed},
		{"short", []byte{0, 3, 0, 1, 0, 0}, RequestHeader{}, "", ErrMalformed},
		{"client id beyond", []byte{0, 3, 0, 1, 0, 0, 0, 9, 0, 5, 'c'}, RequestHeader{}, "", ErrMalformed},
		{"tags beyond", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'c', 200, 1}, RequestHeader{}, "", ErrMalformed},
		{"overlong tag count", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'c', 0x80, 0x80, 0x80, 0x80, 0x80, 0}, RequestHeader{}, "", ErrMalformed},
		{"endless tag count", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'c', 255, 255, 255, 255, 255, 255}, RequestHeader{}, "", ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, body, err := DecodeHeader(tc.frame, "")
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil && (h != tc.want || string(body) != tc.body) {
				t.Errorf("%+v %q", h, body)
			}
		})
	}
}

func TestHeaderDoesNotAllocateForTheSameClient(t *testing.T) {
	frame := AppendHeader(nil, RequestHeader{Key: 0, Version: 9, CorrelationID: 1, ClientID: "producer-1"})
	last := "producer-1"
	if n := testing.AllocsPerRun(100, func() { _, _, _ = DecodeHeader(frame, last) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestResponseHeader(t *testing.T) {
	for _, tc := range []struct {
		key, version int16
		want         int
	}{{3, 8, 4}, {3, 9, 5}, {18, 0, 4}, {18, 3, 4}, {18, 4, 4}, {17, 1, 4}, {0, 9, 5}, {1, 11, 4}, {1, 12, 5}} {
		if got := AppendResponseHeader(nil, tc.key, tc.version, 0x01020304); len(got) != tc.want || !bytes.HasPrefix(got, []byte{1, 2, 3, 4}) {
			t.Errorf("key %d version %d: %x", tc.key, tc.version, got)
		}
	}
}

func TestFrameSize(t *testing.T) {
	if _, err := FrameSize([]byte{0xff, 0xff, 0xff, 0xff}); !errors.Is(err, ErrMalformed) {
		t.Errorf("negative: %v", err)
	}
	var b [4]byte
	PutFrameSize(b[:], 1<<30)
	if n, err := FrameSize(b[:]); n != 1<<30 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'c', 2, 5, 2, 'x', 'y', 9, 0, 'b'})
	f.Add([]byte{0, 18, 0, 99, 0, 0, 0, 9, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		_, body, err := DecodeHeader(frame, "c")
		if err == nil && len(body) > len(frame) {
			t.Fatal("body longer than the frame")
		}
	})
}
