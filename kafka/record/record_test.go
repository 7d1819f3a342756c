package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

var allCodecs = []Codec{Uncompressed, Gzip, Snappy, LZ4, Zstd}

// someRecords returns n records that cover null and empty keys and values, headers and timestamps out of order.
func someRecords(n int) []Record {
	var rs []Record
	for i := range n {
		r := Record{Offset: int64(i), Timestamp: 1_700_000_000_000 + int64(i*7%5)}
		switch i % 4 {
		case 0:
			r.Key, r.Value = []byte(fmt.Sprintf("key-%d", i)), bytes.Repeat([]byte("value "), i%50)
		case 1:
			r.Key, r.Value = nil, []byte{}
		case 2:
			r.Key, r.Value = []byte{}, nil
		case 3:
			r.Value = []byte("v")
			r.Headers = []Header{{Key: []byte("h"), Value: nil}, {Key: []byte{}, Value: []byte{}}, {Key: []byte("h"), Value: []byte("x")}}
		}
		rs = append(rs, r)
	}
	return rs
}

func build(t testing.TB, o Options, rs []Record) Batch {
	t.Helper()
	b := NewBuilder(o)
	for i := range rs {
		if err := b.Append(&rs[i]); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// read returns copies of all records.
func read(t testing.TB, b Batch) []Record {
	t.Helper()
	var out []Record
	for r, err := range b.Records(64 << 20) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, clone(r))
	}
	return out
}

func clone(r Record) Record {
	r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	var hs []Header
	for _, h := range r.Headers {
		hs = append(hs, Header{Key: bytes.Clone(h.Key), Value: bytes.Clone(h.Value)})
	}
	r.Headers = hs
	return r
}

func TestRoundTripEveryCodec(t *testing.T) {
	for _, codec := range allCodecs {
		for _, n := range []int{1, 2, 4, 1000, 20_000} {
			t.Run(fmt.Sprintf("%v %d", codec, n), func(t *testing.T) {
				want := someRecords(n)
				b := build(t, Options{Codec: codec}, want)
				if _, err := Check(b, Limits{}); err != nil {
					t.Fatal(err)
				}
				if got := read(t, b); !reflect.DeepEqual(got, want) {
					t.Fatalf("read back %d records, different", len(got))
				}
				if b.Codec() != codec || int(b.NumRecords()) != n || b.LastOffset() != int64(n-1) {
					t.Errorf("header: %v, %d records, last offset %d", b.Codec(), b.NumRecords(), b.LastOffset())
				}
			})
		}
	}
}

func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slice := rapid.SliceOfN(rapid.Byte(), 0, 300)
		maybe := func(name string) []byte {
			if rapid.Bool().Draw(rt, name+" null") {
				return nil
			}
			return slice.Draw(rt, name)
		}
		o := Options{
			Codec:       rapid.SampledFrom(allCodecs).Draw(rt, "codec"),
			BaseOffset:  rapid.Int64Range(0, 1<<50).Draw(rt, "base"),
			KeepOffsets: true,
		}
		var want []Record
		offset := o.BaseOffset
		for range rapid.IntRange(1, 20).Draw(rt, "n") {
			offset += rapid.Int64Range(0, 1000).Draw(rt, "gap")
			r := Record{Offset: offset, Timestamp: rapid.Int64Range(-1, 1<<45).Draw(rt, "time"), Key: maybe("key"), Value: maybe("value")}
			for range rapid.IntRange(0, 3).Draw(rt, "headers") {
				r.Headers = append(r.Headers, Header{Key: slice.Draw(rt, "hkey"), Value: maybe("hvalue")})
			}
			want = append(want, r)
			offset++
		}
		if got := read(t, build(t, o, want)); !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

