// Package objecttest is the suite that every object.Store passes.
package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"millrace/base/object"
)

// Run runs the suite; open returns a new, empty store for each test.
func Run(t *testing.T, open func(t *testing.T) object.Store) {
	RunFlat(t, open)
	t.Run("keys through objects", func(t *testing.T) { testNestedKeys(t, open(t)) })
	t.Run("put and delete race", func(t *testing.T) { testPutDeleteRace(t, open(t)) })
}

// RunFlat is Run without what only stores with directories can get wrong: a bucket has none.
func RunFlat(t *testing.T, open func(t *testing.T) object.Store) {
	tests := []struct {
		name string
		test func(t *testing.T, s object.Store)
	}{
		{"put and read", testPut},
		{"put if absent", testPutIfAbsent},
		{"create", testCreate},
		{"abort", testAbort},
		{"read rules", testReadRules},
		{"open", testOpen},
		{"missing", testMissing},
		{"delete", testDelete},
		{"list", testList},
		{"list pages", testListPages},
		{"bad keys", testBadKeys},
		{"create race", testCreateRace},
		{"replace race", testReplaceRace},
		{"ended context", testEndedContext},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

func testPut(t *testing.T, s object.Store) {
	ctx := t.Context()
	chunks := [][]byte{[]byte("one"), nil, []byte("two"), []byte("three")}
	check(t, s.Put(ctx, "dir/sub/key", chunks, object.PutOptions{}))
	content(t, s, "dir/sub/key", "onetwothree")
	equal(t, string(chunks[0]), "one")
	check(t, s.Put(ctx, "dir/sub/key", [][]byte{[]byte("new")}, object.PutOptions{}))
	content(t, s, "dir/sub/key", "new")
	check(t, s.Put(ctx, "empty", nil, object.PutOptions{}))
	content(t, s, "empty", "")
	chunks[0][0] = 'X' // the store must not have kept it
	content(t, s, "dir/sub/key", "new")
}

func testPutIfAbsent(t *testing.T, s object.Store) {
	ctx := t.Context()
	once := object.PutOptions{IfAbsent: true}
	check(t, s.Put(ctx, "a", [][]byte{[]byte("first")}, once))
	is(t, s.Put(ctx, "a", [][]byte{[]byte("second")}, once), object.ErrExists)
	content(t, s, "a", "first")
	check(t, s.Delete(ctx, "a"))
	check(t, s.Put(ctx, "a", [][]byte{[]byte("third")}, once))
	content(t, s, "a", "third")
}

func testCreate(t *testing.T, s object.Store) {
	ctx := t.Context()
	w, err := s.Create(ctx, "d/a")
	check(t, err)
	var want []byte
	rng := rand.New(rand.NewPCG(1, 1))
	buf := make([]byte, 5000)
	for range 50 {
		p := buf[:rng.IntN(len(buf))]
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		n, err := w.Write(p)
		check(t, err)
		equal(t, n, len(p))
		want = append(want, p...)
	}
	_, err = s.Stat(ctx, "d/a")
	is(t, err, object.ErrNotFound)
	equal(t, len(list(t, s, "", "", 10)), 0)
	check(t, w.Commit(ctx))
	if got := read(t, s, "d/a"); !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that differ from the %d written", len(got), len(want))
	}
	check(t, w.Abort()) // does nothing
	content(t, s, "d/a", string(want))
	if err := w.Commit(ctx); err == nil {
		t.Error("committed twice")
	}

	w, err = s.Create(ctx, "d/a")
	check(t, err)
	is(t, w.Commit(ctx), object.ErrExists)
	content(t, s, "d/a", string(want))
}

func testAbort(t *testing.T, s object.Store) {
	ctx := t.Context()
	w, err := s.Create(ctx, "a")
	check(t, err)
	_, err = w.Write([]byte("x"))
	check(t, err)
	check(t, w.Abort())
	check(t, w.Abort())
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("wrote after the abort")
	}
	if err := w.Commit(ctx); err == nil {
		t.Error("committed after the abort")
	}
	equal(t, len(list(t, s, "", "", 10)), 0)
}

