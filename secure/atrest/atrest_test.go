package atrest

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/object/objecttest"
)

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
		return errors.New("no such key")
	}
	key, err := hkdf.Key(sha256.New, []byte(root), salt, label, len(out))
	copy(out, key)
	return err
}

// AR1.
func TestSuite(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		objecttest.Run(t, func(*testing.T) object.Store { return New(object.NewMemory(clock.System{}), testKeys{1: "a"}) })
	})
	t.Run("files", func(t *testing.T) {
		objecttest.Run(t, func(t *testing.T) object.Store {
			files, err := object.OpenFiles(t.Context(), disk.NewMem(), "store")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = files.Close() })
			return New(files, testKeys{1: "a"})
		})
	})
}

func random(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = rng.Read(b)
	return b
}

// Every range of contents of every kind of length reads as in the plain, by both ways of writing and of reading.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inner := object.NewMemory(clock.System{})
		s := New(inner, testKeys{1: "a", 2: "b"})
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(frameBytes-2, frameBytes+2), rapid.IntRange(2*frameBytes-2, 2*frameBytes+2), rapid.IntRange(0, 5*frameBytes)).Draw(t, "size")
		want := random(uint64(size), size)
		ctx := context.Background()
		if rapid.Bool().Draw(t, "put") {
			cut := rapid.IntRange(0, size).Draw(t, "cut")
			if err := s.Put(ctx, "k", [][]byte{want[:cut], nil, want[cut:]}, object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		} else {
			w, err := s.Create(ctx, "k")
			if err != nil {
				t.Fatal(err)
			}
			for rest := want; len(rest) > 0; {
				n := min(len(rest), rapid.IntRange(1, 2*frameBytes).Draw(t, "piece"))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
		info, err := s.Stat(ctx, "k")
		if err != nil || info.Size != int64(size) {
			t.Fatal(info, err)
		}
		if list, err := s.List(ctx, "", "", 10); err != nil || len(list) != 1 || list[0].Size != int64(size) {
			t.Fatal(list, err)
		}
		r, err := s.Open(ctx, "k")
		if err != nil || r.Size() != int64(size) {
			t.Fatal(err)
		}
		defer r.Close()
		plain := bytes.NewReader(want)
		for range 8 {
			off := rapid.Int64Range(0, int64(size)+2*frameBytes).Draw(t, "off")
			n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 3*frameBytes)).Draw(t, "len")
			a, b, c := make([]byte, n), make([]byte, n), make([]byte, n)
			wantN, wantErr := plain.ReadAt(a, off)
			if n == 0 {
				continue
			}
			gotN, gotErr := s.ReadAt(ctx, "k", b, off)
			if gotN != wantN || !bytes.Equal(a, b) || (gotErr == nil) != (wantErr == nil) && !(gotN == n) || gotErr != nil && !errors.Is(gotErr, io.EOF) {
				t.Fatalf("%d bytes at %d of %d: %d, %v; want %d, %v", n, off, size, gotN, gotErr, wantN, wantErr)
			}
			gotN, gotErr = r.ReadAt(c, off)
			if gotN != wantN || !bytes.Equal(a, c) || (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("reader: %d bytes at %d of %d: %d, %v; want %d, %v", n, off, size, gotN, gotErr, wantN, wantErr)
			}
		}
	})
}

func TestSizes(t *testing.T) {
	for n := range int64(5 * frameBytes) {
		if got, ok := contentBytes(storedBytes(n)); !ok || got != n {
			t.Fatalf("%d bytes become %d, %v", n, got, ok)
		}
	}
	for _, bad := range []int64{0, headBytes, headBytes + tagBytes - 1, storedBytes(frameBytes) + 1, storedBytes(frameBytes) + tagBytes} {
		if n, ok := contentBytes(bad); ok {
			t.Errorf("%d bytes hold %d", bad, n)
		}
	}
}

