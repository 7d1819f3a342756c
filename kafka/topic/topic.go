// Package topic names topics and partitions in the ways the Kafka protocol does.
//
// A topic has a name, which clients choose and which may be used again after a
// deletion, and an ID, which the cluster gives and never gives twice
// (KIP-516). Everything that outlives a request, on disk and in etcd, is keyed
// by the ID. All types here are plain values, safe to copy and to compare.
package topic

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Names of the topics that the cluster keeps for itself.
const (
	ConsumerOffsets  = "__consumer_offsets"
	TransactionState = "__transaction_state"
	ShareGroupState  = "__share_group_state"
)

// MaxNameLength is the longest topic name in bytes.
const MaxNameLength = 249

// ErrInvalidName is returned by ValidateName and ParseID for what Kafka would refuse.
var ErrInvalidName = errors.New("invalid topic name or id")

// ID is a topic's permanent identity. The zero ID means "no id" on the wire.
type ID [16]byte

// NewID gives a random ID; it never gives the zero ID or, as Kafka, one whose
// text starts with a dash.
func NewID() ID {
	for {
		id := ID(uuid.New())
		if id != (ID{}) && id.String()[0] != '-' {
			return id
		}
	}
}

// String is Kafka's own text form: URL-safe base64 without padding.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseID is the inverse of String.
func ParseID(s string) (ID, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("%w: %q is not a topic id", ErrInvalidName, s)
	}
	return ID(b), nil
}

// MarshalText encodes as String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText decodes as ParseID does.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// Partition is one partition of one topic, across renames and re-creations.
type Partition struct {
	Topic ID
	Index int32
}

// String is for logs and messages only.
func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Index) }

// Internal says whether the cluster keeps a topic of this name for itself.
func Internal(name string) bool {
	return name == ConsumerOffsets || name == TransactionState || name == ShareGroupState
}

// ValidateName applies Kafka's rules for topic names: 1 to 249 of the letters
// a-z, A-Z, 0-9, dot, underscore and dash, and neither "." nor "..".
func ValidateName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: a topic name must not be empty", ErrInvalidName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: a topic cannot be named %q", ErrInvalidName, name)
	case len(name) > MaxNameLength:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrInvalidName, len(name), MaxNameLength)
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
			continue
		}
		return fmt.Errorf("%w: %q holds %q; letters, digits, '.', '_' and '-' are allowed", ErrInvalidName, name, c)
	}
	return nil
}
