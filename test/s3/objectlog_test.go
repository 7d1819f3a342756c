package s3

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/slab"
	"millrace/express/objectlog"
	"millrace/express/wal"
	"millrace/kafka/topic"
	"millrace/test/harness"
)

// walEntry makes an entry of one record batch of one record.
func walEntry(base int64, size int) *wal.Entry {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	binary.BigEndian.PutUint64(b[43:], 1<<64-1)
	binary.BigEndian.PutUint64(b[51:], 1<<64-1)
	binary.BigEndian.PutUint32(b[57:], 1)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return &wal.Entry{Data: b, BaseOffset: base, LastOffset: base}
}

// startWriter opens the log id of a broker in a bucket. It is closed at the end of the test.
func startWriter(t *testing.T, store *objectlog.Store, id objectlog.ID) *wal.Log {
	writer, err := store.Create(t.Context(), id, objectlog.WriterConfig{HedgeAfter: 500 * time.Millisecond}, objectlog.WriterWorld{})
	if err != nil {
		t.Fatal(err)
	}
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := wal.Config{Dir: ".", Broker: id.Broker, Incarnation: id.Incarnation, Interval: 20 * time.Millisecond}
	log, err := wal.Open(t.Context(), cfg, wal.World{
		FS: disk.OS(t.TempDir()), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Slabs: slabs, Replica: writer,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(writer.Close(ctx), log.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return log
}

// lossy makes a network lose the answers of some creations, and refuse some requests. It returns how many there were.
func lossy(proxy *between) *atomic.Int64 {
	var requests atomic.Int64
	proxy.do(func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		n := requests.Add(1)
		switch {
		case r.Method == http.MethodPut && n%7 == 0:
			on.ServeHTTP(httptest.NewRecorder(), r)
			hangUp(w)
		case n%11 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			on.ServeHTTP(w, r)
		}
	})
	return &requests
}

// TestObjectLog: a broker whose log is in a bucket, over a network that loses answers and refuses requests, is sealed by a successor while it
// writes. What it has acknowledged is in the replay, and it acknowledges nothing more.
func TestObjectLog(t *testing.T) {
	server := harness.StartS3(t)
	credentials(t, server)
	proxy := startBetween(t, server)
	objects := open(t, server.URL("log", proxy.URL))
	requests := lossy(proxy)
	memory := kv.NewMemory()
	defer func() { _ = memory.Close() }()
	store := objectlog.NewStore(memory, objects, "logs/", clock.System{}, slog.New(slog.DiscardHandler))
	id := objectlog.ID{Broker: 1, Incarnation: 7}
	log := startWriter(t, store, id)

	const streams, before = 8, 20
	var (
		acked  [streams][]byte
		all    sync.WaitGroup
		enough sync.WaitGroup
	)
	enough.Add(streams)
	for i := range streams {
		all.Go(func() {
			s := log.Stream(topic.Partition{Index: int32(i)})
			for offset := int64(0); ; offset++ {
				e := walEntry(offset, 1000*(i+1))
				data := bytes.Clone(e.Data)
				done := make(chan error, 1)
				e.Done = func(err error) { done <- err }
				err := s.Append(t.Context(), e)
				if err == nil {
					err = <-done
				}
				if err != nil {
					if !errors.Is(err, objectlog.ErrSealed) {
						t.Errorf("append: %v", err)
					}
					return
				}
				acked[i] = append(acked[i], data...)
				if offset == before {
					enough.Done()
				}
			}
		})
	}
	enough.Wait()
	by := objectlog.ID{Broker: 2, Incarnation: 9}
	sealed, err := store.Seal(t.Context(), id, by)
	for err != nil {
		t.Logf("seal again: %v", err)
		sealed, err = store.Seal(t.Context(), id, by)
	}
	all.Wait()
	var got [streams][]byte
	err = store.Replay(t.Context(), sealed, func(topic.Partition) (int64, bool) { return 0, true }, func(r objectlog.Run) error {
		got[r.Partition.Index] = append(got[r.Partition.Index], r.Data...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if !bytes.HasPrefix(got[i], acked[i]) {
			t.Errorf("stream %d: %d bytes replayed do not begin with the %d that were acknowledged", i, len(got[i]), len(acked[i]))
		}
	}
	proxy.do(nil)
	n, err := store.Sweep(t.Context(), time.Now(), func(objectlog.ID) bool { return false })
	if err != nil || n < int(sealed.End-sealed.First) {
		t.Errorf("swept %d of %d groups: %v", n, sealed.End-sealed.First, err)
	}
	t.Logf("%d groups, %d requests", sealed.End-sealed.First, requests.Load())
}