// bytesOf is what stands behind.
func bytesOf(t testing.TB, inner object.Store, key string) []byte {
	t.Helper()
	info, err := inner.Stat(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size)
	if _, err := inner.ReadAt(context.Background(), key, b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

// AR2, AR3: whatever is done to an object, a reader gets what was written or ErrSealed.
func TestTampering(t *testing.T) {
	inner := object.NewMemory(clock.System{})
	keys := testKeys{1: "a"}
	want := random(1, 2*frameBytes+100)
	other := random(2, 2*frameBytes+100)
	s := New(inner, keys)
	for key, content := range map[string][]byte{"k": want, "other": other, "whole": want[:2*frameBytes]} {
		if err := s.Put(t.Context(), key, [][]byte{content}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	sealed, sealedOther, whole := bytesOf(t, inner, "k"), bytesOf(t, inner, "other"), bytesOf(t, inner, "whole")
	for at := 0; at+16 < len(want); at += 997 {
		if bytes.Contains(sealed, want[at:at+16]) {
			t.Fatal("in the clear")
		}
	}
	swapped := bytes.Clone(sealed)
	copy(swapped[headBytes:], sealed[headBytes+boxBytes:headBytes+2*boxBytes])
	copy(swapped[headBytes+boxBytes:], sealed[headBytes:headBytes+boxBytes])
	cases := map[string][]byte{
		"empty": {}, "cut in the head": sealed[:10], "cut at a frame": sealed[:headBytes+boxBytes], "cut in a frame": sealed[:headBytes+boxBytes+50],
		"extended": append(bytes.Clone(sealed), sealed[headBytes:headBytes+boxBytes]...), "another object": sealedOther,
		"frames swapped": swapped, "plain": want, "cut to whole frames": whole[:headBytes+boxBytes],
	}
	for at := 0; at < len(sealed); at += 1 + at/20 {
		changed := bytes.Clone(sealed)
		changed[at] ^= 0x10
		cases[fmt.Sprint("byte ", at)] = changed
	}
	for name, b := range cases {
		fresh := New(inner, keys)
		if err := inner.Put(t.Context(), "k", [][]byte{b}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if n, err := fresh.ReadAt(t.Context(), "k", got, 0); !errors.Is(err, ErrSealed) && name != "extended" || n > 0 && !bytes.Equal(got[:n], want[:n]) {
			t.Errorf("%s: read %d, %v", name, n, err)
		}
		r, err := fresh.Open(t.Context(), "k")
		if err == nil {
			_, err = io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			_ = r.Close()
		}
		if !errors.Is(err, ErrSealed) {
			t.Errorf("%s: opened and read, %v", name, err)
		}
	}
}

// A key that is missing or another one is ErrSealed; older keys stay good, new objects take the newest (AR5).
func TestKeys(t *testing.T) {
	inner := object.NewMemory(clock.System{})
	ctx := t.Context()
	for i, keys := range []testKeys{{1: "a"}, {1: "a", 2: "b"}} {
		if err := New(inner, keys).Put(ctx, fmt.Sprint("k", i), [][]byte{[]byte("content")}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(keys testKeys, key string) error {
		b := make([]byte, 7)
		_, err := New(inner, keys).ReadAt(ctx, key, b, 0)
		if err == nil && string(b) != "content" {
			t.Errorf("%q", b)
		}
		return err
	}
	if err := errors.Join(read(testKeys{1: "a", 2: "b"}, "k0"), read(testKeys{1: "a", 2: "b"}, "k1"), read(testKeys{1: "a"}, "k0")); err != nil {
		t.Error(err)
	}
	for _, err := range []error{read(testKeys{1: "a"}, "k1"), read(testKeys{1: "x", 2: "b"}, "k0"), read(testKeys{2: "x"}, "k1")} {
		if !errors.Is(err, ErrSealed) {
			t.Error(err)
		}
	}
}

// A reader that knows an object's head goes on when the object is replaced.
func TestReplaced(t *testing.T) {
	inner := object.NewMemory(clock.System{})
	a, b := New(inner, testKeys{1: "a"}), New(inner, testKeys{1: "a"})
	for _, content := range []string{"one", "two"} {
		if err := a.Put(t.Context(), "k", [][]byte{[]byte(content)}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 3)
		if _, err := b.ReadAt(t.Context(), "k", p, 0); err != nil || string(p) != content {
			t.Errorf("%q, %v", p, err)
		}
	}
	for i := range 3 * mostHeads {
		if _, err := a.learn(t.Context(), fmt.Sprint(i), mustHead(t, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.heads) > mostHeads || a.order.Len() > mostHeads {
		t.Error("heads are not bounded")
	}
}

func mustHead(t *testing.T, name string) []byte {
	head, _, err := newHead(t.Context(), testKeys{1: "a"}, name)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func FuzzRead(f *testing.F) {
	inner := object.NewMemory(clock.System{})
	s := New(inner, testKeys{1: "a"})
	if err := s.Put(f.Context(), "k", [][]byte{random(3, 200)}, object.PutOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Add(bytesOf(f, inner, "k"), int64(0))
	f.Add([]byte(magic), int64(5))
	f.Fuzz(func(t *testing.T, content []byte, off int64) {
		inner := object.NewMemory(clock.System{})
		if err := inner.Put(t.Context(), "k", [][]byte{content}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		s := New(inner, testKeys{1: "a"})
		_, _ = s.ReadAt(t.Context(), "k", make([]byte, 100), off%(1<<40))
		if r, err := s.Open(t.Context(), "k"); err == nil {
			_, _ = r.ReadAt(make([]byte, 100), off%(1<<40))
			_ = r.Close()
		}
	})
}

func BenchmarkPut(b *testing.B) {
	content := random(1, 4<<20)
	for name, store := range map[string]func() object.Store{
		"plain":     func() object.Store { return object.NewMemory(clock.System{}) },
		"encrypted": func() object.Store { return New(object.NewMemory(clock.System{}), testKeys{1: "a"}) },
	} {
		b.Run(name, func(b *testing.B) {
			s := store()
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Put(b.Context(), "k", [][]byte{content}, object.PutOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
