package record

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchBatch holds records of 1 KiB, of text that compresses about as JSON does.
func benchBatch(b *testing.B, codec Codec, n int) Batch {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 1))
	var rs []Record
	for i := range n {
		var v bytes.Buffer
		for v.Len() < 1000 {
			fmt.Fprintf(&v, `{"id":%d,"user":"u%d","amount":%d,"state":"active"},`, i, rnd.IntN(1000), rnd.IntN(1_000_000))
		}
		rs = append(rs, Record{Timestamp: int64(i), Key: []byte(fmt.Sprint(i)), Value: v.Bytes()[:1000]})
	}
	return build(b, Options{Codec: codec}, rs)
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{16, 1000} {
		batch := benchBatch(b, Uncompressed, n)
		b.Run(fmt.Sprintf("%dKiB", n), func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Check(batch, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRecords(b *testing.B) {
	for _, codec := range allCodecs {
		batch := benchBatch(b, codec, 64)
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range batch.Records(1 << 20) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkRecompress(b *testing.B) {
	batch := benchBatch(b, Uncompressed, 64)
	for _, codec := range allCodecs {
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				out, err := Recompress(dst[:0], batch, codec, 0, 0)
				if err != nil {
					b.Fatal(err)
				}
				dst = out
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	rs := someRecords(100)
	bld := NewBuilder(Options{})
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		bld.Reset(Options{})
		for i := range rs {
			if err := bld.Append(&rs[i]); err != nil {
				b.Fatal(err)
			}
		}
		out, err := bld.Build(dst[:0])
		if err != nil {
			b.Fatal(err)
		}
		dst = out
	}
}

// BenchmarkCheckCompressed is what the produce path would pay for opening each compressed batch: Check as it is, which reads
// the header and the checksum, and Check where every record must be looked at. Batches are of 16 KiB uncompressed, as
// producers send them with the default batch.size, and of 1 MiB; bytes are those on the wire.
func BenchmarkCheckCompressed(b *testing.B) {
	for _, n := range []int{16, 1000} {
		for _, codec := range allCodecs[1:] {
			batch := benchBatch(b, codec, n)
			for name, l := range map[string]Limits{"stored": {}, "opened": {KeyRequired: true}} {
				b.Run(fmt.Sprintf("%dKiB/%v/%s", n, codec, name), func(b *testing.B) {
					b.SetBytes(int64(len(batch)))
					b.ReportAllocs()
					b.ReportMetric(float64(n<<10)/float64(len(batch)), "ratio")
					for b.Loop() {
						if _, err := Check(batch, l); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
