package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrMalformed is returned when bytes do not follow the protocol: too short, a count or a length that the bytes
	// present do not bear out, a bad varint.
	ErrMalformed = errors.New("wire: malformed")

	// ErrTooLarge is returned when a well-formed request would take more memory than its bound.
	ErrTooLarge = errors.New("wire: too large")

	// ErrVersion is returned for an API key or version that this package cannot decode or encode.
	ErrVersion = errors.New("wire: unsupported key or version")
)

// API keys that this package treats specially.
const (
	KeyProduce            int16 = 0
	KeyFetch              int16 = 1
	KeyControlledShutdown int16 = 7
	KeySASLHandshake      int16 = 17
	KeyAPIVersions        int16 = 18
	KeySASLAuthenticate   int16 = 36
)

// SizeBytes is the length of the size prefix of a frame.
const SizeBytes = 4

// FrameSize decodes the size prefix: the number of bytes that follow it. It is what the peer claims, so the caller bounds
// it; a negative size is ErrMalformed. b must hold SizeBytes.
func FrameSize(b []byte) (int, error) {
	n := int32(binary.BigEndian.Uint32(b))
	if n < 0 {
		return 0, fmt.Errorf("frame of %d bytes: %w", n, ErrMalformed)
	}
	return int(n), nil
}

// PutFrameSize writes the size prefix for a frame of n bytes (prefix not counted) into b, which must hold SizeBytes.
func PutFrameSize(b []byte, n int) { binary.BigEndian.PutUint32(b, uint32(n)) }

// RequestHeader is the header of a request, whatever its version on the wire.
type RequestHeader struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      string // empty when null
}

// DecodeHeader decodes the header at the start of a frame and returns the body after it, a slice of frame. If the client
// id equals lastClientID, that string is used and nothing is allocated; connections send the same one all the time.
//
// The version of the header follows from key and version; unknown keys are read as version 1, unknown versions of a
// known key like its highest.
func DecodeHeader(frame []byte, lastClientID string) (h RequestHeader, body []byte, err error) {
	r := reader{b: frame}
	h.Key, h.Version, h.CorrelationID = r.int16(), r.int16(), r.int32()
	if h.Key == KeyControlledShutdown && h.Version == 0 {
		return h, r.b, r.err("request header")
	}
	// The client id is a classic string even in the flexible header: the broker must be able to read it
	// without knowing the version.
	id := r.bytes(int(r.int16()))
	if string(id) == lastClientID {
		h.ClientID = lastClientID
	} else {
		h.ClientID = string(id)
	}
	if IsFlexible(h.Key, h.Version) {
		r.skipTags()
	}
	return h, r.b, r.err("request header")
}

// AppendHeader appends a request header, as a client would send it.
func AppendHeader(dst []byte, h RequestHeader) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.Key))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.Version))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.CorrelationID))
	if h.Key == KeyControlledShutdown && h.Version == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.ClientID)))
	dst = append(dst, h.ClientID...)
	if IsFlexible(h.Key, h.Version) {
		dst = append(dst, 0)
	}
	return dst
}

// AppendResponseHeader appends the header of the response to a request of this key and version. ApiVersions always gets
// header version 0, because a client reads it before it knows what the broker speaks.
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if key != KeyAPIVersions && IsFlexible(key, version) {
		dst = append(dst, 0)
	}
	return dst
}

// DecodeResponseHeader decodes the header at the start of a response to a request of this key and version, and returns the body after
// it, a slice of frame.
func DecodeResponseHeader(key, version int16, frame []byte) (correlationID int32, body []byte, err error) {
	r := reader{b: frame}
	correlationID = r.int32()
	if key != KeyAPIVersions && IsFlexible(key, version) {
		r.skipTags()
	}
	return correlationID, r.b, r.err("response header")
}

// never marks keys that have no flexible version.
const never = 1 << 14

// firstFlexible is the first flexible version of every key, indexed by key. It is never changed.
var firstFlexible = [...]int16{
	9, 12, 6, 9, 4, 2, 6, 3, 8, 6, // 0 Produce ... 9 OffsetFetch
	3, 6, 4, 4, 4, 5, 3, never, 3, 5, // 10 FindCoordinator ... 19 CreateTopics
	4, 2, 2, 4, 3, 3, 3, 1, 3, 2, // 20 DeleteTopics ... 29 DescribeAcls
	2, 2, 4, 2, 2, 2, 2, 2, 2, 2, // 30 CreateAcls ... 39 RenewDelegationToken
	2, 2, 2, 2, 1, 0, 0, never, 1, 1, // 40 ExpireDelegationToken ... 49 AlterClientQuotas
	0, 0, 0, 1, 1, 0, 0, 0, 0, 0, // 50 DescribeUserScramCredentials ... 59 FetchSnapshot
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 60 DescribeCluster ... 69 ConsumerGroupDescribe
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 70 ControllerRegistration ... 79 ShareAcknowledge
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 80 AddRaftVoter ... 89 StreamsGroupDescribe
	0, 0, 0, 0, 0, // 90 DescribeShareGroupOffsets ... 94 UnregisterController
}

// IsFlexible reports whether the version of the key uses compact types and tagged fields (KIP-482). It is false for
// unknown keys.
func IsFlexible(key, version int16) bool {
	return key >= 0 && int(key) < len(firstFlexible) && version >= firstFlexible[key]
}
