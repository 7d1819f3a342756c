package tail

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

var (
	begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id    = topic.Partition{Topic: topic.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Index: 7}
	fixed = Key{Partition: id, Epoch: 9, nonce: "n"}
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// batch makes a batch of n records at an offset.
func batch(t testing.TB, base int64, epoch int32, n, size int) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.Options{Producer: &record.Producer{ID: 42, Epoch: 1, Sequence: int32(base)}})
	for i := range n {
		must(t, b.Add(base+int64(i), []byte("key"), make([]byte, size)))
	}
	out, err := b.Build(nil)
	must(t, err)
	out.SetBaseOffset(base)
	out.SetLeaderEpoch(epoch)
	return out
}

// write makes a tail of batches.
func write(t testing.TB, objects object.Store, key Key, batches ...record.Batch) {
	t.Helper()
	w, err := Create(t.Context(), objects, key, batches[0].BaseOffset(), batches[len(batches)-1].LastOffset()+1)
	must(t, err)
	for _, b := range batches {
		must(t, w.Append(b))
	}
	must(t, w.Finish(t.Context()))
}

// read takes in a whole tail.
func read(t testing.TB, objects object.Store, key Key) (runs []Run, err error) {
	t.Helper()
	r, err := Open(t.Context(), objects, key)
	if err != nil {
		return nil, err
	}
	defer func() { must(t, r.Close()) }()
	for {
		run, err := r.Next()
		if errors.Is(err, io.EOF) {
			return runs, nil
		}
		if err != nil {
			return runs, err
		}
		runs = append(runs, run)
	}
}

func goldenBatches(t testing.TB) []record.Batch {
	return []record.Batch{batch(t, 100, 3, 2, 10), batch(t, 102, 3, 1, 0), batch(t, 103, 5, 3, 40)}
}

// TestGolden holds format 1 still.
func TestGolden(t *testing.T) {
	objects := object.NewMemory(clock.NewManual(begin))
	write(t, objects, fixed, goldenBatches(t)...)
	got := content(t, objects, fixed)
	path := filepath.Join("testdata", "v1", "tail")
	if *rewrite {
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("a tail is written differently now; a changed format needs a new version")
	}
	runs, err := read(t, objects, fixed)
	must(t, err)
	if len(runs) != 2 || runs[0].Base != 100 || runs[0].Last != 102 || runs[1].Base != 103 || runs[1].Last != 105 || runs[1].MaxTimestamp != 105 {
		t.Errorf("runs %+v", runs)
	}
}

func content(t testing.TB, objects object.Store, key Key) []byte {
	t.Helper()
	r, err := objects.Open(t.Context(), key.String())
	must(t, err)
	defer r.Close()
	b := make([]byte, r.Size())
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

// TestWhatIsWrittenIsRead compares any tail with its batches: the same bytes, in runs of one epoch (T2).
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var batches []record.Batch
		next, epoch := rapid.Int64Range(0, 1<<40).Draw(rt, "base"), int32(0)
		var want []byte
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			epoch += rapid.Int32Range(0, 1).Draw(rt, "epoch")
			b := batch(t, next, epoch, rapid.IntRange(1, 3).Draw(rt, "records"), rapid.SampledFrom([]int{0, 10, 200 << 10}).Draw(rt, "size"))
			batches, want, next = append(batches, b), append(want, b...), b.LastOffset()+1
		}
		objects := object.NewMemory(clock.NewManual(begin))
		key := NewKey(id, epoch)
		write(t, objects, key, batches...)
		runs, err := read(t, objects, key)
		if err != nil {
			rt.Fatal(err)
		}
		var got []byte
		at := batches[0].BaseOffset()
		for _, r := range runs {
			got = append(got, r.Data...)
			if r.Base != at || r.Last < r.Base || len(r.Data) > runBytes && len(r.Data) > len(batches[0])+runBytes {
				rt.Errorf("run of %d to %d, %d bytes", r.Base, r.Last, len(r.Data))
			}
			at = r.Last + 1
		}
		if !bytes.Equal(got, want) || at != next {
			rt.Errorf("read %d bytes up to %d, want %d up to %d", len(got), at, len(want), next)
		}
	})
}

