package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/partition"
	"millrace/express/segment"
	"millrace/express/tail"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

func TestUndamagedIsClean(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.clean() // empty
	e.fill(3, 4)
	e.clean()
	if p := e.auditor.Result().Last; p.Bytes < 4000 || p.Waiting != 4 {
		t.Errorf("pass %+v: want all bytes read, and the bodies of former manifests waiting for the sweep", p)
	}
	e.reopen()
	e.fill(0, 2) // under another leader epoch; the producer has begun anew
	e.clean()
	_, err := e.parts[0].DeleteRecords(e.ctx, 29) // within a batch
	must(t, err)
	e.clean()
	_, err = e.parts[0].DeleteRecords(e.ctx, -1)
	must(t, err)
	e.clean()
	e.fill(1, 1)
	e.clean()
}

// Whichever byte of a segment flips, it is found, once, in that segment, and nothing else is.
func TestEveryFlippedByteOfASegmentIsFound(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(3, 2)
	for i := range 3 {
		key := e.segment(i).Key
		whole := e.read(key)
		for at := 0; at < len(whole); at++ {
			b := slices.Clone(whole)
			b[at] ^= 1 << (at % 8)
			e.write(key, b)
			p := e.audit()
			if p.Total() != 1 || p.Findings[0].Object != key || p.Findings[0].Partition != 0 || p.Skipped > 0 {
				t.Fatalf("segment %d of %d bytes, byte %d flipped: %v, %+v", i, len(whole), at, p.Findings, p.Skips)
			}
		}
		e.write(key, whole)
	}
	e.clean()
}

// So is each byte of what a segment holds beside the batches.
func TestEveryFlippedByteBehindTheBatchesIsFound(t *testing.T) {
	e := newEnv(t, 2, nil)
	info := e.craft(6, placed(e.batch(nil, "a", "b", "c"), 0, 3), placed(e.batch(nil, "a", "b", "c"), 3, 3)) // with an aborted transaction
	whole := e.read(info.Key)
	for at := int(info.DataBytes); at < len(whole); at++ {
		b := slices.Clone(whole)
		b[at] ^= 1
		e.write(info.Key, b)
		e.findsIn(info.Key)
	}
}

func TestDamageOfObjects(t *testing.T) {
	for name, damage := range map[string]func(e *env, key string) (Kind, string){
		"lost": func(e *env, key string) (Kind, string) {
			must(e.t, e.objects.Delete(e.ctx, key))
			return LostObject, key
		},
		"cut short": func(e *env, key string) (Kind, string) {
			b := e.read(key)
			e.write(key, b[:len(b)-1])
			return DamagedObject, key
		},
		"longer": func(e *env, key string) (Kind, string) {
			e.write(key, append(e.read(key), 0))
			return DamagedObject, key
		},
		"another segment's content": func(e *env, key string) (Kind, string) {
			e.write(key, e.read(e.segment(0).Key))
			return DamagedObject, key
		},
		"checksum of a batch": func(e *env, key string) (Kind, string) {
			b := e.read(key)
			b[17]++ // its CRC, in the first batch
			e.write(key, b)
			return DamagedObject, key
		},
		"manifest body lost": func(e *env, _ string) (Kind, string) {
			_, fields := e.pointer(e.parts[0])
			must(e.t, e.objects.Delete(e.ctx, fields["body"].(string)))
			return BadManifest, ""
		},
		"manifest body flipped": func(e *env, _ string) (Kind, string) {
			_, fields := e.pointer(e.parts[0])
			b := e.read(fields["body"].(string))
			b[len(b)/2] ^= 4
			e.write(fields["body"].(string), b)
			return BadManifest, ""
		},
		"pointer is no JSON": func(e *env, _ string) (Kind, string) {
			key, _ := e.pointer(e.parts[0])
			e.setPointer(key, nil)
			return BadManifest, ""
		},
		"pointer to another partition's manifest": func(e *env, _ string) (Kind, string) {
			key, fields := e.pointer(e.parts[0])
			_, other := e.pointer(e.parts[1])
			fields["body"] = other["body"]
			e.setPointer(key, fields)
			return BadManifest, ""
		},
		"pointer went back": func(e *env, _ string) (Kind, string) {
			key, fields := e.pointer(e.parts[0])
			former, err := e.objects.List(e.ctx, fields["body"].(string)[:len("manifests/00/")], "", 10)
			must(e.t, err)
			fields["body"], fields["version"] = former[0].Key, fields["version"].(float64)-2
			e.setPointer(key, fields)
			return BadManifest, ""
		},
		"pointer to another generation": func(e *env, _ string) (Kind, string) {
			key, fields := e.pointer(e.parts[0])
			former, err := e.objects.List(e.ctx, "manifests/", "", 100)
			must(e.t, err)
			for _, o := range slices.Backward(former) {
				if id, ok := segment.ParseKey("manifests/", o.Key); ok && id == e.parts[0].ID() && o.Key != fields["body"] {
					fields["body"] = o.Key
					break
				}
			}
			e.setPointer(key, fields) // of the same version
			return BadManifest, ""
		},
		"segment twice": func(e *env, _ string) (Kind, string) {
			e.forge(func(body map[string]any) {
				segments := body["segments"].([]any)
				segments[1].(map[string]any)["base"] = json.Number("9")
			})
			return Overlap, ""
		},
		"segment left out": func(e *env, _ string) (Kind, string) {
			e.forge(func(body map[string]any) {
				segments := body["segments"].([]any)
				body["segments"] = append(segments[:1:1], segments[2])
			})
			return Gap, ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 2, nil)
			e.fill(3, 4)
			e.clean()
			kind, key := damage(e, e.segment(1).Key)
			e.finds(kind, key)
			e.finds(kind, key) // and again, in the next pass
			if n := e.auditor.Stats().Findings[kind]; n != 1 {
				t.Errorf("%d findings counted of one fault", n)
			}
		})
	}
}

