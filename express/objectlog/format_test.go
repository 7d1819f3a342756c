package objectlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

// TestGolden: the bytes of version 1 stay what they are.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"header",
			"4d4c52436f626a0a0001004000000003" + "00000000000018c20000000000000007" + "00000000000000f50000000000000000" + "000000000000000000000000",
			encodeHeader(testID, 7, 245)},
		{"seal",
			"4d4c52437365616c0001004000000003" + "00000000000018c20000000000000008" + "00000004000000000000000000000009" + "000000000000000000000000",
			encodeSeal(testID, 8, ID{Broker: 4, Incarnation: 9})},
	} {
		if got := hex.EncodeToString(c.got[:60]); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
		if !bytes.Equal(putChecksum(slices.Clone(c.got)), c.got) || len(c.got) != headerBytes {
			t.Errorf("%s: checksum", c.name)
		}
	}
	if by := sealedBy(encodeSeal(testID, 8, ID{Broker: 4, Incarnation: 9})); by != (ID{Broker: 4, Incarnation: 9}) {
		t.Errorf("sealed by %s", by)
	}
	if testID.key(0x1f) != "wal/"+testID.key(0x1f)[4:6]+"/3/00000000000018c2/000000000000001f" {
		t.Errorf("key %s", testID.key(0x1f))
	}
}

// TestRecordGolden: the record of version 1 stays readable, and nonsense is refused.
func TestRecordGolden(t *testing.T) {
	text := `{"format":1,"nonce":"n","created_ms":5,"first":2,"sealing":"4/0000000000000009","end":9,"swept_ms":7}`
	r, err := decodeRecord([]byte(text))
	if err != nil || *r != (record{Format: 1, Nonce: "n", CreatedMs: 5, First: 2, Sealer: "4/0000000000000009", End: 9, SweptMs: 7}) {
		t.Fatalf("%+v, %v", r, err)
	}
	if b, err := r.encode(); err != nil || string(b) != text {
		t.Errorf("%s, %v", b, err)
	}
	for bad, want := range map[string]error{
		``: ErrCorrupt, `{}`: ErrCorrupt, `{"format":2,"x":1}`: ErrNewer, `{"format":1,"first":0}`: ErrCorrupt,
		`{"format":1,"first":1,"end":2}`: ErrCorrupt, `{"format":1,"first":3,"sealing":"4/1","end":2}`: ErrCorrupt,
		`{"format":1,"first":1,"swept_ms":2}`: ErrCorrupt, `{"format":1,"first":1,"x":2}`: ErrCorrupt, `{"format":1,"first":1}1`: ErrCorrupt,
	} {
		if _, err := decodeRecord([]byte(bad)); !errors.Is(err, want) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// FuzzDecodeGroup: no bytes make the decoder panic or take much memory, and what it takes are whole batches.
func FuzzDecodeGroup(f *testing.F) {
	whole := slices.Concat(append([][]byte{encodeHeader(testID, 2, int64(len(slices.Concat(single(2)...))))}, single(2)...)...)
	f.Add(whole)
	f.Add(encodeSeal(testID, 2, testID))
	f.Add(whole[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		runs, err := decodeGroup(b, testID, 2)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Error(err)
			}
			return
		}
		total := 0
		for _, r := range runs {
			total += len(r.Data)
			if r.Base < 0 || r.Last < r.Base || len(r.Data) < 61 {
				t.Errorf("run %+v", r)
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes of runs in %d", total, len(b))
		}
	})
}

// FuzzRecord: no value in kv makes the decoder panic.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"nonce":"n","created_ms":5,"first":2,"sealing":"4/0000000000000009","end":9,"swept_ms":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err == nil && (r.First == 0 || r.End != 0 && r.End < r.First) {
			t.Errorf("%+v", r)
		}
	})
}
