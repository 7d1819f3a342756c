package objectlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/kafka/topic"
)

var errFault = errors.New("planned fault")

func partition(i int) topic.Partition {
	return topic.Partition{Topic: topic.ID{15: byte(1 + i/4)}, Index: int32(i % 4)}
}

// batch makes a record batch of one record, whose bytes nobody looks at.
func batch(base int64, epoch int32, size int) []byte {
	b := make([]byte, max(size, 61))
	for i := 61; i < len(b); i++ {
		b[i] = byte(int64(i) * (base + 7))
	}
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[12:], uint32(epoch))
	b[16] = 2
	binary.BigEndian.PutUint64(b[43:], 1<<64-1)
	binary.BigEndian.PutUint64(b[51:], 1<<64-1)
	binary.BigEndian.PutUint32(b[57:], 1)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// groupOf encodes a group of runs as docs/formats/wal.md has it, without a salt.
func groupOf(seq uint64, runs ...Run) [][]byte {
	sum := func(b []byte) uint32 { return crc32.Update(crc32.Checksum(make([]byte, 8), castagnoli), castagnoli, b) }
	head := make([]byte, 64)
	body := [][]byte{nil}
	payload := 0
	for _, r := range runs {
		head = append(head, r.Partition.Topic[:]...)
		head = binary.BigEndian.AppendUint32(head, uint32(r.Partition.Index))
		head = binary.BigEndian.AppendUint32(head, uint32(r.Epoch))
		for _, v := range []int64{r.Base, r.Last, r.MaxTimestamp} {
			head = binary.BigEndian.AppendUint64(head, uint64(v))
		}
		head = binary.BigEndian.AppendUint32(head, uint32(len(r.Data)))
		head = binary.BigEndian.AppendUint32(head, uint32(r.Last-r.Base+1))
		body = append(body, r.Data)
		payload += len(r.Data)
	}
	copy(head, "MLRCgrp\n")
	binary.BigEndian.PutUint16(head[8:], 1)
	binary.BigEndian.PutUint32(head[12:], uint32(len(runs)))
	binary.BigEndian.PutUint64(head[16:], seq)
	binary.BigEndian.PutUint64(head[24:], uint64(payload))
	binary.BigEndian.PutUint32(head[44:], sum(head[64:]))
	binary.BigEndian.PutUint32(head[60:], sum(head[:60]))
	body[0] = head
	return body
}

// single is group seq of the tests: one batch of one partition at offset seq.
func single(seq uint64) [][]byte {
	return groupOf(seq, Run{Partition: partition(0), Epoch: 3, Base: int64(seq), Last: int64(seq), Data: batch(int64(seq), 3, 100)})
}

var testID = ID{Broker: 3, Incarnation: 0x18c2}

// env is a cluster's stores.
type env struct {
	kv      *kv.Memory
	memory  *object.Memory
	objects object.Store // memory, behind what the test put before it
	store   *Store
}

func newEnv(t testing.TB, wrap ...func(object.Store) object.Store) *env {
	t.Helper()
	e := &env{kv: kv.NewMemory(), memory: object.NewMemory(clock.System{})}
	t.Cleanup(func() { _ = e.kv.Close() })
	e.objects = e.memory
	for _, f := range wrap {
		e.objects = f(e.objects)
	}
	e.setKV(e.kv)
	return e
}

// setKV makes the Store anew over what stands before kv.
func (e *env) setKV(records kv.KV) {
	e.store = NewStore(records, e.objects, "logs/", clock.System{}, slog.New(slog.DiscardHandler))
}

// create makes the log testID, which is closed at the end of the test.
func (e *env) create(t testing.TB, lease func() time.Time) *Writer {
	t.Helper()
	return e.createWith(t, WriterConfig{TrimInterval: time.Second, PutTimeout: time.Second}, lease)
}

func (e *env) createWith(t testing.TB, cfg WriterConfig, lease func() time.Time) *Writer {
	t.Helper()
	w, err := e.store.Create(t.Context(), testID, cfg, WriterWorld{Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return w
}

// put stores a group and waits.
func put(w *Writer, seq uint64) error {
	done := make(chan error, 1)
	w.Put(seq, single(seq), func(err error) { done <- err })
	return <-done
}

// mustPut stores groups.
func mustPut(t testing.TB, w *Writer, from, to uint64) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		if err := put(w, seq); err != nil {
			t.Fatal(err)
		}
	}
}

