package wal

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/slab"
	"millrace/kafka/topic"
)

// partition returns the i-th partition of the tests.
func partition(i int) topic.Partition {
	return topic.Partition{Topic: topic.ID{15: byte(1 + i/4)}, Index: int32(i % 4)}
}

// batchSpec describes a record batch; its records are arbitrary bytes, which wal never looks at.
type batchSpec struct {
	base      int64
	records   int32
	size      int // of the whole batch
	epoch     int32
	timestamp int64
	producer  int64 // 0: none
	sequence  int32
}

func (s batchSpec) make() []byte {
	b := make([]byte, max(s.size, minBatchBytes))
	rng := rand.New(rand.NewPCG(uint64(s.base), uint64(s.size)))
	for i := minBatchBytes; i < len(b); i++ {
		b[i] = byte(rng.Uint32())
	}
	binary.BigEndian.PutUint64(b, uint64(s.base))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[12:], uint32(s.epoch))
	b[16] = 2
	binary.BigEndian.PutUint32(b[23:], uint32(max(s.records, 1)-1))
	binary.BigEndian.PutUint64(b[35:], uint64(s.timestamp))
	producer, sequence := int64(-1), int32(-1)
	if s.producer != 0 {
		producer, sequence = s.producer, s.sequence
	}
	binary.BigEndian.PutUint64(b[43:], uint64(producer))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	binary.BigEndian.PutUint32(b[57:], uint32(max(s.records, 1)))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// entryOf makes an entry of whole batches.
func entryOf(specs ...batchSpec) *Entry {
	e := &Entry{BaseOffset: specs[0].base, Done: func(error) {}}
	for _, s := range specs {
		e.Data = append(e.Data, s.make()...)
		e.LastOffset = s.base + int64(max(s.records, 1)) - 1
		e.MaxTimestamp = max(e.MaxTimestamp, s.timestamp)
	}
	return e
}

func testWorld(t testing.TB, fs disk.FS) World {
	t.Helper()
	slabs, err := slab.New(slab.Config{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	w := World{
		FS:    fs,
		Clock: clock.NewManual(time.UnixMilli(1_700_000_000_000)),
		Log:   slog.New(slog.DiscardHandler),
		Slabs: slabs,
	}
	if strings.Contains(t.Name(), sealedTests) {
		w.Keys = testKeys{1: "first"}
	}
	return w
}

// sealedTests is in the names of tests whose logs are encrypted.
const sealedTests = "Encrypted"

// testKeys are data keys by id.
type testKeys map[uint32]string

func (k testKeys) Newest() (id uint32) {
	for i := range k {
		id = max(id, i)
	}
	return id
}

func (k testKeys) Derive(_ context.Context, id uint32, label string, salt, out []byte) error {
	root, ok := k[id]
	if !ok {
		return errNoKey
	}
	key, err := hkdf.Key(sha256.New, []byte(root), salt, label, len(out))
	copy(out, key)
	return err
}

var errNoKey = errors.New("no such key")

// open opens a log in "wal" with small files and closes it at the end of the test.
func open(t testing.TB, fs disk.FS, change ...func(*Config)) *Log {
	t.Helper()
	l, err := tryOpen(t, fs, change...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tryOpen(t testing.TB, fs disk.FS, change ...func(*Config)) (*Log, error) {
	t.Helper()
	cfg := Config{Dir: "wal", Broker: 1, Incarnation: 7, FileSize: 1 << 20, GroupBytes: 128 << 10}
	for _, f := range change {
		f(&cfg)
	}
	if err := fs.MkdirAll("wal", 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), cfg, testWorld(t, fs))
	if err == nil {
		t.Cleanup(func() { closeLog(t, l) })
	}
	return l, err
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// appendSync appends and waits for Done.
func appendSync(t testing.TB, s *Stream, e *Entry) error {
	t.Helper()
	done := make(chan error, 1)
	e.Done = func(err error) { done <- err }
	if err := s.Append(t.Context(), e); err != nil {
		return err
	}
	return <-done
}

func mustAppend(t testing.TB, s *Stream, specs ...batchSpec) []byte {
	t.Helper()
	e := entryOf(specs...)
	data := bytes.Clone(e.Data)
	if err := appendSync(t, s, e); err != nil {
		t.Fatal(err)
	}
	return data
}

// readAll reads everything from an offset on, in many calls.
func readAll(t testing.TB, s *Stream, from int64, maxBytes int) []byte {
	t.Helper()
	var all []byte
	for {
		b := readOnce(t, s, from, 1<<62, maxBytes)
		if len(b) == 0 {
			return all
		}
		all = append(all, b...)
		from = lastOffset(b) + 1
	}
}

func readOnce(t testing.TB, s *Stream, from, upTo int64, maxBytes int) []byte {
	t.Helper()
	var chain slab.Chain
	if err := s.Read(t.Context(), &chain, from, upTo, maxBytes, true); err != nil {
		t.Fatal(err)
	}
	b := bytes.Join(chain.Parts(), nil)
	chain.Release()
	return b
}

// lastOffset is that of the last batch.
func lastOffset(data []byte) int64 {
	last := int64(-1)
	for len(data) > 0 {
		n := int(binary.BigEndian.Uint32(data[8:])) + 12
		last = int64(binary.BigEndian.Uint64(data)) + int64(binary.BigEndian.Uint32(data[23:]))
		data = data[n:]
	}
	return last
}

// history is what a test appended over its life, in append order.
type history struct {
	mu        sync.Mutex
	submitted []submitted
	acked     int // entries acknowledged; they are a prefix (W2)
	failed    int
	next      map[int]int64
}

type submitted struct {
	partition int
	data      []byte
}

// submit appends to partition p of l without waiting.
func (h *history) submit(t testing.TB, l *Log, p int, specs ...batchSpec) error {
	t.Helper()
	h.mu.Lock()
	if h.next == nil {
		h.next = make(map[int]int64)
	}
	base := h.next[p]
	for i := range specs {
		specs[i].base = base
		base += int64(max(specs[i].records, 1))
	}
	e := entryOf(specs...)
	index := len(h.submitted)
	h.submitted = append(h.submitted, submitted{p, bytes.Clone(e.Data)})
	h.next[p] = base
	h.mu.Unlock()
	e.Done = func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		switch {
		case err != nil:
			h.failed++
		case index != h.acked:
			t.Errorf("entry %d done when %d was next", index, h.acked)
		default:
			h.acked++
		}
	}
	return l.Stream(partition(p)).Append(t.Context(), e)
}

func (h *history) snapshot() (acked, submitted int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked, len(h.submitted)
}

// check demands that l holds exactly the first k submitted entries, for a k from low to high, and returns k.
func (h *history) check(t testing.TB, l *Log, low, high int) int {
	t.Helper()
	h.mu.Lock()
	list := h.submitted[:high]
	h.mu.Unlock()
	got := make(map[int][]byte)
	for _, p := range l.Partitions() {
		i := int(p.Topic[15]-1)*4 + int(p.Index)
		got[i] = readAll(t, l.Stream(p), 0, 64<<10)
	}
	k := 0
	for ; k < len(list); k++ {
		s := list[k]
		if !bytes.HasPrefix(got[s.partition], s.data) {
			break
		}
		got[s.partition] = got[s.partition][len(s.data):]
	}
	for p, rest := range got {
		if len(rest) > 0 {
			t.Fatalf("partition %d holds %d bytes beyond the %d entries that were recovered", p, len(rest), k)
		}
	}
	if k < low {
		t.Fatalf("%d entries recovered of %d acknowledged", k, low)
	}
	return k
}