func testReadRules(t *testing.T, s object.Store) {
	ctx := t.Context()
	check(t, s.Put(ctx, "a", [][]byte{[]byte("0123456789")}, object.PutOptions{}))
	r, err := s.Open(ctx, "a")
	check(t, err)
	defer r.Close()
	tests := []struct {
		off  int64
		size int
		want string
		err  error
	}{
		{0, 10, "0123456789", nil},
		{3, 4, "3456", nil},
		{8, 4, "89", io.EOF},
		{10, 1, "", io.EOF},
		{99, 1, "", io.EOF},
	}
	for _, tt := range tests {
		for what, at := range map[string]func([]byte, int64) (int, error){
			"store":  func(p []byte, off int64) (int, error) { return s.ReadAt(ctx, "a", p, off) },
			"reader": r.ReadAt,
		} {
			p := make([]byte, tt.size)
			n, err := at(p, tt.off)
			// io.ReaderAt allows io.EOF with a full read that ends at the end.
			if string(p[:n]) != tt.want || !errors.Is(err, tt.err) && (tt.err != nil || !errors.Is(err, io.EOF)) {
				t.Errorf("%s: read %d at %d: %q, %v", what, tt.size, tt.off, p[:n], err)
			}
		}
	}
	if _, err := s.ReadAt(ctx, "a", make([]byte, 1), -1); err == nil {
		t.Error("read at a negative offset")
	}
}

func testOpen(t *testing.T, s object.Store) {
	ctx := t.Context()
	check(t, s.Put(ctx, "a", [][]byte{[]byte("old")}, object.PutOptions{}))
	r, err := s.Open(ctx, "a")
	check(t, err)
	equal(t, r.Size(), 3)
	check(t, s.Put(ctx, "a", [][]byte{[]byte("newer")}, object.PutOptions{}))
	p := make([]byte, 3)
	if n, err := r.ReadAt(p, 0); (err == nil || errors.Is(err, io.EOF)) && string(p[:n]) != "old" {
		t.Errorf("an open reader reads another object: %q", p[:n])
	}
	check(t, r.Close())
}

func testMissing(t *testing.T, s object.Store) {
	ctx := t.Context()
	check(t, s.Put(ctx, "dir/a", nil, object.PutOptions{}))
	for _, key := range []string{"none", "none/a", "dir", "dir/b", "dir/a/c"} {
		_, err := s.Open(ctx, key)
		is(t, err, object.ErrNotFound)
		_, err = s.Stat(ctx, key)
		is(t, err, object.ErrNotFound)
		_, err = s.ReadAt(ctx, key, make([]byte, 1), 0)
		is(t, err, object.ErrNotFound)
		check(t, s.Delete(ctx, key))
	}
	_, err := s.Stat(ctx, "dir/a")
	check(t, err)
}

func testDelete(t *testing.T, s object.Store) {
	ctx := t.Context()
	check(t, s.Put(ctx, "x/y/a", nil, object.PutOptions{}))
	check(t, s.Put(ctx, "x/b", nil, object.PutOptions{}))
	check(t, s.Delete(ctx, "x/y/a"))
	check(t, s.Delete(ctx, "x/y/a"))
	equal(t, keys(list(t, s, "", "", 10)), "x/b")
	check(t, s.Delete(ctx, "x/b"))
	// What was a directory may be a key now.
	check(t, s.Put(ctx, "x", nil, object.PutOptions{IfAbsent: true}))
	equal(t, keys(list(t, s, "", "", 10)), "x")
}

