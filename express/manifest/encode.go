package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"millrace/express/segment"
	"millrace/kafka/topic"
)

// formatVersion is the version of body and pointer that Commit writes; docs/formats/manifest.md tells both.
const formatVersion = 1

// body is the JSON form of a Manifest in the object store. A line with the CRC-32C of the JSON follows it.
type body struct {
	Format     int            `json:"format"`
	Topic      topic.ID       `json:"topic"`
	Partition  int32          `json:"partition"`
	Version    int64          `json:"version"`
	LogStart   int64          `json:"log_start"` // at the time of this body; the pointer's may be further
	End        int64          `json:"end"`
	CleanedEnd int64          `json:"cleaned_end"`
	Segments   []segment.Info `json:"segments"`
	Epochs     []EpochStart   `json:"epochs"`
}

// pointer is the JSON form of the value in kv: which body is the current one, and the part that changes without it.
type pointer struct {
	Format   int    `json:"format"`
	Version  int64  `json:"version"`
	Body     string `json:"body"` // object key
	LogStart int64  `json:"log_start"`
	Nonce    string `json:"nonce"` // of the Commit that wrote it: how it knows its own write again
	// Fence is the leader epoch of the owner that fenced the manifest; 0: none has. With one, Body may be empty: no commit yet.
	Fence int32 `json:"fence,omitempty"`
}

// checksumLine is the form of the line behind the JSON.
const (
	checksumLine  = "\ncrc32c %08x\n"
	checksumBytes = len("\ncrc32c 00000000\n")
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// encode gives the body of m.
func encode(m *Manifest) ([]byte, error) {
	text, err := json.Marshal(body{
		Format: formatVersion, Topic: m.Partition.Topic, Partition: m.Partition.Index, Version: m.Version,
		LogStart: m.LogStart, End: m.End, CleanedEnd: m.CleanedEnd, Segments: m.Segments, Epochs: m.Epochs,
	})
	if err != nil {
		return nil, fmt.Errorf("encode manifest of %s: %w", m.Partition, err)
	}
	return fmt.Appendf(text, checksumLine, checksum(text)), nil
}

// decode reads what encode wrote. The result keeps no part of b.
func decode(b []byte) (*Manifest, error) {
	cut := len(b) - checksumBytes
	if cut < 0 || string(b[cut:]) != fmt.Sprintf(checksumLine, checksum(b[:cut])) {
		return nil, fmt.Errorf("%w: checksum does not match", ErrCorrupt)
	}
	var v body
	if err := strict(b[:cut], &v); err != nil {
		return nil, err
	}
	m := &Manifest{
		Partition: topic.Partition{Topic: v.Topic, Index: v.Partition}, Version: v.Version,
		LogStart: v.LogStart, End: v.End, CleanedEnd: v.CleanedEnd, Segments: v.Segments, Epochs: v.Epochs,
	}
	if m.Version < 1 {
		return nil, fmt.Errorf("%w: version %d", ErrCorrupt, m.Version)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m, nil
}

// decodePointer reads a pointer's value.
func decodePointer(b []byte) (pointer, error) {
	var p pointer
	if err := strict(b, &p); err != nil {
		return p, err
	}
	if p.Version < 1 || p.LogStart < 0 || p.Fence < 0 || p.Body == "" && (p.Fence == 0 || p.LogStart > 0) {
		return p, fmt.Errorf("%w: pointer %q", ErrCorrupt, b)
	}
	return p, nil
}

var errTrailing = errors.New("more behind the end")

// strict decodes exactly one JSON value of format formatVersion without unknown fields. The format is looked at first, so
// that a newer one is called newer and not corrupt.
func strict(b []byte, into any) error {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if head.Format > formatVersion {
		return fmt.Errorf("%w: it has format %d, this build reads up to %d", ErrNewer, head.Format, formatVersion)
	}
	if head.Format < 1 {
		return fmt.Errorf("%w: format %d was never released", ErrCorrupt, head.Format)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrCorrupt, errTrailing)
	}
	return nil
}
