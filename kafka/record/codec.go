package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a compression codec, as in the attributes of a batch.
type Codec int8

// The codecs of the protocol.
const (
	Uncompressed Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// codecNames are the names in compression.type; "uncompressed" is Kafka's for none.
var codecNames = [...]string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}

// Known reports whether the codec can be read and written.
func (c Codec) Known() bool { return c >= Uncompressed && c <= Zstd }

// String returns the name as in the topic setting compression.type.
func (c Codec) String() string {
	if !c.Known() {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return codecNames[c]
}

// ParseCodec returns the codec of a name as in compression.type; "none" is Uncompressed too. The error is ErrCodec.
func ParseCodec(name string) (Codec, error) {
	if name == "none" {
		return Uncompressed, nil
	}
	for c, n := range codecNames {
		if n == name {
			return Codec(c), nil
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrCodec, name)
}

// maxZstdWindow is the largest window that is decoded: what every decoder must support (RFC 8878), and what levels up to
// 19 use. A larger one would let a few bytes claim 128 MiB.
const maxZstdWindow = 8 << 20

// sniff looks at how compressed bytes begin and fails with ErrCorrupt where the codec cannot have made them. It costs next to
// nothing, and finds the producer that names another codec than it has used.
func sniff(codec Codec, src []byte) error {
	var err error
	switch codec {
	case Gzip:
		err = begins(src, "\x1f\x8b\x08")
	case Snappy:
		err = sniffSnappy(src)
	case LZ4:
		err = begins(src, "\x04\x22\x4d\x18")
	case Zstd:
		if skippable := len(src) > 3 && src[0]&0xf0 == 0x50 && string(src[1:4]) == "\x2a\x4d\x18"; !skippable {
			err = begins(src, "\x28\xb5\x2f\xfd")
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %v: %w", ErrCorrupt, codec, err)
	}
	return nil
}

func begins(src []byte, magic string) error {
	if len(src) < len(magic) || string(src[:len(magic)]) != magic {
		return fmt.Errorf("begins with %x", src[:min(len(src), len(magic))])
	}
	return nil
}

// decompressor reads the decompressed bytes. release gives it back to its pool.
type decompressor interface {
	io.Reader
	release()
}

// The pools keep idle coders, which are expensive to make (an lz4 reader per batch is 50 times slower than a kept one).
// They are caches: nothing depends on what is in them.
var (
	gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}
	lz4Readers  = sync.Pool{New: func() any { return &lz4Reader{z: lz4.NewReader(nil)} }}
	zstdReaders = sync.Pool{New: newZstdReader}
	gzipWriters [gzip.BestCompression + 1]sync.Pool
	lz4Writers  sync.Pool
	zstdWriters [zstd.SpeedBestCompression + 1]sync.Pool
)

// decompress returns a reader of what src holds, of which the caller takes no more than limit bytes. Errors: ErrCodec,
// ErrCorrupt.
func decompress(codec Codec, src []byte, limit int) (decompressor, error) {
	switch codec {
	case Gzip:
		return openGzip(src)
	case Snappy:
		return openSnappy(src, limit), nil
	case LZ4:
		r := lz4Readers.Get().(*lz4Reader)
		r.src.Reset(src)
		r.z.Reset(&r.src)
		return r, nil
	case Zstd:
		return openZstd(src)
	default:
		return nil, fmt.Errorf("%w: %v", ErrCodec, codec)
	}
}

type gzipReader struct {
	src bytes.Reader
	gzip.Reader
}

func openGzip(src []byte) (decompressor, error) {
	r := gzipReaders.Get().(*gzipReader)
	r.src.Reset(src)
	if err := r.Reset(&r.src); err != nil {
		r.release()
		return nil, fmt.Errorf("%w: gzip: %w", ErrCorrupt, err)
	}
	return r, nil
}

func (r *gzipReader) release() {
	r.src.Reset(nil)
	gzipReaders.Put(r)
}

type lz4Reader struct {
	src bytes.Reader
	z   *lz4.Reader
}

func (r *lz4Reader) Read(p []byte) (int, error) { return r.z.Read(p) }

func (r *lz4Reader) release() {
	r.src.Reset(nil)
	lz4Readers.Put(r)
}

type zstdReader struct {
	src bytes.Reader
	z   *zstd.Decoder
}

func newZstdReader() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		panic("record: zstd options: " + err.Error()) // they are constants
	}
	return &zstdReader{z: z}
}