func testList(t *testing.T, s object.Store) {
	for i, key := range []string{"a-b", "a/b", "a/c/d", "a0", "b", "ab/x", "a/b.c"} {
		check(t, s.Put(t.Context(), key, [][]byte{make([]byte, i)}, object.PutOptions{}))
	}
	tests := []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 100, "a-b a/b a/b.c a/c/d a0 ab/x b"},
		{"a/", "", 100, "a/b a/b.c a/c/d"},
		{"a/b", "", 100, "a/b a/b.c"},
		{"a", "", 100, "a-b a/b a/b.c a/c/d a0 ab/x"},
		{"a/c", "", 100, "a/c/d"},
		{"a/c/", "", 100, "a/c/d"},
		{"a/c/d", "", 100, "a/c/d"},
		{"a/c/d/e", "", 100, ""},
		{"zz", "", 100, ""},
		{"", "a/b", 100, "a/b.c a/c/d a0 ab/x b"},
		{"", "a/b", 2, "a/b.c a/c/d"},
		{"", "a/c", 100, "a/c/d a0 ab/x b"},
		{"", "a/zzz", 100, "a0 ab/x b"},
		{"a/", "a/b.c", 100, "a/c/d"},
		{"a/", "b", 100, ""},
		{"b", "a", 100, "b"},
		{"", "", 0, ""},
	}
	for _, tt := range tests {
		if got := keys(list(t, s, tt.prefix, tt.after, tt.limit)); got != tt.want {
			t.Errorf("list %q after %q: got %s, want %s", tt.prefix, tt.after, got, tt.want)
		}
	}
	infos := list(t, s, "b", "", 1)
	equal(t, infos[0].Size, 4)
	info, err := s.Stat(t.Context(), "b")
	check(t, err)
	if info.Key != "b" || info.Size != 4 || !info.ModTime.Equal(infos[0].ModTime) {
		t.Errorf("stat says %+v, list %+v", info, infos[0])
	}
}

// testListPages compares paging over random keys with a sorted list of them.
func testListPages(t *testing.T, s object.Store) {
	rng := rand.New(rand.NewPCG(7, 7))
	var want []string
	for range 100 {
		var parts []string
		for range 1 + rng.IntN(3) {
			parts = append(parts, fmt.Sprintf("%c%d", "-.0az"[rng.IntN(5)], rng.IntN(4)))
		}
		key := strings.Join(parts, "/")
		err := s.Put(t.Context(), key, nil, object.PutOptions{IfAbsent: true})
		if errors.Is(err, object.ErrExists) || errors.Is(err, object.ErrBadKey) {
			continue
		}
		check(t, err)
		want = append(want, key)
	}
	slices.Sort(want)
	for _, size := range []int{1, 7, 1000} {
		var got []string
		after := ""
		for {
			page := list(t, s, "", after, size)
			for _, info := range page {
				got = append(got, info.Key)
			}
			if len(page) < size {
				break
			}
			after = page[len(page)-1].Key
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: got %v, want %v", size, got, want)
		}
	}
}

func testBadKeys(t *testing.T, s object.Store) {
	ctx := t.Context()
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\x00b", "a\nb", `a\b`, "a\xff",
		strings.Repeat("x", 201), strings.Repeat("xxx/", 300) + "x",
	} {
		is(t, s.Put(ctx, key, nil, object.PutOptions{}), object.ErrBadKey)
		_, err := s.Create(ctx, key)
		is(t, err, object.ErrBadKey)
		_, err = s.Open(ctx, key)
		is(t, err, object.ErrBadKey)
		_, err = s.Stat(ctx, key)
		is(t, err, object.ErrBadKey)
		_, err = s.ReadAt(ctx, key, nil, 0)
		is(t, err, object.ErrBadKey)
		is(t, s.Delete(ctx, key), object.ErrBadKey)
	}
	equal(t, len(list(t, s, "", "", 10)), 0)
	for _, key := range []string{"a b%20?#*:é", "...", "-", strings.Repeat("x", 200), strings.Repeat("xxx/", 250) + "x"} {
		check(t, s.Put(ctx, key, nil, object.PutOptions{}))
		content(t, s, key, "")
	}
}

func testNestedKeys(t *testing.T, s object.Store) {
	ctx := t.Context()
	check(t, s.Put(ctx, "a/b", nil, object.PutOptions{}))
	for _, ifAbsent := range []bool{true, false} {
		opts := object.PutOptions{IfAbsent: ifAbsent}
		is(t, s.Put(ctx, "a", nil, opts), object.ErrBadKey)
		is(t, s.Put(ctx, "a/b/c", nil, opts), object.ErrBadKey)
		is(t, s.Put(ctx, "a/b/c/d", nil, opts), object.ErrBadKey)
	}
	w, err := s.Create(ctx, "a/b/c")
	check(t, err)
	is(t, w.Commit(ctx), object.ErrBadKey)
	equal(t, keys(list(t, s, "", "", 10)), "a/b")
}

