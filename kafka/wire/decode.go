package wire

import (
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DefaultMaxDecoded bounds the memory of one decoded request when NewDecoder is given 0. A Fetch request of 100,000
// partitions takes about 10 MB.
const DefaultMaxDecoded = 32 << 20

const (
	maxKeys     = len(firstFlexible)
	maxVersions = 32
)

// Decoder decodes requests with kmsg behind a guard.
//
// The guard is there because kmsg makes each array by the count that the peer claims, as long as that is no more than
// the bytes left: a frame of 1 MiB can so claim a million elements of a hundred bytes each, at every level of nesting, and
// a claimed number of tags makes it loop four billion times. So the structure is walked first, without allocating, and
// kmsg only sees requests whose counts the bytes bear out and whose decoded size is within the bound.
//
// Make one with NewDecoder. Safe for concurrent use.
type Decoder struct {
	max     int
	layouts [maxKeys][maxVersions]atomic.Pointer[structLayout] // of requests
	answers [maxKeys][maxVersions]atomic.Pointer[structLayout] // of responses
}

// NewDecoder returns a Decoder that refuses requests whose decoded form would take more than maxDecoded bytes; 0 means
// DefaultMaxDecoded.
func NewDecoder(maxDecoded int) *Decoder {
	if maxDecoded <= 0 {
		maxDecoded = DefaultMaxDecoded
	}
	return &Decoder{max: maxDecoded}
}

// Decode decodes the body of a request. Its strings are copies; its byte fields (group assignments, records, tokens) are
// slices of body. Bytes after the request are ignored, as Kafka does. Errors are ErrVersion, ErrMalformed and ErrTooLarge.
func (d *Decoder) Decode(key, version int16, body []byte) (kmsg.Request, error) {
	if _, err := d.DecodedSize(key, version, body); err != nil {
		return nil, err
	}
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s version %d: %w", kmsg.NameForKey(key), version, ErrMalformed)
	}
	return req, nil
}

// DecodedSize walks the body and returns how many bytes its decoded form takes, approximately and rather too high than
// too low. It allocates nothing. Errors are as for Decode.
func (d *Decoder) DecodedSize(key, version int16, body []byte) (int, error) {
	layout, err := d.layout(key, version)
	if err != nil {
		return 0, err
	}
	return d.walk(layout, key, version, body)
}

// DecodeResponse decodes the body of a response, for whoever stands between a client and a broker that it does not trust
// blindly. Its strings are copies; its byte fields are slices of body. Bytes after the response are ignored. Errors are ErrVersion,
// ErrMalformed and ErrTooLarge.
func (d *Decoder) DecodeResponse(key, version int16, body []byte) (kmsg.Response, error) {
	layout, err := d.answerLayout(key, version)
	if err != nil {
		return nil, err
	}
	if _, err := d.walk(layout, key, version, body); err != nil {
		return nil, err
	}
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("answer to %s version %d: %w", kmsg.NameForKey(key), version, ErrMalformed)
	}
	return resp, nil
}

// walk passes over a whole message.
func (d *Decoder) walk(layout *structLayout, key, version int16, body []byte) (int, error) {
	w := walker{reader: reader{b: body}, left: d.max}
	w.spend(layout.bytes)
	w.fields(layout)
	switch {
	case w.over:
		return 0, fmt.Errorf("%s version %d of %d bytes takes more than %d: %w",
			kmsg.NameForKey(key), version, len(body), d.max, ErrTooLarge)
	case w.bad:
		return 0, fmt.Errorf("%s version %d: %w", kmsg.NameForKey(key), version, ErrMalformed)
	}
	return d.max - w.left, nil
}

// layout returns the layout of a request, learning it at its first use. Two goroutines may learn the same one at once;
// the results are equal.
func (d *Decoder) layout(key, version int16) (*structLayout, error) {
	if key < 0 || int(key) >= maxKeys || version < 0 || version >= maxVersions {
		return nil, fmt.Errorf("key %d version %d: %w", key, version, ErrVersion)
	}
	slot := &d.layouts[key][version]
	if l := slot.Load(); l != nil {
		return l, nil
	}
	req := kmsg.RequestForKey(key)
	if req == nil || version > req.MaxVersion() {
		return nil, fmt.Errorf("key %d version %d: %w", key, version, ErrVersion)
	}
	l := learnLayout(req, version)
	slot.Store(l)
	return l, nil
}

// answerLayout returns the layout of a response, as layout does of a request.
func (d *Decoder) answerLayout(key, version int16) (*structLayout, error) {
	if key < 0 || int(key) >= maxKeys || version < 0 || version >= maxVersions {
		return nil, fmt.Errorf("answer to key %d version %d: %w", key, version, ErrVersion)
	}
	slot := &d.answers[key][version]
	if l := slot.Load(); l != nil {
		return l, nil
	}
	resp := kmsg.ResponseForKey(key)
	if resp == nil || version > resp.MaxVersion() {
		return nil, fmt.Errorf("answer to key %d version %d: %w", key, version, ErrVersion)
	}
	l := learnLayout(resp, version)
	slot.Store(l)
	return l, nil
}

// What decoded things cost in memory, beyond the Go size of their structs.
const (
	stringBytes    = 16  // the header, which a nullable string has on the heap; else it makes up for rounding
	tagsBytes      = 512 // the map of a struct that was sent any tags
	tagBytesFactor = 400 // a tag may hold an array of structs, which the walk does not look into
)

// walker passes over a request and spends its memory allowance.
type walker struct {
	reader
	left int
	over bool
}

// spend takes n bytes from the allowance, and stops the walk when there are not as many.
func (w *walker) spend(n int) {
	if w.left -= n; w.left < 0 {
		w.over = true
		w.fail()
	}
}

// fields passes over the fields of one struct, and its tags.
func (w *walker) fields(s *structLayout) {
	for i := range s.fields {
		f := &s.fields[i]
		switch f.kind {
		case fixedField:
			w.bytes(f.size)
		case stringField:
			w.spend(stringBytes + len(w.string(s.flexible)))
		case bytesField:
			w.nullableBytes(s.flexible)
		case structField:
			w.fields(f.elem)
		case nullableField:
			if w.int8() != -1 {
				w.spend(f.elem.bytes)
				w.fields(f.elem)
			}
		default:
			w.array(s.flexible, f)
		}
		if w.bad {
			return
		}
	}
	if s.flexible {
		w.tags()
	}
}

// array passes over an array: its elements are made at once by kmsg, so they are paid for at once.
func (w *walker) array(flexible bool, f *fieldLayout) {
	n := w.arrayLen(flexible, f.minBytes())
	if n <= 0 || w.bad {
		return
	}
	switch f.kind {
	case fixedArray:
		w.spend(n * f.size)
		w.bytes(n * f.size)
	case stringArray:
		w.spend(n * stringBytes)
		for i := 0; i < n && !w.bad; i++ {
			w.spend(len(w.string(flexible)))
		}
	case structArray:
		w.spend(n * f.elem.bytes)
		for i := 0; i < n && !w.bad; i++ {
			w.fields(f.elem)
		}
	}
}

// tags passes over a tag section.
func (w *walker) tags() {
	before := len(w.b)
	if w.skipTags() > 0 && !w.bad {
		w.spend(tagsBytes + tagBytesFactor*(before-len(w.b)))
	}
}