// What is in a segment with all checksums right may still be wrong.
func TestDamageInOffsetsEpochsAndSequences(t *testing.T) {
	type made func(e *env) (end int64, batches []record.Batch)
	plain := func(e *env) record.Batch { return e.batch(nil, "a", "b", "c") }
	by := func(e *env, epoch int16, sequence int32) record.Batch {
		return e.batch(&record.Producer{ID: 9, Epoch: epoch, Sequence: sequence}, "a", "b", "c")
	}
	for name, c := range map[string]struct {
		kind   Kind // "": nothing is wrong
		offset int64
		make   made
	}{
		"right": {"", 0, func(e *env) (int64, []record.Batch) {
			return 12, []record.Batch{placed(by(e, 0, 0), 0, 3), placed(by(e, 0, 3), 3, 3), placed(by(e, 1, 0), 6, 5), placed(by(e, 1, 3), 9, 5)}
		}},
		"sequences go around": {"", 0, func(e *env) (int64, []record.Batch) {
			return 6, []record.Batch{placed(by(e, 0, 1<<31-3), 0, 3), placed(by(e, 0, 0), 3, 3)}
		}},
		"gap": {Gap, 3, func(e *env) (int64, []record.Batch) {
			return 7, []record.Batch{placed(plain(e), 0, 3), placed(plain(e), 4, 3)}
		}},
		"gap at the end": {Gap, 3, func(e *env) (int64, []record.Batch) {
			return 6, []record.Batch{placed(plain(e), 0, 3)}
		}},
		"gap at the begin": {Gap, 0, func(e *env) (int64, []record.Batch) {
			return 6, []record.Batch{placed(plain(e), 3, 3)}
		}},
		"epoch goes back": {Epoch, 9, func(e *env) (int64, []record.Batch) {
			return 12, []record.Batch{placed(plain(e), 0, 3), placed(plain(e), 3, 3), placed(plain(e), 6, 5), placed(plain(e), 9, 3)}
		}},
		"epoch that the manifest does not know": {Epoch, 3, func(e *env) (int64, []record.Batch) {
			return 6, []record.Batch{placed(plain(e), 0, 3), placed(plain(e), 3, 4)}
		}},
		"epoch of the future": {Epoch, 6, func(e *env) (int64, []record.Batch) {
			return 9, []record.Batch{placed(plain(e), 0, 3), placed(plain(e), 3, 3), placed(plain(e), 6, 99)}
		}},
		"sequence doubled": {Sequence, 3, func(e *env) (int64, []record.Batch) {
			return 6, []record.Batch{placed(by(e, 0, 0), 0, 3), placed(by(e, 0, 0), 3, 3)}
		}},
		"sequence left out": {Sequence, 3, func(e *env) (int64, []record.Batch) {
			return 6, []record.Batch{placed(by(e, 0, 0), 0, 3), placed(by(e, 0, 6), 3, 3)}
		}},
		"fenced producer": {Sequence, 3, func(e *env) (int64, []record.Batch) {
			return 6, []record.Batch{placed(by(e, 1, 0), 0, 3), placed(by(e, 0, 3), 3, 3)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 2, nil)
			end, batches := c.make(e)
			info := e.craft(end, batches...)
			if c.kind == "" {
				e.clean()
				return
			}
			if f := e.finds(c.kind, info.Key); f.Offset != c.offset {
				t.Errorf("found at %d, want %d: %v", f.Offset, c.offset, f)
			}
			e.put(e.parts[0], e.batch(nil, "x")) // the log goes on behind it
			e.finds(c.kind, info.Key)
		})
	}
}