// TestDamageIsFound changes every byte, cuts the object everywhere, and adds to it (T1, T3).
func TestDamageIsFound(t *testing.T) {
	objects := object.NewMemory(clock.NewManual(begin))
	write(t, objects, fixed, goldenBatches(t)...)
	good := content(t, objects, fixed)
	check := func(what string, at int, b []byte) {
		t.Helper()
		must(t, objects.Put(t.Context(), fixed.String(), [][]byte{b}, object.PutOptions{}))
		if _, err := read(t, objects, fixed); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= byte(1 + rand.IntN(255))
		check("changed", i, bad)
		check("cut", i, good[:i])
	}
	check("longer", len(good), append(bytes.Clone(good), 0))
	must(t, objects.Put(t.Context(), fixed.String(), [][]byte{good}, object.PutOptions{}))
	other := fixed
	other.Epoch++
	must(t, objects.Put(t.Context(), other.String(), [][]byte{good}, object.PutOptions{}))
	if _, err := read(t, objects, other); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the tail of another epoch: %v", err)
	}
}

func TestWriterKeepsTheOrder(t *testing.T) {
	damaged := batch(t, 2, 3, 1, 5)
	damaged[len(damaged)-1] ^= 1
	for name, second := range map[string]record.Batch{
		"gap": batch(t, 3, 3, 1, 5), "overlap": batch(t, 1, 3, 1, 5), "epoch falls": batch(t, 2, 2, 1, 5),
		"epoch of the future": batch(t, 2, 10, 1, 5), "damaged": damaged,
	} {
		objects := object.NewMemory(clock.NewManual(begin))
		w, err := Create(t.Context(), objects, fixed, 0, 10)
		must(t, err)
		must(t, w.Append(batch(t, 0, 3, 2, 5)))
		if err := w.Append(second); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Finish(t.Context()); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: a tail that ends early: %v", name, err)
		}
		if _, err := objects.Stat(t.Context(), fixed.String()); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("%s: something is there: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	k := NewKey(id, 12)
	if got, ok := ParseKey(k.String()); !ok || got != k {
		t.Errorf("%v, %v", got, ok)
	}
	s := k.String()
	for _, bad := range []string{"", Root, s[:len(s)-36], "x" + s, s + "/x", s[:len(s)-48] + "12-" + s[len(s)-36:]} {
		if k, ok := ParseKey(bad); ok {
			t.Errorf("%q is taken for %v", bad, k)
		}
	}
}

// TestSweepTakesOnlyWhatNobodyNeeds goes through what a record may say (T5).
func TestSweepTakesOnlyWhatNobodyNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		owned Owned
		known bool
		age   time.Duration
		gone  bool
	}{
		"the release may yet come":     {Owned{Epoch: 9}, true, 100 * time.Hour, false},
		"the view is behind":           {Owned{Epoch: 8}, true, 100 * time.Hour, false},
		"to be imported":               {Owned{Epoch: 10, Tail: fixed.String()}, true, 100 * time.Hour, false},
		"claimed and to be imported":   {Owned{Epoch: 12, Tail: fixed.String()}, true, 100 * time.Hour, false},
		"imported":                     {Owned{Epoch: 10}, true, 0, true},
		"another one is to be":         {Owned{Epoch: 12, Tail: "other"}, true, 0, true},
		"the topic may be on its way":  {Owned{}, false, time.Hour, false},
		"the topic is gone since long": {Owned{}, false, 24 * time.Hour, true},
	} {
		objects := object.NewMemory(clock.NewManual(begin))
		write(t, objects, fixed, goldenBatches(t)...)
		must(t, objects.Put(t.Context(), Root+"foreign", [][]byte{{1}}, object.PutOptions{}))
		n, err := Sweep(t.Context(), objects, begin.Add(c.age), func(p topic.Partition) (Owned, bool) {
			if p != id {
				t.Errorf("asked for %v", p)
			}
			return c.owned, c.known
		})
		must(t, err)
		_, err = objects.Stat(t.Context(), fixed.String())
		if gone := errors.Is(err, object.ErrNotFound); gone != c.gone || (n == 1) != c.gone {
			t.Errorf("%s: %d deleted, gone: %v", name, n, gone)
		}
		_, err = objects.Stat(t.Context(), Root+"foreign")
		must(t, err)
	}
}
