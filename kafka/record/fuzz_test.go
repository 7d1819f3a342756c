package record

import (
	"bytes"
	"testing"
)

func FuzzNext(f *testing.F) {
	f.Add([]byte(build(f, Options{}, someRecords(2))))
	f.Add(bytes.Repeat([]byte{0xff}, 80))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			batch, rest, err := Next(b)
			if err != nil {
				return
			}
			if len(batch)+len(rest) != len(b) || len(batch) < HeaderBytes {
				t.Fatalf("%d split into %d and %d", len(b), len(batch), len(rest))
			}
			b = rest
		}
	})
}

// FuzzCheck signs whatever it gets, so that the fuzzer reaches the code behind the checksum.
func FuzzCheck(f *testing.F) {
	for _, c := range allCodecs {
		f.Add([]byte(build(f, Options{Codec: c, Producer: &Producer{ID: 1}}, someRecords(5))), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, keys bool) {
		if len(b) >= HeaderBytes {
			b = bytes.Clone(b)
			Batch(b).putLength()
			Batch(b).sign()
		}
		limits := Limits{KeyRequired: keys, MaxDecompressed: 1 << 20}
		batch, err := Check(b, limits)
		if err != nil {
			return
		}
		if batch.CRC() != batch.ComputeCRC() || batch.TimestampType() != CreateTime {
			t.Fatal("the header was mended wrongly")
		}
		n, latest := int32(0), int64(None)
		if batch.Codec() != Uncompressed && !keys {
			return // its records were not looked into
		}
		for r, err := range batch.Records(1 << 20) {
			if err != nil {
				t.Fatalf("checked, but: %v", err)
			}
			if r.Offset != int64(n) {
				t.Fatalf("record %d has offset %d", n, r.Offset)
			}
			n++
			latest = max(latest, r.Timestamp)
		}
		if latest != batch.MaxTimestamp() {
			t.Fatalf("the largest timestamp is %d, the header says %d", latest, batch.MaxTimestamp())
		}
		if n != batch.NumRecords() {
			t.Fatalf("%d of %d records", n, batch.NumRecords())
		}
	})
}

// fuzzCodec feeds arbitrary bytes to one decompressor: it must end, without panic, within the limit.
func fuzzCodec(f *testing.F, codec Codec) {
	f.Add([]byte(build(f, Options{Codec: codec}, someRecords(1)).payload()))
	f.Add([]byte(build(f, Options{Codec: codec}, someRecords(3000)).payload()))
	f.Add([]byte{})
	if codec == Snappy {
		f.Add([]byte(snappyBlock(nil, []byte("bare block bare block bare block"))))
		f.Add(append(bytes.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0))
	}
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := openStream(codec, payload, limit)
		if err != nil {
			return
		}
		defer s.release()
		if out, err := s.all(); err == nil && len(out) > limit {
			t.Fatalf("%d bytes", len(out))
		}
		b := build(t, Options{}, someRecords(1))
		b = append(b[:HeaderBytes:HeaderBytes], payload...)
		b.putLength()
		b[posAttributes+1] = byte(codec)
		b.sign()
		for range b.Records(limit) {
		}
	})
}

func FuzzGzip(f *testing.F)   { fuzzCodec(f, Gzip) }
func FuzzSnappy(f *testing.F) { fuzzCodec(f, Snappy) }
func FuzzLZ4(f *testing.F)    { fuzzCodec(f, LZ4) }
func FuzzZstd(f *testing.F)   { fuzzCodec(f, Zstd) }

func FuzzMarker(f *testing.F) {
	f.Add([]byte(EncodeMarker(nil, Marker{ProducerID: 1, Commit: true})))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if batch, _, err := Next(b); err == nil {
			_, _ = DecodeMarker(batch)
		}
	})
}