// TestHeaderAgreesWithKmsg reads our header with another reader.
func TestHeaderAgreesWithKmsg(t *testing.T) {
	b := build(t, Options{
		BaseOffset: 1000, LeaderEpoch: 7, Transactional: true, TimestampType: LogAppendTime, MaxTimestamp: 99,
		Producer: &Producer{ID: 5, Epoch: 3, Sequence: math.MaxInt32 - 1},
	}, someRecords(4))
	var k kmsg.RecordBatch
	if err := k.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	got := []any{k.FirstOffset, k.Length, k.PartitionLeaderEpoch, k.Magic, uint32(k.CRC), k.Attributes, k.LastOffsetDelta,
		k.FirstTimestamp, k.MaxTimestamp, k.ProducerID, k.ProducerEpoch, k.FirstSequence, k.NumRecords}
	want := []any{b.BaseOffset(), b.Length(), b.PartitionLeaderEpoch(), b.Magic(), b.CRC(), b.Attributes(), b.LastOffsetDelta(),
		b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.NumRecords()}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("kmsg reads %v\nwe read    %v", got, want)
	}
	if b.LastSequence() != 1 {
		t.Errorf("last sequence %d, want 1 after the wrap", b.LastSequence())
	}
	if !b.IsTransactional() || b.IsControl() || b.TimestampType() != LogAppendTime || b.HasDeleteHorizon() || !b.HasProducerID() {
		t.Errorf("attributes %b", b.Attributes())
	}
	for r := range b.Records(0) {
		if r.Timestamp != 99 {
			t.Errorf("record at %d has timestamp %d, want the batch's 99", r.Offset, r.Timestamp)
		}
	}
}

func TestSetters(t *testing.T) {
	b := build(t, Options{}, someRecords(3))
	crc := b.CRC()
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(12)
	if b.BaseOffset() != 1<<40 || b.LastOffset() != 1<<40+2 || b.PartitionLeaderEpoch() != 12 {
		t.Errorf("offset %d, epoch %d", b.BaseOffset(), b.PartitionLeaderEpoch())
	}
	if b.CRC() != crc || b.ComputeCRC() != crc {
		t.Error("the checksum covers base offset or epoch")
	}
	b.SetLogAppendTime(4711)
	if b.CRC() == crc || b.ComputeCRC() != b.CRC() || b.MaxTimestamp() != 4711 || b.TimestampType() != LogAppendTime {
		t.Errorf("log append time: %d, type %d, crc %x of %x", b.MaxTimestamp(), b.TimestampType(), b.CRC(), b.ComputeCRC())
	}
}