// replay returns the offsets of partition 0 in a log.
func (e *env) replay(t testing.TB, sealed Sealed) []int64 {
	t.Helper()
	var got []int64
	err := e.store.Replay(t.Context(), sealed, everything, func(r Run) error {
		if !bytes.Equal(r.Data, batch(r.Base, 3, 100)) || r.Last != r.Base || r.Epoch != 3 || r.Partition != partition(0) {
			t.Errorf("run %+v", r)
		}
		got = append(got, r.Base)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func everything(topic.Partition) (int64, bool) { return 0, true }

// chaos is a store that fails, hangs, is slow, loses answers, lets puts take effect long after their caller gave up, and lists what was a
// while ago. How much of it, the odds say, each of a hundred.
type chaos struct {
	object.Store
	odds odds

	mu      sync.Mutex
	rng     *rand.Rand
	created map[string]time.Time
	late    sync.WaitGroup
}

type odds struct{ fail, lose, hang, stale, unknown int }

func (c *chaos) dice() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(100)
}

// delay takes up to so long, but no longer than ctx.
func (c *chaos) delay(ctx context.Context, most time.Duration) error {
	c.mu.Lock()
	d := time.Duration(c.rng.Int64N(int64(most)))
	c.mu.Unlock()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *chaos) Put(ctx context.Context, key string, body [][]byte, opts object.PutOptions) error {
	if err := c.delay(ctx, 40*time.Millisecond); err != nil {
		return err
	}
	n := c.dice()
	o := c.odds
	switch {
	case n < o.fail:
		return errFault
	case n < o.fail+o.hang:
		sent := [][]byte{bytes.Join(body, nil)}
		<-ctx.Done()
		c.late.Go(func() {
			bg := context.WithoutCancel(ctx)
			_ = c.delay(bg, 3*time.Second)
			_ = c.put(bg, key, sent, opts)
		})
		return ctx.Err()
	}
	err := c.put(ctx, key, body, opts)
	if n < o.fail+o.hang+o.lose {
		return errFault
	}
	_ = c.delay(context.WithoutCancel(ctx), 20*time.Millisecond)
	return err
}

func (c *chaos) put(ctx context.Context, key string, body [][]byte, opts object.PutOptions) error {
	err := c.Store.Put(ctx, key, body, opts)
	if err == nil {
		c.mu.Lock()
		c.created[key] = time.Now()
		c.mu.Unlock()
	}
	return err
}

func (c *chaos) List(ctx context.Context, prefix, after string, limit int) ([]object.Info, error) {
	if err := c.delay(ctx, 20*time.Millisecond); err != nil {
		return nil, err
	}
	page, err := c.Store.List(ctx, prefix, after, limit)
	if c.dice() < c.odds.fail {
		return nil, errFault
	}
	var seen []object.Info
	for _, info := range page {
		c.mu.Lock()
		isNew := time.Since(c.created[info.Key]) < time.Second
		c.mu.Unlock()
		if !isNew || c.dice() >= c.odds.stale {
			seen = append(seen, info)
		}
	}
	return seen, err
}

func (c *chaos) Stat(ctx context.Context, key string) (object.Info, error) {
	if err := c.delay(ctx, 20*time.Millisecond); err != nil {
		return object.Info{}, err
	}
	if c.dice() < c.odds.fail {
		return object.Info{}, errFault
	}
	return c.Store.Stat(ctx, key)
}

func (c *chaos) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	if err := c.delay(ctx, 20*time.Millisecond); err != nil {
		return 0, err
	}
	if c.dice() < c.odds.fail {
		return 0, errFault
	}
	return c.Store.ReadAt(ctx, key, p, off)
}

func (c *chaos) Delete(ctx context.Context, key string) error {
	if err := c.delay(ctx, 20*time.Millisecond); err != nil {
		return err
	}
	if c.dice() < c.odds.fail {
		return errFault
	}
	return c.Store.Delete(ctx, key)
}

// chaosKV is a KV that fails, and does not know whether a Txn was applied.
type chaosKV struct {
	kv.KV
	*chaos
}

func (c chaosKV) Get(ctx context.Context, key string) (kv.Item, error) {
	if err := c.delay(ctx, 20*time.Millisecond); err != nil {
		return kv.Item{}, err
	}
	return c.KV.Get(ctx, key)
}

func (c chaosKV) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	return c.KV.List(ctx, prefix)
}

func (c chaosKV) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if err := c.delay(ctx, 20*time.Millisecond); err != nil {
		return 0, err
	}
	n := c.dice()
	if n < c.odds.unknown {
		return 0, kv.ErrUnknown
	}
	rev, err := c.KV.Txn(ctx, cond, then)
	if n < 2*c.odds.unknown {
		return 0, kv.ErrUnknown
	}
	return rev, err
}
