package secret

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/kv"
)

// sealer hides bytes, and checks the context.
type sealer struct{}

func (sealer) Seal(plain, context []byte) ([]byte, error) {
	sum := sha256.Sum256(context)
	return append(sum[:], flip(plain)...), nil
}

func (sealer) Open(sealed, context []byte) ([]byte, error) {
	sum := sha256.Sum256(context)
	if len(sealed) < len(sum) || !bytes.Equal(sealed[:len(sum)], sum[:]) {
		return nil, errors.New("another context")
	}
	return flip(sealed[len(sum):]), nil
}

func flip(in []byte) []byte {
	out := make([]byte, len(in))
	for i := range in {
		out[i] = in[i] ^ 0xa5
	}
	return out
}

type fixture struct {
	*Store
	kv    *kv.Memory
	clock *clock.Manual
}

func newFixture(t interface{ Cleanup(func()) }) *fixture {
	f := &fixture{kv: kv.NewMemory(), clock: clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))}
	t.Cleanup(func() { _ = f.kv.Close() })
	f.Store = NewStore(World{KV: f.kv, Sealer: sealer{}, Clock: f.clock, Random: func(b []byte) { _, _ = rand.Read(b) }})
	return f
}

func text(s string) Value { return Value{Bytes: []byte(s)} }

func token(n int) string { return fmt.Sprintf("token-%032d", n) }