func openZstd(src []byte) (decompressor, error) {
	r := zstdReaders.Get().(*zstdReader)
	r.src.Reset(src)
	if err := r.z.Reset(&r.src); err != nil {
		r.release()
		return nil, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
	}
	return r, nil
}

func (r *zstdReader) Read(p []byte) (int, error) { return r.z.Read(p) }

func (r *zstdReader) release() {
	r.src.Reset(nil)
	_ = r.z.Reset(nil) // drops the reference to the source; cannot fail
	zstdReaders.Put(r)
}

// compress appends src, compressed, to dst. level 0 is the codec's default; other levels are as in Kafka's
// compression.*.level and are cut to what the codec has. Snappy has none. The error is ErrCodec.
func compress(dst []byte, codec Codec, level int, src []byte) ([]byte, error) {
	switch codec {
	case Uncompressed:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(dst, level, src)
	case Snappy:
		return compressSnappy(dst, src), nil
	case LZ4:
		return compressLZ4(dst, level, src)
	case Zstd:
		return compressZstd(dst, level, src), nil
	default:
		return dst, fmt.Errorf("%w: %v", ErrCodec, codec)
	}
}

// sink is an io.Writer that appends.
type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}

func compressGzip(dst []byte, level int, src []byte) ([]byte, error) {
	if level <= 0 {
		level = 6
	}
	level = min(level, gzip.BestCompression)
	w, _ := gzipWriters[level].Get().(*gzip.Writer)
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(nil, level); err != nil {
			return dst, fmt.Errorf("%w: gzip level %d: %w", ErrCodec, level, err)
		}
	}
	defer gzipWriters[level].Put(w)
	out := sink(dst)
	w.Reset(&out)
	if err := writeAndClose(w, src); err != nil {
		return dst, fmt.Errorf("gzip: %w", err)
	}
	return out, nil
}

func writeAndClose(w io.WriteCloser, src []byte) error {
	if _, err := w.Write(src); err != nil {
		return err
	}
	return w.Close()
}

// compressLZ4 writes a frame as the Java client does: blocks of 64 KiB, independent of each other, without checksums.
func compressLZ4(dst []byte, level int, src []byte) ([]byte, error) {
	w, _ := lz4Writers.Get().(*lz4.Writer)
	if w == nil {
		w = lz4.NewWriter(nil)
	}
	defer lz4Writers.Put(w)
	out := sink(dst)
	w.Reset(&out)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1),
		lz4.CompressionLevelOption(lz4Level(level))); err != nil {
		return dst, fmt.Errorf("lz4: %w", err)
	}
	if err := writeAndClose(w, src); err != nil {
		return dst, fmt.Errorf("lz4: %w", err)
	}
	return out, nil
}

// lz4Level maps Kafka's 1 to 17 onto the library's 0 to 9. Kafka's default is 9, and means the fast coder there too.
func lz4Level(level int) lz4.CompressionLevel {
	if level <= 1 || level == 9 {
		return lz4.Fast
	}
	return lz4.CompressionLevel(1 << (8 + min((level+1)/2, 9)))
}

func compressZstd(dst []byte, level int, src []byte) []byte {
	speed := zstd.SpeedDefault
	if level != 0 {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	w, _ := zstdWriters[speed].Get().(*zstd.Encoder)
	if w == nil {
		var err error
		w, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
		if err != nil {
			panic("record: zstd options: " + err.Error()) // they are constants
		}
	}
	defer zstdWriters[speed].Put(w)
	return w.EncodeAll(src, dst)
}

// snappyBlock compresses one block.
func snappyBlock(dst, src []byte) []byte { return s2.EncodeSnappy(dst, src) }

// Decompress returns what src holds, in a slice of its own unless it is Uncompressed. Errors: ErrCodec, ErrCorrupt, and
// ErrBomb if it is more than limit bytes.
func Decompress(codec Codec, src []byte, limit int) ([]byte, error) {
	if codec == Uncompressed {
		if len(src) > limit {
			return nil, ErrBomb
		}
		return src, nil
	}
	r, err := decompress(codec, src, limit)
	if err != nil {
		return nil, err
	}
	defer r.release()
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	switch {
	case len(out) > limit:
		return nil, ErrBomb
	case err != nil && !errors.Is(err, ErrBomb):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return out, err
}
