package backup

import (
	"context"
	"errors"
	"slices"
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

// newObjectEnv is a cluster that keeps its logs in the object store.
func newObjectEnv(t *testing.T, partitions int) *env {
	t.Helper()
	e := newEnv(t, partitions)
	e.set("clusters/c/catalog/cluster", map[string]any{"version": 1, "id": e.clusterID, "log": "object"})
	return e
}

// writer is a process that writes a log, and lives on to the end of the test.
type writer struct {
	e   *env
	id  objectlog.ID
	log *wal.Log
}

func (e *env) writer(broker int32, incarnation uint64) *writer {
	e.t.Helper()
	store := objectlog.NewStore(e.kv, e.objects, "clusters/c/logs/", clock.System{}, quiet)
	w := &writer{e: e, id: objectlog.ID{Broker: broker, Incarnation: incarnation}}
	replica, err := store.Create(e.ctx, w.id, objectlog.WriterConfig{}, objectlog.WriterWorld{})
	must(e.t, err)
	slabs, err := slab.New(slab.Config{})
	must(e.t, err)
	fs := disk.NewMem()
	must(e.t, fs.MkdirAll("cache", 0o700))
	w.log, err = wal.Open(e.ctx, wal.Config{Dir: "cache", Broker: broker, Incarnation: incarnation},
		wal.World{FS: fs, Clock: clock.System{}, Log: quiet, Slabs: slabs, Replica: replica})
	must(e.t, err)
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = errors.Join(w.log.Close(ctx), replica.Close(ctx)) // what was sealed cannot be closed well
	})
	return w
}

// append writes the offsets [from, to) of a partition and says whether all were acknowledged.
func (w *writer) append(index int32, from, to int64, epoch int32) error {
	for o := from; o < to; o++ {
		done := make(chan error, 1)
		err := w.log.Stream(w.e.id(index)).Append(w.e.ctx, &wal.Entry{
			Data: w.e.batch(o, epoch), BaseOffset: o, LastOffset: o, Done: func(err error) { done <- err },
		})
		if err == nil {
			err = <-done
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) must(index int32, from, to int64, epoch int32) {
	w.e.t.Helper()
	must(w.e.t, w.append(index, from, to, epoch))
}

// lose deletes an object of the log: it was in flight, and never arrived.
func (w *writer) lose(number string) {
	w.e.t.Helper()
	list, err := w.e.objects.List(w.e.ctx, objectlog.Root, "", 1000)
	must(w.e.t, err)
	i := slices.IndexFunc(list, func(o object.Info) bool {
		return len(o.Key) > 16 && o.Key[len(objectlog.Root)+3:] == w.id.String()+"/"+number
	})
	if i < 0 {
		w.e.t.Fatalf("object %s of log %s is not there", number, w.id)
	}
	must(w.e.t, w.e.objects.Delete(w.e.ctx, list[i].Key))
}

// heir reads what a partition's new owner imports from the log that the restored record names.
func (e *env) heir(store kv.KV, index int, from int64) (offsets []int64) {
	e.t.Helper()
	r := e.record(store, index)
	if r.Log == "" {
		return nil
	}
	id, err := objectlog.ParseID(r.Log)
	must(e.t, err)
	logs := objectlog.NewStore(store, e.objects, "clusters/c/logs/", clock.System{}, quiet)
	sealed, err := logs.Seal(e.ctx, id, objectlog.ID{Broker: 9, Incarnation: 9})
	must(e.t, err)
	must(e.t, logs.Replay(e.ctx, sealed, func(p topic.Partition) (int64, bool) { return from, p == e.id(int32(index)) }, func(run objectlog.Run) error {
		for o := max(run.Base, from); o <= run.Last; o++ {
			offsets = append(offsets, o)
		}
		return nil
	}))
	return offsets
}

// The backup says that broker 1 serves the partition at epoch 7, by incarnation 99; segments end at offset 10.
func TestRestoreFindsTheLogOfAPartition(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(e *env) // the backup
		after   func(e *env)
		owner   int32
		log     string
		end     int64 // of what the heir imports
		missing int
	}{
		"a log that lives on": {
			before: func(e *env) { e.writer(1, 99).must(0, 10, 14, 7) },
			owner:  1, log: "1/0000000000000063", end: 14,
		},
		"a log that was begun after the backup": {
			after: func(e *env) { e.writer(1, 100).must(0, 10, 14, 8) },
			owner: 1, log: "1/0000000000000064", end: 14,
		},
		"two incarnations, of which the second had not imported all": {
			before: func(e *env) { e.writer(1, 99).must(0, 10, 20, 7) },
			after:  func(e *env) { e.writer(1, 100).must(0, 10, 15, 7) },
			owner:  1, log: "1/0000000000000063", end: 20,
		},
		"two incarnations, of which the second went on": {
			before: func(e *env) { e.writer(1, 99).must(0, 10, 20, 7) },
			after: func(e *env) {
				w := e.writer(1, 100)
				w.must(0, 10, 20, 7)
				w.must(0, 20, 22, 8)
			},
			owner: 1, log: "1/0000000000000064", end: 22,
		},
		"taken over by another broker": {
			before: func(e *env) { e.writer(1, 99).must(0, 10, 20, 7) },
			after: func(e *env) {
				w := e.writer(2, 50)
				w.must(0, 10, 20, 7)
				w.must(0, 20, 22, 8)
			},
			owner: 2, log: "2/0000000000000032", end: 22,
		},
		"a torn end": {
			before: func(e *env) {
				w := e.writer(1, 99)
				w.must(0, 10, 20, 7)
				w.lose("0000000000000009") // offsets are one behind their numbers from 10 on: this is 18
			},
			owner: 1, log: "1/0000000000000063", end: 18,
		},
		"all is in segments": {
			before: func(e *env) { e.writer(1, 99).must(0, 5, 10, 7) },
			owner:  1,
		},
		"nothing was ever written": {owner: 1},
		"the log begins too late": {
			before: func(e *env) { e.writer(1, 99).must(0, 12, 15, 7) },
			owner:  1, log: "1/0000000000000063", end: 15, missing: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newObjectEnv(t, 1)
			e.cut(0)
			if c.before != nil {
				c.before(e)
			}
			b := e.take()
			if c.after != nil {
				c.after(e)
			}
			p, to, err := e.restored(b, nil, Options{AcceptMissing: true})
			must(t, err)
			r := e.record(to, 0)
			if r.Owner != c.owner || r.Log != c.log || r.Incarnation != 0 || len(p.Missing) != c.missing || !p.Logs {
				t.Errorf("%+v, plan %+v, want owner %d and log %q", r, p, c.owner, c.log)
			}
			got := e.heir(to, 0, 10)
			if n := len(got); n > 0 && got[n-1]+1 != c.end || n == 0 && c.end != 0 {
				t.Errorf("the heir reads %v, want up to %d", got, c.end)
			}
			for i := range got {
				if got[i] != got[0]+int64(i) {
					t.Errorf("the heir reads %v", got)
				}
			}
		})
	}
}

