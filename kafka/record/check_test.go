package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"
)

// The header's largest timestamp is what the records say, whatever the producer put there, wherever they are looked at.
func TestCheckMendsTheHeader(t *testing.T) {
	rs := []Record{{Timestamp: 5, Key: []byte("a")}, {Timestamp: 9, Key: []byte("b")}, {Timestamp: 7, Key: []byte("c")}}
	claims := func(ms int64) func(Batch) {
		return func(b Batch) { binary.BigEndian.PutUint64(b[posMaxTime:], uint64(ms)) }
	}
	for _, codec := range allCodecs {
		good := build(t, Options{Codec: codec}, rs)
		for name, one := range map[string]struct {
			change func(Batch)
			want   int64 // where the records are looked at
		}{
			"right":    {claims(9), 9},
			"too high": {claims(1 << 50), 9},
			"too low":  {claims(0), 9},
			"none":     {claims(None), 9},
			"no base":  {func(b Batch) { binary.BigEndian.PutUint64(b[posBaseTime:], ^uint64(0)) }, 3},
			"append time": {func(b Batch) {
				binary.BigEndian.PutUint16(b[posAttributes:], uint16(codec)|attrAppendTime)
				claims(77)(b)
			}, 77},
			"no times at all": {func(b Batch) { binary.BigEndian.PutUint64(b[posBaseTime:], ^uint64(99)) }, None},
		} {
			sent := resign(good, one.change)
			want := one.want
			for _, open := range []bool{true, false} {
				if !open && codec != Uncompressed {
					want = sent.MaxTimestamp() // its word is believed
				}
				got, err := Check(bytes.Clone(sent), Limits{Open: open})
				if err != nil {
					t.Fatalf("%v, %s: %v", codec, name, err)
				}
				if got.MaxTimestamp() != want || got.TimestampType() != CreateTime || got.CRC() != got.ComputeCRC() {
					t.Errorf("%v, %s, opened %v: largest timestamp %d, want %d, type %d", codec, name, open, got.MaxTimestamp(), want, got.TimestampType())
				}
			}
			kept, err := Check(bytes.Clone(sent), Limits{AppendTime: true})
			if sent.TimestampType() == CreateTime && (err != nil || !bytes.Equal(kept, sent)) {
				t.Errorf("%v, %s: changed where the broker sets the time: %v", codec, name, err)
			}
		}
	}
}

// A compressed batch whose header is out of bounds is opened: its records say whether, and which of them are.
func TestCheckOpensWhatLooksWrong(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	limits := Limits{Now: now, MaxBefore: time.Hour, MaxAfter: time.Hour}
	ms := now.UnixMilli()
	for _, codec := range allCodecs {
		good := build(t, Options{Codec: codec}, []Record{{Timestamp: ms}, {Timestamp: ms + 5}})
		lies := resign(good, func(b Batch) { binary.BigEndian.PutUint64(b[posMaxTime:], 1<<60) })
		if b, err := Check(bytes.Clone(lies), limits); err != nil || b.MaxTimestamp() != ms+5 {
			t.Errorf("%v: %v, largest timestamp %d", codec, err, b.MaxTimestamp())
		}
		early := build(t, Options{Codec: codec}, []Record{{Timestamp: 1}, {Timestamp: ms}})
		_, err := Check(early, limits)
		wantBad(t, err, ErrTimestamp, 1, 0)
		late := build(t, Options{Codec: codec}, []Record{{Timestamp: ms}, {Timestamp: ms + 2*3_600_000}, {Timestamp: None}, {Timestamp: 1}})
		_, err = Check(late, limits)
		wantBad(t, err, ErrTimestamp, 2, 1, 3)
	}
}

// Each bad record is told; a time that is not allowed decides what the batch is refused for.
func TestBadRecords(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	ms := now.UnixMilli()
	rs := []Record{{Timestamp: ms, Key: []byte("k")}, {Timestamp: ms}, {Timestamp: ms, Key: []byte("k")}, {Timestamp: 1}, {Timestamp: 1, Key: []byte("k")}}
	for _, codec := range allCodecs {
		_, err := Check(build(t, Options{Codec: codec}, rs[:4]), Limits{KeyRequired: true})
		wantBad(t, err, ErrNoKey, 2, 1, 3)
		_, err = Check(build(t, Options{Codec: codec}, rs), Limits{KeyRequired: true, Now: now, MaxBefore: time.Hour})
		wantBad(t, err, ErrTimestamp, 3, 1, 3, 4)
		broken := build(t, Options{}, rs)
		broken = resign(broken, func(b Batch) { b[len(b)-1] = 0x7f })
		var bad *BadRecords
		if _, err := Check(broken, Limits{KeyRequired: true}); errors.As(err, &bad) || !errors.Is(err, ErrInvalid) {
			t.Errorf("a batch that breaks off: %v", err)
		}
	}
	many := make([]Record, maxBadRecords+20)
	_, err := Check(build(t, Options{}, many), Limits{KeyRequired: true})
	var bad *BadRecords
	if !errors.As(err, &bad) || len(bad.Records) != maxBadRecords || int(bad.Total) != len(many) {
		t.Errorf("many bad records: %v", err)
	}
}

func wantBad(t *testing.T, err, kind error, total int, at ...int32) {
	t.Helper()
	var bad *BadRecords
	if !errors.As(err, &bad) || !errors.Is(err, kind) {
		t.Errorf("%v, want %v", err, kind)
		return
	}
	var got []int32
	for _, r := range bad.Records {
		got = append(got, r.Index)
	}
	if int(bad.Total) != total || !slices.Equal(got, at) {
		t.Errorf("%d bad records, at %v; want %d, at %v", bad.Total, got, total, at)
	}
}

// A batch that names a codec which has not made it is refused without being opened; what each codec makes is not.
func TestSniff(t *testing.T) {
	for _, made := range allCodecs {
		b := build(t, Options{Codec: made}, someRecords(20))
		for _, named := range allCodecs[1:] {
			renamed := resign(b, func(b Batch) { binary.BigEndian.PutUint16(b[posAttributes:], uint16(named)) })
			if named == Snappy && made != Snappy {
				continue // a bare block begins with its length, which any bytes may be
			}
			_, err := Check(renamed, Limits{})
			if made == named && err != nil || made != named && !errors.Is(err, ErrInvalid) {
				t.Errorf("made with %v, named %v: %v", made, named, err)
			}
		}
	}
	for _, empty := range allCodecs[1:] {
		if err := sniff(empty, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v of nothing: %v", empty, err)
		}
	}
	if err := sniff(Zstd, []byte{0x51, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}); err != nil {
		t.Errorf("a zstd frame to be skipped: %v", err)
	}
	if err := sniff(Snappy, snappyBlock(make([]byte, 100), []byte("a bare block"))); err != nil {
		t.Errorf("a bare snappy block: %v", err)
	}
}
