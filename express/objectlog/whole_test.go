package objectlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/wal"
	"millrace/kafka/topic"

	"pgregory.net/rapid"
)

// whole is a broker's wal over a Writer over a store with every fault, its clients, and what they were told.
type whole struct {
	*env
	t     *testing.T
	log   *wal.Log
	rng   *rand.Rand // of the test's own goroutine
	parts [3]*part
}

// part is one partition: a client that appends one batch after the other, several in flight.
type part struct {
	mu      sync.Mutex
	data    [][]byte // of each offset
	acked   int64    // offsets below are
	trimmed int64    // offsets below are
}

func (w *whole) open(sc scene) {
	fs := disk.NewMem()
	if err := fs.MkdirAll("wal", 0o700); err != nil {
		w.t.Fatal(err)
	}
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	writer := w.createWith(w.t, WriterConfig{TrimInterval: time.Second, PutTimeout: time.Second, HedgeAfter: sc.hedge}, nil)
	cfg := wal.Config{Dir: "wal", FileSize: 1 << 20, GroupBytes: 32 << 10, Pipeline: sc.pipeline}
	w.log, err = wal.Open(w.t.Context(), cfg, wal.World{
		FS: fs, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Slabs: slabs, Replica: writer,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx := context.WithoutCancel(w.t.Context())
		if err := errors.Join(writer.Close(ctx), w.log.Close(ctx)); err != nil {
			w.t.Error(err)
		}
	})
}

// produce appends until the log is dead or n batches were taken, up to 10 at once.
func (w *whole) produce(i, n int, seed uint64) {
	p, s := w.parts[i], w.log.Stream(partition(i))
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	slots := make(chan struct{}, 10)
	for offset := int64(0); offset < int64(n); offset++ {
		slots <- struct{}{}
		e := &wal.Entry{Data: batch(offset, 0, 100+rng.IntN(20<<10)), BaseOffset: offset, LastOffset: offset}
		p.mu.Lock()
		p.data = append(p.data, bytes.Clone(e.Data))
		p.mu.Unlock()
		e.Done = func(err error) {
			if err == nil {
				p.mu.Lock()
				p.acked = offset + 1
				p.mu.Unlock()
			}
			<-slots
		}
		if err := s.Append(w.t.Context(), e); err != nil {
			return
		}
		time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
	}
}

// tidy trims and rolls, as a cleaner does, until the log is dead.
func (w *whole) tidy() {
	for {
		select {
		case <-w.log.Failed():
			return
		case <-time.After(200 * time.Millisecond):
		}
		i := w.rng.IntN(len(w.parts))
		p := w.parts[i]
		p.mu.Lock()
		p.trimmed += w.rng.Int64N(p.acked - p.trimmed + 1)
		to := p.trimmed
		p.mu.Unlock()
		w.log.Stream(partition(i)).Trim(to)
		if w.rng.IntN(3) == 0 {
			_ = w.log.Roll(w.t.Context())
		}
	}
}

// judge compares what a successor finds with what the clients were told: all that was acknowledged and is not trimmed is there.
func (w *whole) judge(sealed Sealed) error {
	next := map[topic.Partition]int64{}
	err := w.store.Replay(w.t.Context(), sealed, everything, func(r Run) error {
		if at, ok := next[r.Partition]; ok && at != r.Base {
			return fmt.Errorf("%s goes on at %d instead of %d", r.Partition, r.Base, at)
		}
		p := w.parts[r.Partition.Index]
		if _, ok := next[r.Partition]; !ok && r.Base > p.trimmed {
			return fmt.Errorf("%s begins at %d and is trimmed to %d", r.Partition, r.Base, p.trimmed)
		}
		if want := bytes.Join(p.data[r.Base:r.Last+1], nil); !bytes.Equal(want, r.Data) {
			return fmt.Errorf("%s at %d has other bytes", r.Partition, r.Base)
		}
		next[r.Partition] = r.Last + 1
		return nil
	})
	if err != nil && !errors.Is(err, errFault) {
		return err
	}
	for i, p := range w.parts {
		if err == nil && next[partition(i)] < p.acked && p.trimmed < p.acked {
			return fmt.Errorf("partition %d is acknowledged to %d, trimmed to %d, and replayed to %d", i, p.acked, p.trimmed, next[partition(i)])
		}
		if _, end := w.log.Stream(partition(i)).Bounds(); end != p.acked {
			return fmt.Errorf("partition %d is acknowledged to %d, and readable to %d", i, p.acked, end)
		}
	}
	return nil
}

// TestWhole is E1 over wal and object log together: whatever the store does, and whenever a successor seals the log, nothing that was
// acknowledged and is still wanted is lost, and all comes in order.
func TestWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScene(rt)
		var fault error
		synctest.Test(t, func(t *testing.T) {
			w := &whole{t: t, rng: rand.New(rand.NewPCG(sc.seed, 9))}
			for i := range w.parts {
				w.parts[i] = &part{}
			}
			var c *chaos
			w.env = newEnv(t, func(memory object.Store) object.Store {
				c = &chaos{Store: memory, odds: sc.odds, rng: rand.New(rand.NewPCG(sc.seed, 1)), created: map[string]time.Time{}}
				return c
			})
			w.setKV(chaosKV{w.kv, c})
			w.open(sc)
			var all sync.WaitGroup
			for i := range w.parts {
				all.Go(func() { w.produce(i, 3*sc.groups, sc.seed) })
			}
			all.Go(w.tidy)
			time.Sleep(sc.sealAfter / 2)
			sealed, err := w.store.Seal(t.Context(), testID, ID{Broker: 4})
			for err != nil && !errors.Is(err, ErrCorrupt) {
				time.Sleep(50 * time.Millisecond)
				sealed, err = w.store.Seal(t.Context(), testID, ID{Broker: 4})
			}
			// An idle writer learns nothing; one more batch makes it.
			last := &wal.Entry{Data: batch(0, 0, 100), Done: func(error) {}}
			_ = w.log.Stream(partition(7)).Append(t.Context(), last)
			all.Wait()
			if fault = err; fault == nil {
				fault = w.judge(sealed)
			}
			c.late.Wait()
		})
		if fault != nil {
			rt.Fatalf("%+v: %v", sc, fault)
		}
	})
}
