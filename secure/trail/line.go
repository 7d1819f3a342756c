package trail

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of what one event takes in the trail.
const (
	maxText  = 1 << 10  // bytes of a text of an event
	maxState = 32 << 10 // bytes of Before, and of After
	maxLine  = 128 << 10
)

// format of the lines.
const format = 1

var (
	// ErrLine: a line is not what a trail is made of.
	ErrLine = errors.New("trail: bad line")
	// ErrNewer: a line was written by a newer version of Millrace.
	ErrNewer = errors.New("trail: written by a newer version of millrace")
)

// Hash is that of a line; the zero Hash stands before the first one.
type Hash [sha256.Size]byte

// String is the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText gives hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return fmt.Errorf("%w: hash of %d digits", ErrLine, len(text))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return fmt.Errorf("%w: %w", ErrLine, err)
	}
	return nil
}

// line is what stands in a file, as JSON without line breaks.
type line struct {
	Format int    `json:"format"`
	N      uint64 `json:"n"`
	Prev   Hash   `json:"prev"` // of the line before
	Event  Event  `json:"event"`
}

// encode returns the line, without the line break, and its hash.
func (l line) encode() ([]byte, Hash, error) {
	l.Format = format
	l.Event = l.Event.bounded()
	b, err := json.Marshal(l)
	if err != nil {
		return nil, Hash{}, fmt.Errorf("encode event: %w", err)
	}
	return b, sha256.Sum256(b), nil
}

// decodeLine reads a line without its line break. It returns ErrLine or ErrNewer.
func decodeLine(b []byte) (line, Hash, error) {
	var l line
	if len(b) > maxLine {
		return l, Hash{}, fmt.Errorf("%w: %d bytes", ErrLine, len(b))
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return l, Hash{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	switch {
	case l.Format > format:
		return l, Hash{}, fmt.Errorf("%w: format %d, this binary reads up to %d", ErrNewer, l.Format, format)
	case l.Format < 1 || l.N == 0:
		return l, Hash{}, fmt.Errorf("%w: format %d, number %d", ErrLine, l.Format, l.N)
	}
	return l, sha256.Sum256(b), nil
}

// truncated stands for a state that is too large for the trail, or is no JSON.
const truncated = `"not kept: too large"`

// bounded is the event with texts and states cut to what a line may hold: clients choose some of them.
func (e Event) bounded() Event {
	for _, text := range []*string{&e.Action, &e.Principal, &e.Mechanism, &e.AccessKey, &e.From, &e.Listener, &e.ClientID, &e.Cluster, &e.Resource, &e.Reason} {
		*text = cut(*text)
	}
	for _, state := range []*json.RawMessage{&e.Before, &e.After} {
		if len(*state) > maxState || len(*state) > 0 && !json.Valid(*state) {
			*state = json.RawMessage(truncated)
		}
	}
	return e
}

func cut(s string) string {
	if len(s) > maxText {
		end := maxText
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