func TestDamageOfTheLog(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(1, 4)
	e.clean()
	entries, err := e.disk.ReadDir("wal")
	must(t, err)
	name, at := "", -1 // of the first record in no segment, which is the first partition's
	for _, f := range slices.Backward(entries) {
		if name = "wal/" + f.Name(); at < 0 && f.Name() != "lock" {
			b, err := e.disk.ReadFile(name)
			must(t, err)
			at = bytes.Index(b, []byte("value of a"))
		}
		if at >= 0 {
			break
		}
	}
	f, err := e.disk.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("V"), int64(at))
	must(t, err)
	must(t, f.Close())
	if f := e.finds(DamagedLog, ""); f.Offset != 24 {
		t.Errorf("found at offset %d, want 24, the first that is in no segment: %v", f.Offset, f)
	}
}

func TestTails(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(1, 2)
	id := e.parts[0].ID()
	key := tail.NewKey(id, 5)
	w, err := tail.Create(e.ctx, e.objects, key, 10, 13)
	must(t, err)
	must(t, w.Append(placed(e.batch(nil, "a", "b", "c"), 10, 5)))
	must(t, w.Finish(e.ctx))
	e.tails[id] = key.String()
	e.clean()
	whole := e.read(key.String())
	for at := range whole {
		b := slices.Clone(whole)
		b[at] ^= 1 << (at % 8)
		e.write(key.String(), b)
		p := e.audit()
		if p.Skipped == 0 { // a version that this build does not know is no damage
			if p.Total() != 1 || p.Findings[0].Kind != BadTail || p.Findings[0].Object != key.String() {
				t.Fatalf("byte %d flipped: %v", at, p.Findings)
			}
		} else if p.Clean() {
			t.Fatalf("byte %d flipped: called clean", at)
		}
	}
	must(t, e.objects.Delete(e.ctx, key.String()))
	e.finds(BadTail, key.String())
	behind := e.world() // imported, and this broker is yet to hear of it
	behind.Current = func(context.Context) (map[topic.Partition]Record, error) { return nil, nil }
	e.undisturbed(behind)
}

func TestOrphansByAge(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(2, 2)
	e.cut()
	_, err := e.manifests.Sweep(e.ctx, 0, e.clock.Now().UnixMilli()) // former bodies
	must(t, err)
	_, err = e.manifests.Sweep(e.ctx, 0, e.clock.Now().UnixMilli())
	must(t, err)
	key := segment.Prefix(e.parts[0].ID()) + "00000000000000000000-5-lost-in-a-crash"
	e.write(key, []byte("half a segment"))
	e.clean()
	if n := e.auditor.Result().Last.Waiting; n != 1 {
		t.Fatalf("%d objects wait, want 1", n)
	}
	e.clock.Advance(25 * time.Hour)
	e.finds(Orphan, key) // 25 h after it was first seen
	must(t, e.objects.Delete(e.ctx, key))
	e.clean()
	if n := len(e.auditor.suspects.since); n != 0 {
		t.Errorf("%d objects that are gone are remembered", n)
	}

	// A segment that was needed until a moment ago is none, however old it is.
	_, err = e.parts[0].DeleteRecords(e.ctx, -1)
	must(t, err)
	e.clean()
	e.clock.Advance(time.Hour)
	e.clean()
}