func TestNext(t *testing.T) {
	one, two := build(t, Options{}, someRecords(3)), build(t, Options{BaseOffset: 3, Codec: Zstd}, someRecords(40))
	run := append(bytes.Clone(one), two...)
	first, rest, err := Next(run)
	if err != nil || !bytes.Equal(first, one) {
		t.Fatalf("first: %v", err)
	}
	second, rest, err := Next(rest)
	if err != nil || !bytes.Equal(second, two) || len(rest) != 0 {
		t.Fatalf("second: %v, %d left", err, len(rest))
	}
	for cut := range len(one) {
		if _, _, err := Next(one[:cut]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for _, length := range []uint32{0, 48, 0x80000000, 0xffffffff} {
		bad := bytes.Clone(one)
		binary.BigEndian.PutUint32(bad[posLength:], length)
		if _, _, err := Next(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

// resign changes a copy of the batch and signs it.
func resign(b Batch, change func(Batch)) Batch {
	b = bytes.Clone(b)
	change(b)
	b.sign()
	return b
}

func TestCheck(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	plain := build(t, Options{}, someRecords(3))
	keyed := build(t, Options{Codec: LZ4}, []Record{{Timestamp: 1, Key: []byte("k")}, {Timestamp: 1, Key: []byte("l")}})
	unkeyed := build(t, Options{Codec: Zstd}, []Record{{Timestamp: 1, Key: []byte("k")}, {Timestamp: 1}})
	idem := build(t, Options{Producer: &Producer{ID: 1, Epoch: 0, Sequence: 0}, Transactional: true}, someRecords(2))
	put16 := func(pos int, v uint16) func(Batch) {
		return func(b Batch) { binary.BigEndian.PutUint16(b[pos:], v) }
	}
	put32 := func(pos int, v uint32) func(Batch) {
		return func(b Batch) { binary.BigEndian.PutUint32(b[pos:], v) }
	}
	put64 := func(pos int, v uint64) func(Batch) {
		return func(b Batch) { binary.BigEndian.PutUint64(b[pos:], v) }
	}
	for _, tc := range []struct {
		name   string
		b      []byte
		limits Limits
		want   error
	}{
		{"good", plain, Limits{MaxBytes: len(plain)}, nil},
		{"good compressed", keyed, Limits{KeyRequired: true}, nil},
		{"good transactional", idem, Limits{}, nil},
		{"leader epoch is the client's business", resign(plain, put32(posEpoch, 5)), Limits{}, nil},
		{"empty", nil, Limits{}, ErrInvalid},
		{"two batches", append(bytes.Clone(plain), plain...), Limits{}, ErrInvalid},
		{"two batches, looked at as one by one", append(bytes.Clone(plain), plain...), Limits{}, ErrNotOne},
		{"trailing byte", append(bytes.Clone(plain), 0), Limits{}, nil},
		{"half a batch behind", append(bytes.Clone(plain), plain[:len(plain)-1]...), Limits{}, nil},
		{"nonsense behind", append(bytes.Clone(plain), make([]byte, 12)...), Limits{}, ErrCorrupt},
		{"another format behind", append(bytes.Clone(plain), resign(plain, func(b Batch) { b[posMagic] = 3 })...), Limits{}, ErrCorrupt},
		{"length too short", resign(plain, put32(posLength, HeaderBytes-OverheadBytes)), Limits{}, ErrCorrupt},
		{"cut short", plain[:len(plain)-1], Limits{}, ErrInvalid},
		{"only a header", plain[:20], Limits{}, ErrInvalid},
		{"too large", plain, Limits{MaxBytes: len(plain) - 1}, ErrTooLarge},
		{"magic 1", resign(plain, func(b Batch) { b[posMagic] = 1 }), Limits{}, ErrInvalid},
		{"magic 0", resign(plain, func(b Batch) { b[posMagic] = 0 }), Limits{}, ErrInvalid},
		{"magic 3", resign(plain, func(b Batch) { b[posMagic] = 3 }), Limits{}, ErrCorrupt},
		{"bit flipped in a record", func() []byte { b := bytes.Clone(plain); b[len(b)-1] ^= 1; return b }(), Limits{}, ErrCorrupt},
		{"bit flipped in the header", func() []byte { b := bytes.Clone(plain); b[posProducerID] ^= 1; return b }(), Limits{}, ErrCorrupt},
		{"codec 5", resign(plain, put16(posAttributes, 5)), Limits{}, ErrCodec},
		{"zstd in an old version", unkeyed, Limits{NoZstd: true}, ErrCodec},
		{"base offset", resign(plain, put64(posBaseOffset, 1)), Limits{}, ErrInvalid},
		{"no records", resign(plain, put32(posNumRecords, 0)), Limits{}, ErrInvalid},
		{"negative records", resign(plain, put32(posNumRecords, 0xffffffff)), Limits{}, ErrInvalid},
		{"count above the deltas", resign(plain, put32(posNumRecords, 4)), Limits{}, ErrInvalid},
		{"count and deltas above the records", resign(plain, func(b Batch) { put32(posNumRecords, 4)(b); put32(posLastDelta, 3)(b) }), Limits{}, ErrInvalid},
		{"count and deltas below the records", resign(plain, func(b Batch) { put32(posNumRecords, 2)(b); put32(posLastDelta, 1)(b) }), Limits{}, ErrInvalid},
		{"count wraps", resign(plain, func(b Batch) { put32(posNumRecords, 0x80000000)(b); put32(posLastDelta, 0x7fffffff)(b) }), Limits{}, ErrInvalid},
		{"control batch", resign(plain, put16(posAttributes, attrControl)), Limits{}, ErrInvalid},
		{"delete horizon", resign(plain, put16(posAttributes, attrHorizon)), Limits{}, ErrInvalid},
		{"transactional without producer", resign(plain, put16(posAttributes, attrTxn)), Limits{}, ErrInvalid},
		{"producer without sequence", resign(idem, put32(posBaseSeq, 0xffffffff)), Limits{}, ErrInvalid},
		{"producer without epoch", resign(idem, put16(posProdEpoch, 0xffff)), Limits{}, ErrInvalid},
		{"append time from a client", resign(plain, put16(posAttributes, attrAppendTime)), Limits{}, nil},
		{"append time from a client to a topic that has it", resign(plain, put16(posAttributes, attrAppendTime)), Limits{AppendTime: true}, ErrTimestamp},
		{"the same, compressed", resign(keyed, put16(posAttributes, uint16(LZ4)|attrAppendTime)), Limits{AppendTime: true}, ErrTimestamp},
		{"append time from a client, none", resign(plain, func(b Batch) { put16(posAttributes, attrAppendTime)(b); put64(posMaxTime, ^uint64(0))(b) }), Limits{}, ErrTimestamp},
		{"append time from a client, too old", resign(plain, put16(posAttributes, attrAppendTime)), Limits{Now: now.Add(2 * time.Hour), MaxBefore: time.Hour}, ErrTimestamp},
		{"times do not matter", plain, Limits{AppendTime: true, Now: now.Add(2 * time.Hour), MaxBefore: time.Hour}, nil},
		{"no key", plain, Limits{KeyRequired: true}, ErrNoKey},
		{"no key, compressed", unkeyed, Limits{KeyRequired: true}, ErrNoKey},
		{"decompresses too far", keyed, Limits{KeyRequired: true, MaxDecompressed: 10}, ErrBomb},
		{"compressed garbage", resign(keyed, func(b Batch) { b[HeaderBytes] ^= 0xff }), Limits{KeyRequired: true}, ErrInvalid},
		{"time in range", plain, Limits{Now: now, MaxBefore: time.Hour, MaxAfter: time.Hour}, nil},
		{"too old", plain, Limits{Now: now.Add(2 * time.Hour), MaxBefore: time.Hour}, ErrTimestamp},
		{"too new", plain, Limits{Now: now.Add(-2 * time.Hour), MaxAfter: time.Hour}, ErrTimestamp},
		{"too old, compressed", unkeyed, Limits{Now: now, MaxBefore: time.Hour}, ErrTimestamp},
		{"no timestamp", build(t, Options{}, []Record{{Timestamp: None}}), Limits{Now: now, MaxBefore: time.Hour}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Check(bytes.Clone(tc.b), tc.limits)
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestCheckFindsBadRecords(t *testing.T) {
	good := appendRecord(nil, &Record{Value: []byte("abc")}, 0, 0)
	for name, payload := range map[string][]byte{
		"empty":             {},
		"length beyond":     {100, 0},
		"negative length":   {1},
		"zero length":       {0},
		"length too short":  append([]byte{good[0] - 2}, good[1:]...),
		"wrong delta":       appendRecord(nil, &Record{}, 0, 1),
		"negative delta":    appendRecord(nil, &Record{}, 0, -1),
		"key beyond":        {12, 0, 0, 0, 100, 1, 0},
		"key length -2":     {12, 0, 0, 0, 3, 1, 0},
		"negative headers":  {12, 0, 0, 0, 1, 1, 1},
		"too many headers":  {12, 0, 0, 0, 1, 1, 100},
		"null header key":   {16, 0, 0, 0, 1, 1, 2, 1, 1},
		"overlong varint":   {20, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 1, 0},
		"endless varint":    bytes.Repeat([]byte{0xff}, 20),
		"byte in record":    {14, 0, 0, 0, 1, 1, 0, 99},
		"byte after record": append(bytes.Clone(good), 0),
	} {
		b := build(t, Options{}, []Record{{Value: []byte("abc")}})
		b = append(b[:HeaderBytes:HeaderBytes], payload...)
		b.putLength()
		b.sign()
		if _, err := Check(b, Limits{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		for _, codec := range allCodecs[1:] {
			compressed, err := compress(bytes.Clone(b[:HeaderBytes]), codec, 0, payload)
			if err != nil {
				t.Fatal(err)
			}
			batch := resign(compressed, func(b Batch) { b.putLength(); binary.BigEndian.PutUint16(b[posAttributes:], uint16(codec)) })
			if _, err := Recompress(nil, batch, Uncompressed, 0, 0); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s, recompressed from %v: %v", name, codec, err)
			}
		}
	}
}

// TestCutOffPayload: compressed records that break off are not taken for their good end, wherever that is.
func TestCutOffPayload(t *testing.T) {
	for _, codec := range []Codec{Gzip, LZ4, Zstd} {
		whole := build(t, Options{Codec: codec}, []Record{{Key: []byte("k"), Value: []byte("v")}, {Key: []byte("k")}})
		for size := HeaderBytes; size < len(whole); size++ {
			b := resign(whole[:size:size], Batch.putLength)
			if _, err := Check(b, Limits{KeyRequired: true}); !errors.Is(err, ErrInvalid) {
				t.Errorf("%v cut off at %d of %d: %v", codec, size, len(whole), err)
			}
			if _, err := Recompress(nil, b, Uncompressed, 0, 0); !errors.Is(err, ErrInvalid) {
				t.Errorf("%v cut off at %d of %d, recompressed: %v", codec, size, len(whole), err)
			}
		}
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	b := build(t, Options{}, someRecords(100))
	limits := Limits{MaxBytes: 1 << 20, Now: time.UnixMilli(1_700_000_000_000), MaxAfter: time.Hour}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Check(b, limits); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOthersReadOurs and TestWeReadOthers exchange compressed records with franz-go.
func TestOthersReadOurs(t *testing.T) {
	d := kgo.DefaultDecompressor()
	for _, codec := range allCodecs[1:] {
		for _, level := range []int{0, 1, 3, 9, 12, 17, 22} {
			for _, n := range []int{1, 100, 20_000} {
				want := build(t, Options{}, someRecords(n)).payload()
				b := build(t, Options{Codec: codec, Level: level}, someRecords(n))
				got, err := d.Decompress(b.payload(), kgo.CompressionCodecType(codec))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%v level %d, %d records: %v", codec, level, n, err)
				}
			}
		}
	}
}

func TestWeReadOthers(t *testing.T) {
	for codec, c := range map[Codec]kgo.CompressionCodec{
		Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
	} {
		comp, err := kgo.DefaultCompressor(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 100, 20_000} {
			want := someRecords(n)
			plain := build(t, Options{}, want)
			var buf bytes.Buffer
			payload, got := comp.Compress(&buf, plain.payload())
			if Codec(got) != codec {
				t.Fatalf("%v: other side used %v", codec, got)
			}
			b := Batch(append(bytes.Clone(plain[:HeaderBytes]), payload...))
			b.putLength()
			b[posAttributes+1] = byte(codec)
			b.sign()
			if _, err := Check(b, Limits{}); err != nil {
				t.Fatal(err)
			}
			if records := read(t, b); !reflect.DeepEqual(records, want) {
				t.Errorf("%v, %d records: different", codec, n)
			}
		}
	}
}

func TestRecompress(t *testing.T) {
	want := someRecords(500)
	for _, from := range allCodecs {
		b := build(t, Options{BaseOffset: 0, Codec: from, Producer: &Producer{ID: 4, Sequence: 9}}, want)
		for _, to := range allCodecs {
			out, err := Recompress([]byte("before"), b, to, 0, 0)
			if err != nil {
				t.Fatalf("%v to %v: %v", from, to, err)
			}
			if _, err := Check(out, Limits{}); err != nil {
				t.Errorf("%v to %v: %v", from, to, err)
			}
			if got := read(t, out); !reflect.DeepEqual(got, want) || out.Codec() != to || out.ProducerID() != 4 {
				t.Errorf("%v to %v: different", from, to)
			}
		}
		if _, err := Recompress(nil, b, Gzip, 0, 100); from != Uncompressed && !errors.Is(err, ErrBomb) {
			t.Errorf("%v beyond the limit: %v", from, err)
		}
	}
}

func TestBombIsStoppedEarly(t *testing.T) {
	zeros := []Record{{Value: make([]byte, 32<<20)}}
	for _, codec := range allCodecs[1:] {
		b := build(t, Options{Codec: codec}, zeros)
		var err error
		for range 2 { // the first round makes the coder
			for _, err = range b.Records(1 << 20) {
			}
			if !errors.Is(err, ErrBomb) {
				t.Errorf("%v: %v", codec, err)
			}
		}
		got := allocated(func() {
			for _, err = range b.Records(1 << 20) {
			}
		})
		if got > 8<<20 {
			t.Errorf("%v: %d bytes allocated for a bomb of %d bytes", codec, got, len(b))
		}
		t.Logf("%v: 32 MiB in %d bytes, stopped with %d bytes allocated", codec, len(b), got)
	}
}

// TestBareSnappyBlockIsBounded: one block cannot be decoded in pieces, so it must not be begun.
func TestBareSnappyBlockIsBounded(t *testing.T) {
	b := build(t, Options{}, []Record{{Value: make([]byte, 32<<20)}})
	b = append(bytes.Clone(b[:HeaderBytes]), snappyBlock(nil, b.payload())...)
	b.putLength()
	b[posAttributes+1] = byte(Snappy)
	b.sign()
	var err error
	got := allocated(func() {
		for _, err = range b.Records(1 << 20) {
		}
	})
	if !errors.Is(err, ErrBomb) || got > 1<<20 {
		t.Errorf("%d bytes allocated: %v", got, err)
	}
	n := 0
	for r, err := range b.Records(64 << 20) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(r.Value)
	}
	if n != 32<<20 {
		t.Errorf("%d bytes within the limit", n)
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBreakEndsIteration(t *testing.T) {
	for _, codec := range allCodecs {
		n := 0
		for _, err := range build(t, Options{Codec: codec}, someRecords(10)).Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 {
				break
			}
		}
		if n != 3 {
			t.Errorf("%v: %d records", codec, n)
		}
	}
}

func TestBuilderKeepsOffsetsWithGaps(t *testing.T) {
	rs := []Record{{Offset: 105, Timestamp: 50, Key: []byte("a")}, {Offset: 107, Timestamp: 40, Key: []byte("b")}}
	b := build(t, Options{BaseOffset: 100, KeepOffsets: true, LastOffset: 120, MaxTimestamp: 90}, rs)
	if b.BaseOffset() != 100 || b.LastOffset() != 120 || b.NumRecords() != 2 || b.MaxTimestamp() != 90 {
		t.Errorf("batch %d to %d, %d records, max timestamp %d", b.BaseOffset(), b.LastOffset(), b.NumRecords(), b.MaxTimestamp())
	}
	if got := read(t, b); !reflect.DeepEqual(got, rs) {
		t.Errorf("got %+v", got)
	}
	empty := build(t, Options{BaseOffset: 100, KeepOffsets: true, LastOffset: 120, Codec: LZ4}, nil)
	if empty.NumRecords() != 0 || empty.LastOffset() != 120 || len(empty) != HeaderBytes || len(read(t, empty)) != 0 {
		t.Errorf("empty batch of %d bytes to %d", len(empty), empty.LastOffset())
	}
}

func TestBuilderDeleteHorizon(t *testing.T) {
	rs := []Record{{Timestamp: 1000, Key: []byte("a")}, {Offset: 1, Timestamp: 5000, Key: []byte("b")}}
	b := build(t, Options{DeleteHorizon: 3000}, rs)
	if !b.HasDeleteHorizon() || b.BaseTimestamp() != 3000 || b.MaxTimestamp() != 5000 {
		t.Errorf("horizon %v %d, max %d", b.HasDeleteHorizon(), b.BaseTimestamp(), b.MaxTimestamp())
	}
	if got := read(t, b); !reflect.DeepEqual(got, rs) {
		t.Errorf("got %+v", got)
	}
}

func TestBuilderRefuses(t *testing.T) {
	if _, err := NewBuilder(Options{}).Build(nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("no records: %v", err)
	}
	b := NewBuilder(Options{BaseOffset: 10, KeepOffsets: true})
	for _, offset := range []int64{9, -1, 10 + 1<<31} {
		if err := b.Append(&Record{Offset: offset}); !errors.Is(err, ErrInvalid) {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
	if err := b.Append(&Record{Offset: 12}); err != nil {
		t.Error(err)
	}
	if err := b.Append(&Record{Offset: 12}); !errors.Is(err, ErrInvalid) {
		t.Errorf("same offset again: %v", err)
	}
	b.Reset(Options{Codec: 6})
	if err := b.Add(0, nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := b.Build(nil); !errors.Is(err, ErrCodec) {
		t.Errorf("codec 6: %v", err)
	}
}

func TestMarkers(t *testing.T) {
	for _, want := range []Marker{
		{ProducerID: 7, ProducerEpoch: 2, Commit: true, CoordinatorEpoch: 9, Timestamp: 1234},
		{ProducerID: 1 << 40, ProducerEpoch: 0, Commit: false, CoordinatorEpoch: 0, Timestamp: 1},
	} {
		b := EncodeMarker(nil, want)
		if got, err := DecodeMarker(b); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
		if !b.IsControl() || !b.IsTransactional() || b.BaseSequence() != None || b.LastSequence() != None || b.ComputeCRC() != b.CRC() {
			t.Errorf("batch %x", []byte(b))
		}
	}
	if _, err := DecodeMarker(build(t, Options{}, someRecords(1))); !errors.Is(err, ErrInvalid) {
		t.Errorf("data batch: %v", err)
	}
	leaderChange := build(t, Options{Control: true}, []Record{{Key: []byte{0, 0, 0, 2}, Value: []byte{0, 0}}})
	if _, err := DecodeMarker(leaderChange); !errors.Is(err, ErrInvalid) {
		t.Errorf("leader change: %v", err)
	}
}

func TestSequencesWrap(t *testing.T) {
	for _, tc := range [][3]int32{{0, 0, 0}, {5, 4, 9}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 4, 2}} {
		if got := AddSequence(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%d + %d = %d, want %d", tc[0], tc[1], got, tc[2])
		}
	}
}

func TestCodecNames(t *testing.T) {
	for _, c := range allCodecs {
		if got, err := ParseCodec(c.String()); err != nil || got != c {
			t.Errorf("%v: %v, %v", c, got, err)
		}
	}
	if c, err := ParseCodec("none"); err != nil || c != Uncompressed {
		t.Error("none")
	}
	if _, err := ParseCodec("brotli"); !errors.Is(err, ErrCodec) {
		t.Error("brotli")
	}
}
