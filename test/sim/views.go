package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
)

// kvView is etcd as one process sees it. It implements kv.KV.
type kvView struct {
	gate   *gate
	memory *kv.Memory
	leases *kv.Leases

	mu      sync.Mutex
	granted []kv.LeaseID
	last    kv.Lease      // the last one that was granted; nil: none
	resync  chan struct{} // closed and replaced: watches end with a Resync
}

func newKVView(g *gate, m *kv.Memory, c *skewed) *kvView {
	v := &kvView{gate: g, memory: m, resync: make(chan struct{})}
	v.leases = kv.NewLeases(leaseView{v, m.LeaseStore()}, c)
	return v
}

func unknownOutcome(err error) error { return fmt.Errorf("%w: %w", kv.ErrUnknown, err) }

func (v *kvView) Get(ctx context.Context, key string) (item kv.Item, err error) {
	err = v.gate.call(ctx, etcd, noStep, func() (err error) {
		item, err = v.memory.Get(ctx, key)
		return err
	}, plain)
	return item, err
}

func (v *kvView) List(ctx context.Context, prefix string) (items []kv.Item, rev int64, err error) {
	err = v.gate.call(ctx, etcd, noStep, func() (err error) {
		items, rev, err = v.memory.List(ctx, prefix)
		return err
	}, plain)
	return items, rev, err
}

func (v *kvView) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (rev int64, err error) {
	if err := kv.CheckTxn(cond, then); err != nil {
		return 0, err
	}
	err = v.gate.call(ctx, etcd, stepOf(then[0].Key), func() (err error) {
		rev, err = v.memory.Txn(ctx, cond, then)
		return err
	}, unknownOutcome)
	return rev, err
}

// Watch holds events back while etcd is away, or the process is stopped.
func (v *kvView) Watch(ctx context.Context, prefix string, fromRev int64) <-chan kv.Event {
	out := make(chan kv.Event)
	v.mu.Lock()
	resync := v.resync
	v.mu.Unlock()
	inner, stop := context.WithCancel(ctx)
	events := v.memory.Watch(inner, prefix, fromRev)
	go func() {
		defer close(out)
		defer func() {
			stop()
			for range events { // until its goroutine has ended
			}
		}()
		for {
			var e kv.Event
			select {
			case next, ok := <-events:
				if !ok {
					return
				}
				e = next
			case <-resync:
				e = kv.Event{Type: kv.EventResync}
			case <-ctx.Done():
				return
			}
			if err := v.gate.travel(ctx, etcd); errors.Is(err, errDead) {
				<-ctx.Done() // a dead process hears nothing more
				return
			} else if err != nil {
				return
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
			if e.Type == kv.EventResync {
				return
			}
		}
	}()
	return out
}

func (v *kvView) Grant(ctx context.Context, ttl time.Duration) (kv.Lease, error) {
	l, err := v.leases.Grant(ctx, ttl)
	if err == nil {
		v.mu.Lock()
		v.last = l
		v.mu.Unlock()
	}
	return l, err
}

// deadline is until when the process's lease holds for certain, by its clock; false where it has none.
func (v *kvView) deadline() (time.Time, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last == nil {
		return time.Time{}, false
	}
	return v.last.Deadline(), true
}

func (v *kvView) Close() error {
	v.leases.Close()
	return nil
}

// loseWatches has all watches ask for a new list.
func (v *kvView) loseWatches() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.resync)
	v.resync = make(chan struct{})
}

// expire ends the leases of the process, as if their keep-alives had not arrived for long.
func (v *kvView) expire() {
	v.mu.Lock()
	granted := v.granted
	v.granted = nil
	v.mu.Unlock()
	for _, id := range granted {
		v.memory.ExpireLease(id)
	}
}

// leaseView is the leases of etcd as one process sees them. It implements kv.LeaseStore.
type leaseView struct {
	view   *kvView
	leases kv.LeaseStore
}

func (l leaseView) Grant(ctx context.Context, ttl time.Duration) (id kv.LeaseID, given time.Duration, err error) {
	err = l.view.gate.call(ctx, etcd, noStep, func() (err error) {
		id, given, err = l.leases.Grant(ctx, ttl)
		return err
	}, plain)
	if err == nil {
		l.view.mu.Lock()
		l.view.granted = append(l.view.granted, id)
		l.view.mu.Unlock()
	}
	return id, given, err
}