// A store that does not answer is no damage, and is not called clean either.
func TestStoreThatDoesNotAnswer(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(2, 2)
	key := e.segment(1).Key
	w := e.world()
	w.Objects = object.Faulty(e.objects, func(_ context.Context, op object.Op) error {
		if op.Key == key {
			return context.DeadlineExceeded
		}
		return nil
	})
	e.auditor = New(Config{Broker: 1, Prefix: "c/"}, w)
	p := e.audit()
	if p.Total() != 0 || p.Skipped != 1 || p.Skips[0].Partition != 0 || p.Clean() || p.Checked != 1 {
		t.Fatalf("%+v", p)
	}
}

// A partition that leaves while it is looked at is skipped, even where what is there would be damage.
func TestPartitionThatLeaves(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(2, 2)
	e.cut() // nothing is in the log that would tell
	key := e.segment(1).Key
	w := e.meanwhile(key, e.parts[0].Close)
	left := w.Objects
	w.Objects = object.Faulty(left, func(_ context.Context, op object.Op) error {
		if op.Kind == object.OpOpen && op.Key == key {
			return context.DeadlineExceeded
		}
		return nil
	})
	e.auditor = New(Config{Broker: 1, Prefix: "c/"}, w)
	p := e.audit()
	if p.Total() != 0 || p.Moved != 1 || p.Skipped != 1 || !p.Clean() {
		t.Fatalf("%+v", p)
	}
}

// meanwhile is a store in whose midst something happens once: when the object is looked for.
func (e *env) meanwhile(key string, happens func()) World {
	var once atomic.Bool
	w := e.world()
	w.Objects = object.Faulty(e.objects, func(_ context.Context, op object.Op) error {
		if op.Kind == object.OpStat && op.Key == key && once.CompareAndSwap(false, true) {
			happens()
		}
		return nil
	})
	return w
}

// undisturbed fails unless a pass in this world finds nothing and sees everything.
func (e *env) undisturbed(w World) {
	e.t.Helper()
	e.auditor = New(Config{Broker: 1, Prefix: "c/"}, w)
	e.clean()
}

// What is deleted, compacted or cut just when it is looked at is no damage (A2).
func TestChangesWhileItIsLookedAt(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(3, 2)
	e.undisturbed(e.meanwhile(e.segment(1).Key, func() {
		_, err := e.parts[0].DeleteRecords(e.ctx, e.segment(1).End+1)
		must(t, err)
	}))
	w := e.world()
	w.Partitions = func() []Partition {
		return []Partition{e.parts[1], scanned{e.parts[0], func() {
			o := e.parts[0].Offsets()
			_, err := e.parts[0].DeleteRecords(e.ctx, o.HW-2)
			must(t, err)
		}}}
	}
	e.undisturbed(w)
	w.Partitions = func() []Partition { return []Partition{e.parts[0], scanned{e.parts[1], e.cut}} }
	e.undisturbed(w)
}

// scanned is a partition to which something happens before its log is read.
type scanned struct {
	Partition
	before func()
}

func (s scanned) Scan(ctx context.Context, dst *slab.Chain, from int64, most int) (partition.Offsets, error) {
	s.before()
	return s.Partition.Scan(ctx, dst, from, most)
}

func TestCompactedWhileItIsLookedAt(t *testing.T) {
	e := newEnv(t, 0, nil)
	configs := []map[string]string{{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}}
	for i := range 3 { // each under an epoch of its own, and with a key that stays
		e.openEach(configs)
		e.put(e.parts[0], e.batch(nil, fmt.Sprint(i)))
		e.fill(1, 2)
	}
	e.cut()
	e.undisturbed(e.meanwhile(e.segment(2).Key, func() {
		_, err := e.parts[0].Compact(e.ctx, partition.CompactLimits{MaxMapBytes: 1 << 20})
		must(t, err)
		if e.segment(0).Base != 0 || len(e.parts[0].View().Manifest.Segments) != 1 {
			t.Fatal("not compacted into one")
		}
	}))
}