// A writer that lives on acknowledges nothing once the log has an heir, and what it acknowledged before is the heir's.
func TestRestoredLogsAreNotWrittenAnyMore(t *testing.T) {
	e := newObjectEnv(t, 1)
	w := e.writer(1, 99)
	w.must(0, 0, 5, 7)
	p, err := Prepare(e.ctx, e.take(), e.sources(e.kv, nil)) // etcd comes back where it was
	must(t, err)
	w.must(0, 5, 8, 7)
	must(t, Apply(e.ctx, e.kv, p, Options{Overwrite: true}, nil))
	acked := int64(8)
	if w.append(0, 8, 9, 7) == nil { // nobody has sealed it yet
		acked = 9
	}
	if got := e.heir(e.kv, 0, 0); int64(len(got)) < acked {
		t.Errorf("the heir reads %v, %d were acknowledged", got, acked)
	}
	if err := w.append(0, 9, 20, 7); err == nil {
		t.Error("a sealed log takes records")
	}
}

// Every log in the store has a record again, so that what nobody needs is swept.
func TestRestoredLogsAreSwept(t *testing.T) {
	e := newObjectEnv(t, 1)
	e.cut(0)
	e.writer(1, 98).must(0, 3, 9, 6)
	e.writer(1, 99).must(0, 10, 12, 7)
	_, to, err := e.restored(e.take(), nil, Options{})
	must(t, err)
	logs := objectlog.NewStore(to, e.objects, "clusters/c/logs/", clock.System{}, quiet)
	if n, err := logs.Sweep(e.ctx, time.Now(), func(id objectlog.ID) bool { return id.Incarnation == 99 }); n != 6 || err != nil {
		t.Errorf("%d objects swept, %v", n, err)
	}
	if got := e.heir(to, 0, 10); !slices.Equal(got, []int64{10, 11}) {
		t.Errorf("the heir reads %v", got)
	}
}
