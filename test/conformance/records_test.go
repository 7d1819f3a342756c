package conformance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// record is a Kafka record. A nil Key or Value is null; JSON has bytes as base64.
type record struct {
	Topic     string   `json:"topic,omitempty"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
}

type header struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// baseTime is the time of the first record, in milliseconds since 1970; each further one is a second later.
const (
	baseTime   = 1_700_000_000_000
	timeStep   = 1000
	sampleSize = 60
)

// keepForever is the config of topics that hold records of baseTime, which retention would take away.
func keepForever() map[string]string { return map[string]string{"retention.ms": "-1"} }

// sample returns n records that show what a client with these features can write: null and empty keys and values,
// binary and large values, headers. It is the same at every call.
func sample(about hello, n int) []record {
	random := rand.New(rand.NewPCG(1, 2))
	records := make([]record, n)
	for i := range records {
		r := record{Key: fmt.Appendf(nil, "key-%02d", i%16), Value: fmt.Appendf(nil, "value %d ä", i)}
		if about.has("timestamp") {
			r.Timestamp = baseTime + int64(i)*timeStep
		}
		switch i % 10 {
		case 1:
			r.Value = []byte(strings.Repeat(fmt.Sprintf("large %d ", i), 2000))
		case 2:
			if about.has("partition") {
				r.Value = randomBytes(random, 3000)
			}
		case 3:
			if about.has("null_key") {
				r.Key = nil
			}
		case 4:
			if about.has("null_value") {
				r.Value = nil
			}
		case 5:
			if about.has("null_value") {
				r.Key, r.Value = []byte{}, []byte{}
			}
		case 6:
			if about.has("headers") {
				r.Headers = []header{{Name: "one", Value: []byte("1")}, {Name: "empty", Value: []byte{}}}
			}
		case 7:
			if about.has("null_header") {
				r.Headers = []header{{Name: "binary", Value: []byte{0, 255}}, {Name: "null"}}
			}
		}
		records[i] = r
	}
	return records
}

func randomBytes(random *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}

// different says how what a reader got differs from what was written, or is empty. What the reader cannot see (see its
// features) is not compared, nor is a time that the writer left to the broker.
func different(reader hello, got, want record) string {
	switch {
	case !sameBytes(reader, got.Key, want.Key):
		return fmt.Sprintf("key %s, want %s", show(got.Key), show(want.Key))
	case !sameBytes(reader, got.Value, want.Value):
		return fmt.Sprintf("value %s, want %s", show(got.Value), show(want.Value))
	case want.Timestamp != 0 && got.Timestamp != want.Timestamp:
		return fmt.Sprintf("timestamp %d, want %d", got.Timestamp, want.Timestamp)
	case want.Timestamp == 0 && got.Timestamp <= 0:
		return fmt.Sprintf("timestamp %d, want a time", got.Timestamp)
	case !reader.has("headers"):
		return ""
	case len(got.Headers) != len(want.Headers):
		return fmt.Sprintf("%d headers, want %d", len(got.Headers), len(want.Headers))
	}
	for i, header := range got.Headers {
		if header.Name != want.Headers[i].Name || !sameBytes(reader, header.Value, want.Headers[i].Value) {
			return fmt.Sprintf("header %d is %q=%s, want %q=%s", i, header.Name, show(header.Value), want.Headers[i].Name, show(want.Headers[i].Value))
		}
	}
	return ""
}

// sameBytes compares bytes; null and empty are one to a reader that cannot tell them apart.
func sameBytes(reader hello, got, want []byte) bool {
	if !bytes.Equal(got, want) {
		return false
	}
	return (got == nil) == (want == nil) || !reader.has("reads_null")
}

func show(data []byte) string {
	if data == nil {
		return "null"
	}
	const shown = 40
	return fmt.Sprintf("%q (%d bytes)", data[:min(len(data), shown)], len(data))
}

// compareLog compares a partition, read from the offset first on, with what was written to it.
func compareLog(reader hello, got, want []record, first int64) error {
	placed := slices.Clone(want)
	for i := range placed {
		placed[i].Offset = first + int64(i)
	}
	return comparePlaced(reader, got, placed)
}

// comparePlaced compares what was read of a partition with what lies there, at its offsets.
func comparePlaced(reader hello, got, want []record) error {
	for i, one := range got {
		if i >= len(want) {
			break
		}
		if one.Offset != want[i].Offset {
			return fmt.Errorf("record %d has the offset %d, want %d", i, one.Offset, want[i].Offset)
		}
		if fault := different(reader, one, want[i]); fault != "" {
			return fmt.Errorf("offset %d: %s", one.Offset, fault)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d records, want %d", len(got), len(want))
	}
	return nil
}