// Another broker may have taken over and committed; this one is yet to hear of it. That is no damage either.
func TestManifestOfASuccessor(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(2, 2)
	m, err := e.manifests.Load(e.ctx, e.parts[0].ID())
	must(t, err)
	next := m.Clone()
	next.LogStart++
	must(t, e.manifests.Commit(e.ctx, m, next))
	if p := e.audit(); p.Total() != 0 || p.Moved != 1 || p.Checked != 1 {
		t.Fatalf("%+v", p)
	}
}

// A partition that could not be opened is no partition that is well (A4).
func TestPartitionThatCouldNotBeOpened(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(2, 2)
	w := e.world()
	w.Partitions = func() []Partition { return []Partition{e.parts[1]} }
	e.auditor = New(Config{Broker: 1, Prefix: "c/"}, w)
	if p := e.audit(); p.Clean() || p.Total() != 0 || p.Skipped != 1 || p.Moved != 0 || p.Checked != 1 || p.Partitions != 2 {
		t.Fatalf("%+v", p)
	}
	key := e.segment(0).Key
	must(t, e.objects.Delete(e.ctx, key))
	e.finds(LostObject, key)
	asked := 0
	w.Partitions = func() []Partition { // it opens while the pass is under way
		if asked++; asked < 4 {
			return []Partition{e.parts[1]}
		}
		return []Partition{e.parts[0], e.parts[1]}
	}
	e.auditor = New(Config{Broker: 1, Prefix: "c/"}, w)
	e.finds(LostObject, key)
	if p := e.auditor.Result().Last; p.Skipped != 0 || p.Checked != 2 {
		t.Fatalf("%+v", p)
	}
}

// What compaction wrote in the place of what is looked at is looked at, too.
func TestReplacementIsLookedAt(t *testing.T) {
	e := newEnv(t, 1, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"})
	e.fill(1, 2)
	e.cut()
	e.auditor = New(Config{Broker: 1, Prefix: "c/"}, e.meanwhile(e.segment(len(e.parts[0].View().Manifest.Segments)-1).Key, func() {
		_, err := e.parts[0].Compact(e.ctx, partition.CompactLimits{MaxMapBytes: 1 << 20})
		must(t, err)
		key := e.segment(0).Key
		b := e.read(key)
		b[70] ^= 1
		e.write(key, b)
	}))
	e.finds(DamagedObject, "")
}

func TestOfflineWhileSomebodyCommits(t *testing.T) {
	e := newEnv(t, 1, nil)
	e.fill(2, 2)
	w := e.meanwhile(e.segment(0).Key, func() {
		_, err := e.parts[0].DeleteRecords(e.ctx, e.segment(0).End)
		must(t, err)
	})
	p, err := Offline(e.ctx, Stored{
		Records:   func(context.Context) (map[topic.Partition]Record, error) { return e.world().Records(), nil },
		Manifests: e.manifests, Objects: w.Objects, Clock: e.clock, Log: quiet,
	})
	must(t, err)
	if !p.Clean() {
		t.Fatalf("%+v", p)
	}
}

func TestOffline(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(3, 2)
	look := func() *Pass {
		p, err := Offline(e.ctx, Stored{
			Records:   func(context.Context) (map[topic.Partition]Record, error) { return e.world().Records(), nil },
			Manifests: e.manifests, Objects: e.objects, Clock: e.clock, Log: quiet,
		})
		must(t, err)
		return p
	}
	if p := look(); !p.Clean() || p.Checked != 2 || p.Waiting != 4 {
		t.Fatalf("%+v", p)
	}
	key := e.segment(1).Key
	b := e.read(key)
	binary.BigEndian.PutUint64(b, 1<<40) // base offset of the first batch, which its checksum does not cover
	e.write(key, b)
	if p := look(); p.Total() != 1 || p.Findings[0].Object != key {
		t.Fatalf("%+v", p.Findings)
	}
}