func (l leaseView) KeepAlive(ctx context.Context, id kv.LeaseID) (ttl time.Duration, err error) {
	err = l.view.gate.call(ctx, etcd, noStep, func() (err error) {
		ttl, err = l.leases.KeepAlive(ctx, id)
		return err
	}, plain)
	return ttl, err
}

func (l leaseView) Revoke(ctx context.Context, id kv.LeaseID) error {
	l.view.mu.Lock()
	if l.view.last != nil && l.view.last.ID() == id {
		l.view.last = nil // given back
	}
	l.view.mu.Unlock()
	return l.view.gate.call(ctx, etcd, noStep, func() error { return l.leases.Revoke(ctx, id) }, plain)
}

// storeView is the object store as one process sees it. It implements object.Store.
type storeView struct {
	gate  *gate
	store object.Store
}

func (v storeView) Put(ctx context.Context, key string, body [][]byte, opts object.PutOptions) error {
	return v.gate.call(ctx, store, putStep, func() error { return v.store.Put(ctx, key, body, opts) }, plain)
}

func (v storeView) Create(ctx context.Context, key string) (w object.Writer, err error) {
	err = v.gate.call(ctx, store, noStep, func() (err error) {
		w, err = v.store.Create(ctx, key)
		return err
	}, plain)
	if err != nil {
		return nil, err
	}
	return &writerView{Writer: w, gate: v.gate}, nil
}

func (v storeView) ReadAt(ctx context.Context, key string, p []byte, off int64) (n int, err error) {
	err = v.gate.call(ctx, store, noStep, func() (err error) {
		n, err = v.store.ReadAt(ctx, key, p, off)
		return err
	}, plain)
	return n, err
}

func (v storeView) Open(ctx context.Context, key string) (r object.Reader, err error) {
	err = v.gate.call(ctx, store, noStep, func() (err error) {
		r, err = v.store.Open(ctx, key)
		return err
	}, plain)
	if err != nil {
		return nil, err
	}
	return &readerView{Reader: r, gate: v.gate, life: context.WithoutCancel(ctx)}, nil
}

func (v storeView) Stat(ctx context.Context, key string) (info object.Info, err error) {
	err = v.gate.call(ctx, store, noStep, func() (err error) {
		info, err = v.store.Stat(ctx, key)
		return err
	}, plain)
	return info, err
}

func (v storeView) List(ctx context.Context, prefix, after string, limit int) (found []object.Info, err error) {
	err = v.gate.call(ctx, store, noStep, func() (err error) {
		found, err = v.store.List(ctx, prefix, after, limit)
		return err
	}, plain)
	return found, err
}

func (v storeView) Delete(ctx context.Context, key string) error {
	return v.gate.call(ctx, store, putStep, func() error { return v.store.Delete(ctx, key) }, plain)
}

// writerView is an upload of one process.
type writerView struct {
	object.Writer
	gate *gate
}

func (w *writerView) Write(p []byte) (int, error) {
	if err := w.gate.running(); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w *writerView) Commit(ctx context.Context) error {
	return w.gate.call(ctx, store, putStep, func() error { return w.Writer.Commit(ctx) }, plain)
}

// readerView is an open object of one process.
type readerView struct {
	object.Reader
	gate *gate
	life context.Context
}

func (r *readerView) ReadAt(p []byte, off int64) (n int, err error) {
	err = r.gate.call(r.life, store, noStep, func() (err error) {
		n, err = r.Reader.ReadAt(p, off)
		return err
	}, plain)
	return n, err
}

// diskHook lets what a process does to its disk pass the gate.
func (g *gate) diskHook(op disk.Op) error {
	if err := g.running(); err != nil {
		return err
	}
	writes := op.Kind == disk.OpWrite || op.Kind == disk.OpDatasync || op.Kind == disk.OpSync
	if !writes {
		return nil
	}
	if err := g.travel(g.life, device); err != nil {
		return err
	}
	if refused, _ := g.fate(device, true); refused {
		return g.broken(op)
	}
	if op.Kind != disk.OpWrite {
		g.at(syncStep, false)
	} else {
		g.at(syncStep, true) // after a write is before its sync, or in its midst
	}
	return g.running()
}

// broken is how a write to a bad disk fails: some of it may be there.
func (g *gate) broken(op disk.Op) error {
	if op.Kind != disk.OpWrite || op.Len == 0 {
		return errIO
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return &disk.ShortWrite{N: g.rng.IntN(op.Len), Err: errIO}
}
