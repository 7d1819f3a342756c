package objectlog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/objectlog"
	"millrace/express/wal"
	"millrace/kafka/topic"
)

func partition(i int) topic.Partition {
	return topic.Partition{Topic: topic.ID{15: 1}, Index: int32(i)}
}

// entry makes one record batch of one record.
func entry(base int64, size int) *wal.Entry {
	b := make([]byte, max(size, 61))
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	binary.BigEndian.PutUint64(b[43:], 1<<64-1)
	binary.BigEndian.PutUint64(b[51:], 1<<64-1)
	binary.BigEndian.PutUint32(b[57:], 1)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return &wal.Entry{Data: b, BaseOffset: base, LastOffset: base, MaxTimestamp: base}
}

// broker is a wal whose log is in an object store.
type broker struct {
	w   *objectlog.Writer
	log *wal.Log
}

// start opens the log id of a broker. It is closed at the end of the test.
func start(t testing.TB, s *objectlog.Store, id objectlog.ID, cfg wal.Config) *broker {
	t.Helper()
	w, err := s.Create(t.Context(), id, objectlog.WriterConfig{}, objectlog.WriterWorld{})
	if err != nil {
		t.Fatal(err)
	}
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir, cfg.Broker, cfg.Incarnation = ".", id.Broker, id.Incarnation
	log, err := wal.Open(t.Context(), cfg, wal.World{
		FS: disk.OS(t.TempDir()), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Slabs: slabs, Replica: w,
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{w, log}
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *broker) stop(t testing.TB) {
	ctx := context.WithoutCancel(t.Context())
	if err := errors.Join(b.w.Close(ctx), b.log.Close(ctx)); err != nil {
		t.Error(err)
	}
}

// openFiles opens an object store on the machine's disk.
func openFiles(t testing.TB) object.Store {
	t.Helper()
	files, err := object.OpenFiles(t.Context(), disk.OS(t.TempDir()), ".")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	return files
}

func newStore(t testing.TB, objects object.Store) *objectlog.Store {
	t.Helper()
	memory := kv.NewMemory()
	t.Cleanup(func() { _ = memory.Close() })
	return objectlog.NewStore(memory, objects, "logs/", clock.System{}, slog.New(slog.DiscardHandler))
}

// TestTakeOver: what a broker has acknowledged before a successor sealed its log is in the replay, byte for byte, and the broker dies.
func TestTakeOver(t *testing.T) {
	s := newStore(t, openFiles(t))
	takeOver(t, s, wal.Config{FileSize: 1 << 20, Interval: time.Millisecond})
}

// takeOver is the test over any store.
func takeOver(t *testing.T, s *objectlog.Store, cfg wal.Config) {
	id := objectlog.ID{Broker: 1, Incarnation: 7}
	b := start(t, s, id, cfg)
	var (
		mu    sync.Mutex
		acked = map[topic.Partition][]byte{}
		all   sync.WaitGroup
	)
	var begun sync.WaitGroup // until every partition has something
	begun.Add(8)
	for p := range 8 {
		all.Go(func() {
			stream := b.log.Stream(partition(p))
			for offset := int64(0); ; offset++ {
				e := entry(offset, 100+1000*p)
				data := bytes.Clone(e.Data)
				done := make(chan error, 1)
				e.Done = func(err error) { done <- err }
				err := stream.Append(t.Context(), e)
				if err == nil {
					err = <-done
				}
				if err != nil {
					if !errors.Is(err, wal.ErrFailed) || !errors.Is(err, objectlog.ErrSealed) {
						t.Errorf("append: %v", err)
					}
					return
				}
				mu.Lock()
				acked[partition(p)] = append(acked[partition(p)], data...)
				mu.Unlock()
				if offset == 0 {
					begun.Done()
				}
			}
		})
	}
	begun.Wait()
	sealed, err := s.Seal(t.Context(), id, objectlog.ID{Broker: 2, Incarnation: 9})
	if err != nil {
		t.Fatal(err)
	}
	all.Wait()
	<-b.log.Failed()
	got := map[topic.Partition][]byte{}
	err = s.Replay(t.Context(), sealed, func(topic.Partition) (int64, bool) { return 0, true }, func(r objectlog.Run) error {
		got[r.Partition] = append(got[r.Partition], r.Data...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Collect(maps.Keys(acked)) {
		if !bytes.HasPrefix(got[p], acked[p]) {
			t.Errorf("%s: %d bytes replayed do not begin with the %d that were acknowledged", p, len(got[p]), len(acked[p]))
		}
	}
}

// TestTrimFollowsFiles: objects go when the files that hold the same groups have gone.
func TestTrimFollowsFiles(t *testing.T) {
	objects := openFiles(t)
	s := newStore(t, objects)
	b := start(t, s, objectlog.ID{Broker: 1, Incarnation: 7}, wal.Config{FileSize: 1 << 20, Interval: time.Millisecond})
	stream := b.log.Stream(partition(0))
	append1 := func(offset int64) {
		e := entry(offset, 300<<10)
		done := make(chan error, 1)
		e.Done = func(err error) { done <- err }
		if err := errors.Join(stream.Append(t.Context(), e), <-done); err != nil {
			t.Fatal(err)
		}
	}
	for offset := range int64(20) {
		append1(offset)
	}
	if err := b.log.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream.Trim(20)
	append1(20)
	for left := 0; left != 1; {
		infos, err := objects.List(t.Context(), objectlog.Root, "", 100)
		if err != nil || len(infos) == 0 {
			t.Fatal(len(infos), err)
		}
		left = len(infos)
	}
	sealed, err := s.Seal(t.Context(), b.w.ID(), objectlog.ID{Broker: 2})
	if err != nil || sealed.First != 21 || sealed.End != 22 {
		t.Errorf("sealed: %+v, %v", sealed, err)
	}
}

// BenchmarkAppend keeps some entries in flight over 16 streams, as the benchmark of wal does, with a pipeline of groups.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ size, inFlight, pipeline int }{
		{1 << 10, 1, 4}, {1 << 10, 256, 1}, {1 << 10, 256, 4}, {16 << 10, 64, 4}, {1 << 20, 8, 1}, {1 << 20, 8, 4}, {1 << 20, 32, 8},
	} {
		b.Run(fmt.Sprintf("%dKiB/%d/pipeline%d", c.size>>10, c.inFlight, c.pipeline), func(b *testing.B) {
			br := start(b, newStore(b, openFiles(b)), objectlog.ID{Broker: 1, Incarnation: 1}, wal.Config{Pipeline: c.pipeline})
			drive(b, br.log, c.size, c.inFlight)
		})
	}
}

func drive(b *testing.B, log *wal.Log, size, inFlight int) {
	const streams = 16
	free := make(chan *wal.Entry, inFlight)
	for range inFlight {
		e := entry(0, size)
		e.Done = func(err error) {
			if err != nil {
				b.Error(err)
			}
			free <- e
		}
		free <- e
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		e := <-free
		offset := int64(i / streams)
		binary.BigEndian.PutUint64(e.Data, uint64(offset))
		*e = wal.Entry{Data: e.Data, BaseOffset: offset, LastOffset: offset, Done: e.Done}
		s := log.Stream(partition(i % streams))
		if err := s.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		if i%(1<<10) == 0 {
			s.Trim(offset)
		}
	}
	for range inFlight {
		<-free
	}
}

// BenchmarkTakeOver seals and replays a log of 64 MiB in groups of 256 KiB over files. Every partition is wanted.
func BenchmarkTakeOver(b *testing.B) {
	const groups, size = 256, 256 << 10
	s := newStore(b, openFiles(b))
	br := start(b, s, objectlog.ID{Broker: 1, Incarnation: 1}, wal.Config{GroupBytes: size})
	all := make(chan error, groups)
	for i := range int64(groups) {
		e := entry(i, size)
		e.Done = func(err error) { all <- err }
		if err := br.log.Stream(partition(0)).Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	for range groups {
		if err := <-all; err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(groups * size)
	b.ResetTimer()
	for range b.N {
		sealed, err := s.Seal(b.Context(), br.w.ID(), objectlog.ID{Broker: 2})
		if err != nil {
			b.Fatal(err)
		}
		bytes := 0
		err = s.Replay(b.Context(), sealed, func(topic.Partition) (int64, bool) { return 0, true }, func(r objectlog.Run) error {
			bytes += len(r.Data)
			return nil
		})
		if err != nil || bytes != groups*size {
			b.Fatal(bytes, err)
		}
	}
}