// testCreateRace checks O2: of 16 writers exactly one wins, and its bytes are what is read.
func testCreateRace(t *testing.T, s object.Store) {
	const writers, rounds = 16, 20
	for round := range rounds {
		key := fmt.Sprintf("race/%d/key", round)
		var winner atomic.Int32
		var wins atomic.Int32
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				err := create(t.Context(), s, key, fmt.Sprint("writer ", i), i%2 == 0)
				switch {
				case err == nil:
					wins.Add(1)
					winner.Store(int32(i))
				case !errors.Is(err, object.ErrExists):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("round %d: %d winners", round, wins.Load())
		}
		content(t, s, key, fmt.Sprint("writer ", winner.Load()))
	}
	equal(t, len(list(t, s, "", "", 1000)), rounds)
}

func create(ctx context.Context, s object.Store, key, data string, stream bool) error {
	if !stream {
		return s.Put(ctx, key, [][]byte{[]byte(data)}, object.PutOptions{IfAbsent: true})
	}
	w, err := s.Create(ctx, key)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(data)); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit(ctx)
}

// testReplaceRace checks O1: readers see whole objects while writers replace them, or an error when the one that they opened
// has gone.
func testReplaceRace(t *testing.T, s object.Store) {
	ctx := t.Context()
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000+i) }
	check(t, s.Put(ctx, "a", [][]byte{body(0)}, object.PutOptions{}))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 20 {
				if err := s.Put(ctx, "a", [][]byte{body(w*20 + i)}, object.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	defer wg.Wait()
	for range 100 {
		r, err := s.Open(ctx, "a")
		check(t, err)
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		check(t, r.Close())
		if err == nil && (len(got) < 1000 || !bytes.Equal(got, body(len(got)-1000))) {
			t.Fatalf("read %d bytes of a mixture", len(got))
		}
	}
}

// testPutDeleteRace makes and removes objects of one directory at the same time: stores that have directories
// remove empty ones meanwhile.
func testPutDeleteRace(t *testing.T, s object.Store) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			key := fmt.Sprintf("x/y/%d", w)
			for i := range 50 {
				if err := create(ctx, s, key, fmt.Sprint(i), w%2 == 0); err != nil {
					t.Errorf("create: %v", err)
				}
				if err := s.Delete(ctx, key); err != nil {
					t.Errorf("delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	equal(t, len(list(t, s, "", "", 10)), 0)
}

func testEndedContext(t *testing.T, s object.Store) {
	check(t, s.Put(t.Context(), "a", nil, object.PutOptions{}))
	ctx, cancel := context.WithCancel(t.Context())
	w, err := s.Create(ctx, "b")
	check(t, err)
	cancel()
	is(t, s.Put(ctx, "c", nil, object.PutOptions{}), context.Canceled)
	_, err = s.Open(ctx, "a")
	is(t, err, context.Canceled)
	_, err = s.List(ctx, "", "", 10)
	is(t, err, context.Canceled)
	is(t, s.Delete(ctx, "a"), context.Canceled)
	is(t, w.Commit(ctx), context.Canceled)
	equal(t, keys(list(t, s, "", "", 10)), "a")
}

func list(t *testing.T, s object.Store, prefix, after string, limit int) []object.Info {
	t.Helper()
	infos, err := s.List(t.Context(), prefix, after, limit)
	check(t, err)
	return infos
}

func keys(infos []object.Info) string {
	var all []string
	for _, info := range infos {
		all = append(all, info.Key)
	}
	return strings.Join(all, " ")
}

func read(t *testing.T, s object.Store, key string) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	check(t, err)
	defer r.Close()
	data, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	check(t, err)
	return data
}

func content(t *testing.T, s object.Store, key, want string) {
	t.Helper()
	if got := read(t, s, key); string(got) != want {
		t.Errorf("%s holds %.50q, want %.50q", key, got, want)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
