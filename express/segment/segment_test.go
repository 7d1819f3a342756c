package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/producer"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

var rewriteGolden = flag.Bool("rewrite", false, "write the golden files anew")

var errPlanted = errors.New("planted")

// tester is the part of testing.TB that rapid has too.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newStore() *object.Memory { return object.NewMemory(clock.NewManual(time.UnixMilli(1))) }

// newSlabs makes a pool that shows who reads what was given back.
func newSlabs(t tester) *slab.Pool {
	t.Helper()
	p, err := slab.New(slab.Config{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testPartition() topic.Partition { return topic.Partition{Topic: topic.ID{1, 2, 3}, Index: 4} }

// batchOf builds a batch of records that bring their own offsets, from opts.BaseOffset to opts.LastOffset.
func batchOf(t tester, opts record.Options, records ...record.Record) record.Batch {
	t.Helper()
	opts.KeepOffsets = true
	builder := record.NewBuilder(opts)
	for i := range records {
		if err := builder.Append(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	b, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plain builds a batch of n records of size bytes at base; all have the timestamp.
func plain(t tester, base int64, n, size int, timestamp int64) record.Batch {
	t.Helper()
	var records []record.Record
	for i := range n {
		records = append(records, record.Record{Offset: base + int64(i), Timestamp: timestamp, Key: []byte("k"), Value: make([]byte, size)})
	}
	return batchOf(t, record.Options{BaseOffset: base}, records...)
}

// write makes a segment [base, end) of the batches.
func write(t tester, store object.Store, cfg WriterConfig, end int64, batches ...record.Batch) Info {
	t.Helper()
	cfg.Partition = testPartition()
	w, err := Create(context.Background(), store, cfg, 1234)
	if err != nil {
		t.Fatal(err)
	}
	table := &producer.Table{}
	var aborted []producer.Aborted
	for _, b := range batches {
		if err := w.Append(b); err != nil {
			t.Fatal(err)
		}
		if b.HasProducerID() {
			table.Apply(b)
		}
		if isAborted(b) {
			aborted = append(aborted, producer.Aborted{ProducerID: abortedID, First: b.BaseOffset(), Last: b.LastOffset()})
		}
	}
	w.SetAborted(aborted)
	info, err := w.Finish(context.Background(), end, table)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func open(t tester, store object.Store, info Info) *Reader {
	t.Helper()
	r, err := Open(context.Background(), store, info)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func contents(t tester, store object.Store, key string) []byte {
	t.Helper()
	info, err := store.Stat(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size)
	if n, err := store.ReadAt(context.Background(), key, b, 0); n != len(b) {
		t.Fatal(err)
	}
	return b
}

func put(t tester, store object.Store, key string, b []byte) {
	t.Helper()
	if err := store.Put(context.Background(), key, [][]byte{b}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// read returns the batches that Read delivers, and checks that it keeps its accounts.
func read(t tester, r *Reader, slabs *slab.Pool, from, upTo int64, maxBytes int, oversize bool) []record.Batch {
	t.Helper()
	var chain slab.Chain
	if err := r.Read(context.Background(), slabs, &chain, from, upTo, maxBytes, oversize); err != nil {
		t.Fatal(err)
	}
	var batches []record.Batch
	for _, part := range chain.Parts() {
		for len(part) > 0 {
			b, rest, err := record.Next(part)
			if err != nil {
				t.Fatal(err)
			}
			batches, part = append(batches, slices.Clone(b)), rest
		}
	}
	chain.Release()
	if n := slabs.Stats().LentBytes; n != 0 {
		t.Fatalf("%d bytes of slabs were not given back", n)
	}
	return batches
}

// naiveRead is what Read must deliver.
func naiveRead(batches []record.Batch, from, upTo int64, maxBytes int, oversize bool) (want []record.Batch) {
	size := 0
	for _, b := range batches {
		if b.LastOffset() < from {
			continue
		}
		size += len(b)
		if b.LastOffset() >= upTo || size > maxBytes && (len(want) > 0 || !oversize) {
			break
		}
		want = append(want, b)
	}
	return want
}

// drawBatches draws batches with holes between them and inside.
func drawBatches(t *rapid.T, base int64) (batches []record.Batch, end int64) {
	next := base
	for range rapid.IntRange(1, 20).Draw(t, "batches") {
		next += int64(rapid.SampledFrom([]int{0, 0, 0, 1, 7}).Draw(t, "hole"))
		n := rapid.IntRange(1, 5).Draw(t, "records")
		size := rapid.SampledFrom([]int{1, 10, 100, 1000, 20_000}).Draw(t, "size")
		b := plain(t, next, n, size, int64(rapid.IntRange(0, 20).Draw(t, "timestamp")))
		batches = append(batches, b)
		next = b.LastOffset() + 1
	}
	return batches, next + int64(rapid.IntRange(0, 2).Draw(t, "hole at the end"))
}

func TestReadDeliversWhatTheModelSays(t *testing.T) {
	slabs := newSlabs(t)
	rapid.Check(t, func(t *rapid.T) {
		base := int64(rapid.IntRange(0, 5).Draw(t, "base"))
		batches, end := drawBatches(t, base)
		store := newStore()
		info := write(t, store, WriterConfig{Base: base, IndexBytes: rapid.SampledFrom([]int{0, 1, 500, 1 << 20}).Draw(t, "interval")}, end, batches...)
		r := open(t, store, info)
		defer r.Close()
		for range 20 {
			from := int64(rapid.IntRange(0, int(end)+2).Draw(t, "from"))
			upTo := int64(rapid.IntRange(0, int(end)+2).Draw(t, "up to"))
			maxBytes := rapid.SampledFrom([]int{-1, 0, 1, 100, 1000, 10_000, 200_000, 1 << 20, 1 << 30}).Draw(t, "max bytes")
			oversize := rapid.Bool().Draw(t, "oversize")
			got := read(t, r, slabs, from, upTo, maxBytes, oversize)
			want := naiveRead(batches, from, upTo, maxBytes, oversize)
			// Fewer are allowed where much had to be skipped, but some there must be.
			same := slices.EqualFunc(got, want[:min(len(got), len(want))], func(a, b record.Batch) bool { return bytes.Equal(a, b) })
			if !same || (len(got) == 0) != (len(want) == 0) {
				t.Fatalf("read(%d, %d, %d, %v): %d batches, want %d", from, upTo, maxBytes, oversize, len(got), len(want))
			}
		}
		if err := r.Verify(context.Background(), slabs); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadIsOneReadOfAboutWhatWasAsked(t *testing.T) {
	memory, slabs := newStore(), newSlabs(t)
	var batches []record.Batch
	for i := range 500 {
		batches = append(batches, plain(t, int64(i), 1, 1000, 1))
	}
	info := write(t, memory, WriterConfig{}, 500, batches...)
	reads, bytesRead := 0, 0
	store := object.Faulty(memory, func(_ context.Context, op object.Op) error {
		if op.Kind == object.OpRead {
			reads++
			bytesRead += op.Len
		}
		return nil
	})
	r := open(t, store, info)
	if reads != 1 || bytesRead > 10_000 {
		t.Fatalf("Open took %d reads of %d bytes", reads, bytesRead)
	}
	for from := range int64(400) {
		reads, bytesRead = 0, 0
		got := read(t, r, slabs, from, 500, 64<<10, true)
		if got[0].BaseOffset() != from || len(got) < 60 || reads != 1 || bytesRead > 70<<10 {
			t.Fatalf("from %d: %d batches by %d reads of %d bytes", from, len(got), reads, bytesRead)
		}
	}
}

func TestSeekTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batches, end := drawBatches(t, 3)
		store := newStore()
		r := open(t, store, write(t, store, WriterConfig{Base: 3, IndexBytes: rapid.SampledFrom([]int{1, 3000}).Draw(t, "interval")}, end, batches...))
		defer r.Close()
		ts, from := int64(rapid.IntRange(0, 22).Draw(t, "ts")), int64(rapid.IntRange(0, int(end)+1).Draw(t, "from"))
		offset, ok := r.SeekTime(ts, from)
		var exact int64 = -1
		for _, b := range batches {
			if b.LastOffset() >= from && b.MaxTimestamp() >= ts {
				exact = b.BaseOffset()
				break
			}
		}
		switch {
		case exact >= 0 && !ok:
			t.Fatalf("seek(%d, %d) found nothing, %d has it", ts, from, exact)
		case ok && offset < from:
			t.Fatalf("seek(%d, %d) = %d", ts, from, offset)
		case ok && exact >= 0 && offset > max(exact, from):
			t.Fatalf("seek(%d, %d) = %d, but already %d has it", ts, from, offset, exact)
		}
	})
}

func TestIndexOfALargeSegmentStaysSmall(t *testing.T) {
	store, slabs := newStore(), newSlabs(t)
	var batches []record.Batch
	for i := range int64(3*maxIndexEntries + 5) {
		batches = append(batches, plain(t, i, 1, 1, i))
	}
	end := int64(len(batches))
	r := open(t, store, write(t, store, WriterConfig{IndexBytes: 1}, end, batches...))
	if n := len(r.index); n > maxIndexEntries || n < maxIndexEntries/4 {
		t.Fatalf("%d entries", n)
	}
	if err := r.Verify(t.Context(), slabs); err != nil {
		t.Fatal(err)
	}
	for from := int64(0); from < end; from += 997 {
		if got := read(t, r, slabs, from, end, 1, true); len(got) != 1 || got[0].BaseOffset() != from {
			t.Fatalf("read from %d gives %d batches", from, len(got))
		}
		if offset, ok := r.SeekTime(from, 0); !ok || offset > from || offset < from-8 {
			t.Fatalf("seek time %d gives %d, %v", from, offset, ok)
		}
	}
}

func TestInfo(t *testing.T) {
	store := newStore()
	b0, b1, b2 := plain(t, 10, 2, 5, 50), plain(t, 15, 3, 5, 70), plain(t, 18, 1, 5, 70)
	info := write(t, store, WriterConfig{Base: 9, Epoch: 6}, 22, b0, b1, b2)
	data := int64(len(b0) + len(b1) + len(b2))
	want := Info{
		Key: info.Key, Base: 9, End: 22, DataBytes: data, Size: int64(len(contents(t, store, info.Key))), Batches: 3, Records: 6,
		MaxTimestamp: 70, MaxTimestampOffset: 15, IndexPos: info.IndexPos, Created: 1234,
	}
	if info != want {
		t.Fatalf("got %+v, want %+v", info, want)
	}
	if prefix := Prefix(testPartition()) + "00000000000000000009-6-"; !strings.HasPrefix(info.Key, prefix) {
		t.Fatalf("key %q does not begin with %q", info.Key, prefix)
	}
	if p, ok := ParseKey(Root, info.Key); !ok || p != testPartition() {
		t.Fatalf("key %q is of %v, %v", info.Key, p, ok)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	good := Prefix(testPartition()) + "x"
	for _, key := range []string{"", Root, good + "/y", strings.TrimSuffix(good, "x"), strings.Replace(good, "/4/", "/04/", 1),
		strings.Replace(good, "/4/", "/-4/", 1), strings.Replace(good, "/4/", "/5/", 1), strings.Replace(good, Root, "other/", 1),
		strings.Replace(good, "AQID", "AQI", 1)} {
		if p, ok := ParseKey(Root, key); ok {
			t.Errorf("%q is taken for a key of %v", key, p)
		}
	}
}

func TestProducersComeBack(t *testing.T) {
	store := newStore()
	b := batchOf(t, record.Options{Producer: &record.Producer{ID: 77, Epoch: 2, Sequence: 40}}, record.Record{Timestamp: 5, Value: []byte("v")})
	r := open(t, store, write(t, store, WriterConfig{}, 1, b))
	table, err := r.Producers(t.Context())
	if err != nil || table.Len() != 1 {
		t.Fatalf("%v, %v", table, err)
	}
	if dup, err := table.Check(b); err != nil || dup == nil {
		t.Fatalf("the batch is not known again: %v, %v", dup, err)
	}
}

func TestWriterRefuses(t *testing.T) {
	f := func(name string, want error, use func(*Writer) error) {
		t.Run(name, func(t *testing.T) {
			store := newStore()
			w, err := Create(t.Context(), store, WriterConfig{Partition: testPartition(), Base: 10}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := use(w); !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
			if _, err := w.Finish(t.Context(), 100, nil); err == nil {
				t.Fatal("Finish succeeds afterwards")
			}
			w.Abort()
			if left, _ := store.List(t.Context(), "", "", 10); len(left) != 0 {
				t.Fatalf("left %v", left)
			}
		})
	}
	f("below the base", ErrOrder, func(w *Writer) error { return w.Append(plain(t, 9, 1, 1, 1)) })
	f("not ascending", ErrOrder, func(w *Writer) error {
		return w.Append(slices.Concat(plain(t, 12, 2, 1, 1), plain(t, 13, 1, 1, 1)))
	})
	f("half a batch", record.ErrTruncated, func(w *Writer) error { return w.Append(plain(t, 12, 2, 1, 1)[:70]) })
	f("no batches", ErrEmpty, func(w *Writer) error { _, err := w.Finish(t.Context(), 12, nil); return err })
	f("end too low", ErrOrder, func(w *Writer) error {
		if err := w.Append(plain(t, 12, 2, 1, 1)); err != nil {
			t.Fatal(err)
		}
		_, err := w.Finish(t.Context(), 13, nil)
		return err
	})
}

func TestStoreFaultsAreReturned(t *testing.T) {
	for kind := object.OpPut; kind <= object.OpDelete; kind++ {
		memory := newStore()
		var broken object.OpKind
		store := object.Faulty(memory, func(_ context.Context, op object.Op) error {
			if op.Kind == broken {
				return errPlanted
			}
			return nil
		})
		info := write(t, memory, WriterConfig{}, 300, plain(t, 0, 300, 100, 1))
		r := open(t, store, info)
		broken = kind
		writing := func() error {
			w, err := Create(t.Context(), store, WriterConfig{Partition: testPartition()}, 1)
			if err != nil {
				return err
			}
			defer w.Abort()
			if err := w.Append(plain(t, 0, 300, 100, 1)); err != nil {
				return err
			}
			_, err = w.Finish(t.Context(), 300, nil)
			return err
		}
		reading := func() error {
			var chain slab.Chain
			defer chain.Release()
			return r.Read(t.Context(), newSlabs(t), &chain, 0, 300, 1000, true)
		}
		opening := func() error {
			r, err := Open(t.Context(), store, info)
			if err != nil {
				return err
			}
			return r.Close()
		}
		f := func(name string, do func() error, kinds ...object.OpKind) {
			if err := do(); errors.Is(err, errPlanted) != slices.Contains(kinds, kind) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%s with a broken %v: %v", name, kind, err)
			}
		}
		f("write", writing, object.OpCreate, object.OpWrite, object.OpCommit)
		f("read", reading, object.OpRead)
		f("open", opening, object.OpOpen, object.OpRead)
	}
	if _, err := Open(t.Context(), newStore(), Info{Key: "segments/none"}); !errors.Is(err, object.ErrNotFound) {
		t.Fatalf("got %v, want object.ErrNotFound", err)
	}
}

// golden is the content of the golden file. It must never change.
func golden(t tester) []record.Batch {
	return []record.Batch{
		batchOf(t, record.Options{BaseOffset: 100, LeaderEpoch: 3, Producer: &record.Producer{ID: 7, Epoch: 1, Sequence: 0}},
			record.Record{Offset: 100, Timestamp: 1_600_000_000_000, Key: []byte("a"), Value: []byte("one")},
			record.Record{Offset: 101, Timestamp: 1_600_000_000_005, Key: []byte("b"), Value: nil}),
		batchOf(t, record.Options{BaseOffset: 110, LeaderEpoch: 4},
			record.Record{Offset: 110, Timestamp: 1_600_000_000_003, Key: nil, Value: []byte("two"), Headers: []record.Header{{Key: []byte("h"), Value: []byte("v")}}}),
	}
}

func TestFormatOneStaysReadable(t *testing.T) {
	store, slabs := newStore(), newSlabs(t)
	info := write(t, store, WriterConfig{Base: 98, Epoch: 4, IndexBytes: 1}, 120, golden(t)...)
	file := filepath.Join("testdata", "v1.segment")
	if *rewriteGolden {
		if err := os.WriteFile(file, contents(t, store, info.Key), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, contents(t, store, info.Key)) {
		t.Error("the format changed without a new version")
	}
	put(t, store, info.Key, old)
	r := open(t, store, info)
	if err := r.Verify(t.Context(), slabs); err != nil {
		t.Fatal(err)
	}
	if got := read(t, r, slabs, 98, 120, 1<<20, false); len(got) != 2 || !bytes.Equal(got[1], golden(t)[1]) {
		t.Fatalf("got %d batches", len(got))
	}
	if table, err := r.Producers(t.Context()); err != nil || table.Len() != 1 {
		t.Fatalf("producers: %v, %v", table, err)
	}
}

func TestDamageIsFound(t *testing.T) {
	store, slabs := newStore(), newSlabs(t)
	info := write(t, store, WriterConfig{Base: 98, IndexBytes: 1}, 120, golden(t)...)
	sound := contents(t, store, info.Key)
	for i := range sound {
		damaged := bytes.Clone(sound)
		damaged[i] ^= 1 << (i % 8)
		put(t, store, info.Key, damaged)
		r, err := Open(t.Context(), store, info)
		if err == nil {
			err = r.Verify(t.Context(), slabs)
		}
		var where *CorruptionError
		// Base offset and leader epoch of a batch lie outside all checksums. Of the offset only what leaves the order shows.
		if outside := i < 8 || i >= 12 && i < 16; outside && err == nil {
			continue
		}
		if second := len(golden(t)[0]); err == nil && i >= second && i < second+16 {
			continue
		}
		if !errors.Is(err, ErrCorrupt) || !errors.As(err, &where) || where.Key != info.Key {
			t.Fatalf("byte %d damaged: %v", i, err)
		}
	}
	for n := range sound {
		put(t, store, info.Key, sound[:n])
		if _, err := Open(t.Context(), store, info); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	put(t, store, info.Key, sound)
	other := info
	other.Records++
	if _, err := Open(t.Context(), store, other); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("manifest and footer differ: %v", err)
	}
}

func TestReadFindsBrokenChains(t *testing.T) {
	slabs := newSlabs(t)
	f := func(name string, change func(second []byte)) {
		t.Run(name, func(t *testing.T) {
			store := newStore()
			first := plain(t, 0, 2, 10, 1)
			info := write(t, store, WriterConfig{}, 10, first, plain(t, 2, 2, 10, 1))
			b := contents(t, store, info.Key)
			change(b[len(first):])
			put(t, store, info.Key, b)
			r := open(t, store, info)
			var chain slab.Chain
			defer chain.Release()
			if err := r.Read(t.Context(), slabs, &chain, 0, 10, 1<<20, true); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v", err)
			}
			if chain.Len() != 0 {
				t.Fatal("something was delivered all the same")
			}
		})
	}
	f("offset back", func(b []byte) { binary.BigEndian.PutUint64(b, 1) })
	f("offset negative", func(b []byte) { binary.BigEndian.PutUint64(b, 1<<63) })
	f("length too large", func(b []byte) { binary.BigEndian.PutUint32(b[8:], 1<<30) })
	f("length too small", func(b []byte) { binary.BigEndian.PutUint32(b[8:], 48) })
	f("length one less", func(b []byte) { binary.BigEndian.PutUint32(b[8:], binary.BigEndian.Uint32(b[8:])-1) })
	f("length negative", func(b []byte) { binary.BigEndian.PutUint32(b[8:], 1<<31) })
	f("magic", func(b []byte) { b[16] = 1 })
	f("last offset delta", func(b []byte) { binary.BigEndian.PutUint32(b[23:], 1<<31) })
}

func TestNewerFormatIsRefused(t *testing.T) {
	store := newStore()
	info := write(t, store, WriterConfig{Base: 98}, 120, golden(t)...)
	b := contents(t, store, info.Key)
	trailer := b[len(b)-trailerBytes:]
	binary.BigEndian.PutUint32(trailer[8:], 9)
	binary.BigEndian.PutUint32(trailer[12:], checksum(trailer[:12]))
	put(t, store, info.Key, b)
	_, err := Open(t.Context(), store, info)
	if !errors.Is(err, ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{info.Key, "format 9", "up to 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// resign makes the checksums of a segment's footer right again.
func resign(b []byte) {
	if len(b) < trailerBytes {
		return
	}
	t := b[len(b)-trailerBytes:]
	binary.BigEndian.PutUint64(t[16:], magic)
	n := int64(binary.BigEndian.Uint32(t))
	if body := int64(len(b) - trailerBytes); n <= body {
		binary.BigEndian.PutUint32(t[4:], checksum(b[body-n:body]))
	}
	binary.BigEndian.PutUint32(t[12:], checksum(t[:12]))
}

// FuzzOpen opens and reads hostile objects, as they are and with right checksums.
func FuzzOpen(f *testing.F) {
	store := newStore()
	for _, batches := range [][]record.Batch{golden(f), {plain(f, 98, 3, 2000, 1), plain(f, 105, 3, 2000, 2)}} {
		info := write(f, store, WriterConfig{Base: 98, IndexBytes: 1}, 120, batches...)
		f.Add(contents(f, store, info.Key), info.IndexPos)
	}
	slabs := newSlabs(f)
	f.Fuzz(func(t *testing.T, b []byte, indexPos int64) {
		for _, fix := range []bool{false, true} {
			if fix {
				b = bytes.Clone(b)
				resign(b)
			}
			store := newStore()
			put(t, store, "x", b)
			info := Info{Key: "x", Size: int64(len(b)), IndexPos: indexPos}
			// The manifest is hostile as well: it says what the footer says.
			if indexPos >= 0 && indexPos <= int64(len(b)) {
				if footer, err := decodeFooter("x", b[indexPos:], int64(len(b))); err == nil {
					info = footer.info
					info.Key = "x"
				}
			}
			r, err := Open(t.Context(), store, info)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
					t.Fatalf("untyped error %v", err)
				}
				continue
			}
			use(t, r, slabs)
		}
	})
}

// use calls all that reads; only the errors may be of any kind that is corruption.
func use(t *testing.T, r *Reader, slabs *slab.Pool) {
	var chain slab.Chain
	defer chain.Release()
	_, producers := r.Producers(t.Context())
	for _, err := range []error{
		r.Verify(t.Context(), slabs), producers,
		r.Read(t.Context(), slabs, &chain, r.info.Base, r.info.End, 1000, true),
		r.Read(t.Context(), slabs, &chain, r.info.End-1, r.info.End, 1<<20, false),
	} {
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("untyped error %v", err)
		}
	}
	r.SeekTime(5, r.info.Base)
}

func BenchmarkRead(b *testing.B) {
	store := newStore()
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		b.Fatal(err)
	}
	var batches []record.Batch
	for i := range int64(1000) {
		batches = append(batches, plain(b, i*16, 16, 1024, i))
	}
	r := open(b, store, write(b, store, WriterConfig{}, 16_000, batches...))
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var chain slab.Chain
		if err := r.Read(b.Context(), slabs, &chain, int64(i*16%14_000), 16_000, 1<<20, true); err != nil {
			b.Fatal(err)
		}
		chain.Release()
	}
}

func BenchmarkAppend(b *testing.B) {
	store := newStore()
	batch := plain(b, 0, 16, 1024, 1)
	w, err := Create(b.Context(), store, WriterConfig{Partition: testPartition()}, 1)
	if err != nil {
		b.Fatal(err)
	}
	w.buf.Reset(discard{})
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		batch.SetBaseOffset(i * 16)
		if err := w.Append(batch); err != nil {
			b.Fatal(err)
		}
	}
	w.Abort()
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func FuzzDecodeAborted(f *testing.F) {
	f.Add(appendAborted(nil, []producer.Aborted{{ProducerID: 1, First: 5, Last: 9}, {ProducerID: 2, First: 7, Last: 7}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		aborted, err := decodeAborted(b)
		if err != nil {
			return
		}
		again, err := decodeAborted(appendAborted(nil, aborted))
		if err != nil || !slices.Equal(aborted, again) {
			t.Fatalf("%v does not survive a round: %v, %v", aborted, again, err)
		}
	})
}