func wants(t interface {
	Helper()
	Fatalf(string, ...any)
}, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// TestStages goes the usual way: create, change, roll back, restore.
func TestStages(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	first := text("hidden words 1")
	x, v1, err := f.Create(ctx, Spec{Name: "AmazonMSK_a/b", Value: &first, Token: token(1), KMSKey: "key", Tags: map[string]string{"a": "b"}})
	if wants(t, err, nil); v1 != token(1) || len(x.Tail) != tailLength {
		t.Fatalf("%+v, %s", x, v1)
	}
	again, v, err := f.Create(ctx, Spec{Name: "AmazonMSK_a/b", Value: &first, Token: token(1)})
	if wants(t, err, nil); v != v1 || again.Tail != x.Tail {
		t.Errorf("the same request again: %+v, %s", again, v)
	}
	other := text("other")
	_, _, err = f.Create(ctx, Spec{Name: "AmazonMSK_a/b", Value: &other, Token: token(1)})
	wants(t, err, ErrExists)
	_, _, err = f.Create(ctx, Spec{Name: "AmazonMSK_a/b"})
	wants(t, err, ErrExists)
	_, _, err = f.Put(ctx, x.Ref(), token(1), other, nil)
	wants(t, err, ErrExists)
	_, two, err := f.Put(ctx, x.Ref(), token(2), text("hidden words 2"), nil)
	wants(t, err, nil)
	_, three, err := f.Put(ctx, Ref{Name: x.Name}, "", Value{Binary: true, Bytes: []byte{0, 255}}, []string{Pending})
	wants(t, err, nil)
	for _, c := range []struct{ id, stage, want string }{
		{"", "", "hidden words 2"}, {"", Previous, "hidden words 1"}, {v1, "", "hidden words 1"}, {two.ID, Current, "hidden words 2"}, {"", Pending, "\x00\xff"},
	} {
		_, _, v, err := f.Get(ctx, x.Ref(), c.id, c.stage)
		if err != nil || string(v.Bytes) != c.want || v.Binary != (c.stage == Pending) {
			t.Errorf("%+v: %q, %v", c, v.Bytes, err)
		}
	}
	_, _, _, err = f.Get(ctx, x.Ref(), v1, Current)
	wants(t, err, ErrState)
	_, _, _, err = f.Get(ctx, x.Ref(), token(9), "")
	wants(t, err, ErrNotFound)
	_, _, _, err = f.Get(ctx, Ref{x.Name, "aaaaaa"}, "", "")
	wants(t, err, ErrNotFound)
	x, err = f.Move(ctx, x.Ref(), Current, two.ID, three.ID)
	wants(t, err, nil)
	if c, _ := x.staged(Current); c.ID != three.ID || !slices.Equal(c.Stages, []string{Current, Pending}) {
		t.Errorf("%+v", x.Versions)
	}
	for _, c := range []struct{ stage, from, to string }{{Current, "", two.ID}, {Current, three.ID, ""}, {"x", "y", two.ID}} {
		_, err = f.Move(ctx, x.Ref(), c.stage, c.from, c.to)
		wants(t, err, ErrState)
	}
	items, _, err := f.kv.List(ctx, "")
	wants(t, err, nil)
	for _, item := range items {
		if bytes.Contains(item.Value, []byte("hidden")) || bytes.Contains(item.Value, []byte("aGlkZGVu")) {
			t.Errorf("%s has the value as it is", item.Key)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s %x", first, first, first, &first, first); strings.Contains(s, "hidden") || strings.Contains(s, "68696464656e") {
		t.Errorf("a print shows it: %s", s)
	}
}

func TestDeleteAndRestore(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	v := text("x")
	x, _, err := f.Create(ctx, Spec{Name: "a", Value: &v})
	wants(t, err, nil)
	for _, days := range []int{-1, 1, 6, 31} {
		_, err = f.Delete(ctx, x.Ref(), days)
		wants(t, err, ErrInvalid)
	}
	gone, err := f.Delete(ctx, x.Ref(), 7)
	if wants(t, err, nil); gone.Deleted != f.clock.Now().Add(7*24*time.Hour) {
		t.Errorf("%+v", gone)
	}
	_, _, _, get := f.Get(ctx, x.Ref(), "", "")
	_, _, put := f.Put(ctx, x.Ref(), "", v, nil)
	_, tag := f.Tag(ctx, x.Ref(), map[string]string{"a": "b"})
	_, again := f.Delete(ctx, x.Ref(), 7)
	_, _, create := f.Create(ctx, Spec{Name: "a"})
	for _, err := range []error{get, put, tag, again, create} {
		wants(t, err, ErrDeleted)
	}
	_, err = f.Restore(ctx, x.Ref())
	wants(t, err, nil)
	_, _, _, err = f.Get(ctx, x.Ref(), "", "")
	wants(t, err, nil)
	_, err = f.Delete(ctx, x.Ref(), 7)
	wants(t, err, nil)
	f.clock.Advance(7 * 24 * time.Hour)
	_, restore := f.Restore(ctx, x.Ref())
	_, describe := f.Describe(ctx, x.Ref())
	for _, err := range []error{restore, describe} {
		wants(t, err, ErrNotFound)
	}
	y, _, err := f.Create(ctx, Spec{Name: "a"}) // in the place of what is over
	if wants(t, err, nil); y.Tail == x.Tail {
		t.Error("it has the former one's tail")
	}
	_, err = f.Delete(ctx, y.Ref(), 0)
	wants(t, err, nil)
	items, _, err := f.kv.List(ctx, "")
	if wants(t, err, nil); len(items) != 1 || !strings.Contains(string(items[0].Value), `"secrets":0`) {
		t.Errorf("something is left: %v", items)
	}
}

func TestSweep(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	v := text("x")
	for _, name := range []string{"a", "a/b", "c"} {
		_, _, err := f.Create(ctx, Spec{Name: name, Value: &v})
		wants(t, err, nil)
	}
	_, err := f.Delete(ctx, Ref{Name: "a"}, 7)
	wants(t, err, nil)
	_, err = f.Delete(ctx, Ref{Name: "c"}, 8)
	wants(t, err, nil)
	f.clock.Advance(7 * 24 * time.Hour)
	wants(t, f.Sweep(ctx), nil)
	items, _, err := f.kv.List(ctx, "")
	wants(t, err, nil)
	if len(items) != 5 { // two secrets, two values, the count
		t.Errorf("%v", items)
	}
	_, _, _, err = f.Get(ctx, Ref{Name: "a/b"}, "", "")
	wants(t, err, nil)
}

func TestBadInput(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	big, empty, good := Value{Bytes: make([]byte, maxValue+1)}, Value{}, text("x")
	tags := map[string]string{}
	for i := range maxTags + 1 {
		tags[fmt.Sprint(i)] = ""
	}
	for _, s := range []Spec{
		{}, {Name: "a b"}, {Name: "é"}, {Name: strings.Repeat("a", 513)}, {Name: "a", Value: &big}, {Name: "a", Value: &empty},
		{Name: "a", Value: &good, Token: "short"}, {Name: "a", Token: strings.Repeat("x", 65)}, {Name: "a", Description: strings.Repeat("x", 2049)},
		{Name: "a", Tags: map[string]string{"": "x"}}, {Name: "a", Tags: map[string]string{"AWS:x": ""}}, {Name: "a", Tags: map[string]string{strings.Repeat("k", 129): ""}},
		{Name: "a", Tags: map[string]string{"k": strings.Repeat("v", 257)}},
	} {
		_, _, err := f.Create(ctx, s)
		wants(t, err, ErrInvalid)
	}
	_, _, err := f.Create(ctx, Spec{Name: "a", Tags: tags})
	wants(t, err, ErrLimit)
	if items, _, _ := f.kv.List(ctx, ""); len(items) != 0 {
		t.Errorf("something was written: %v", items)
	}
	x, _, err := f.Create(ctx, Spec{Name: "a"})
	wants(t, err, nil)
	_, _, err = f.Put(ctx, x.Ref(), "", good, []string{""})
	wants(t, err, ErrInvalid)
	_, _, err = f.Put(ctx, x.Ref(), "", good, make([]string, 21))
	wants(t, err, ErrInvalid)
	_, err = f.SetPolicy(ctx, x.Ref(), []byte(`{"Version":`))
	wants(t, err, ErrPolicy)
	_, err = f.SetPolicy(ctx, x.Ref(), []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"kafka.amazonaws.com"},"Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`))
	wants(t, err, nil)
	_, _, err = f.Create(ctx, Spec{Name: strings.Repeat("a", 512), Value: &good, Token: strings.Repeat("/", 64)})
	wants(t, err, nil)
}

// TestStoreFollowsAModel drives one secret and a plain model by the same calls (SE2, SE3, SE5).
func TestStoreFollowsAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, ctx := newFixture(t), context.Background()
		x, _, err := f.Create(ctx, Spec{Name: "a"})
		wants(t, err, nil)
		values, stages := map[string]string{}, map[string]string{} // by ID; ID by stage
		move := func(stage, id string) {
			from, had := stages[stage]
			if had && from == id {
				return
			}
			if stages[stage] = id; stage == Current && had {
				stages[Previous] = from
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				id, value := token(rapid.IntRange(0, 40).Draw(t, "id")), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "value")
				labels := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{Current, Previous, Pending, "mine"}), 0, 2, rapid.ID[string]).Draw(t, "stages")
				_, _, err := f.Put(ctx, x.Ref(), id, text(value), labels)
				if old, there := values[id]; there {
					wants(t, err, map[bool]error{true: nil, false: ErrExists}[old == value])
					return
				}
				wants(t, err, nil)
				if len(labels) == 0 || len(values) == 0 && !slices.Contains(labels, Current) {
					labels = append(labels, Current)
				}
				values[id] = value
				for _, l := range labels {
					move(l, id)
				}
			},
			"move": func(t *rapid.T) {
				if len(values) == 0 {
					t.Skip("there is no version")
				}
				stage := rapid.SampledFrom([]string{Current, Previous, "mine"}).Draw(t, "stage")
				to := rapid.SampledFrom(slices.Sorted(maps.Keys(values))).Draw(t, "to")
				_, err := f.Move(ctx, x.Ref(), stage, stages[stage], to)
				wants(t, err, nil)
				move(stage, to)
			},
			"": func(t *rapid.T) {
				now, err := f.Describe(ctx, x.Ref())
				wants(t, err, nil)
				if len(now.Versions) > maxVersions {
					t.Fatalf("%d versions", len(now.Versions))
				}
				got := map[string]string{}
				for _, v := range now.Versions {
					for _, stage := range v.Stages {
						if got[stage] != "" {
							t.Fatalf("two versions are %s: %+v", stage, now.Versions)
						}
						got[stage] = v.ID
					}
					_, _, value, err := f.Get(ctx, x.Ref(), v.ID, "")
					if wants(t, err, nil); string(value.Bytes) != values[v.ID] {
						t.Fatalf("version %s is %q, want %q", v.ID, value.Bytes, values[v.ID])
					}
				}
				if !maps.Equal(got, stages) || len(now.Versions) > 0 && got[Current] == "" {
					t.Fatalf("stages %v, want %v", got, stages)
				}
				for id := range values { // what was pruned is forgotten, and its value with it
					if _, there := now.Version(id); !there {
						delete(values, id)
					}
				}
				items, _, err := f.kv.List(ctx, dirValues)
				if wants(t, err, nil); len(items) != len(now.Versions) {
					t.Fatalf("%d values of %d versions", len(items), len(now.Versions))
				}
			},
		})
	})
}

func TestFollow(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan string), make(chan error)
	go func() { done <- f.Follow(ctx, func(name string) { seen <- name }) }()
	if name := <-seen; name != "" {
		t.Errorf("%q", name)
	}
	v := text("x")
	_, _, err := f.Create(ctx, Spec{Name: "a/b", Value: &v})
	wants(t, err, nil)
	if name := <-seen; name != "a/b" {
		t.Errorf("%q", name)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("it ended without a reason")
	}
}
