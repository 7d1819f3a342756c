package modern

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"pgregory.net/rapid"
)

// TestCodecRoundTrip reads back what was written, and takes no shorter value for it.
func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owned, _ := drawOwned(t)
		texts := rapid.SliceOf(rapid.String()).Draw(t, "texts")
		v := AppendOwned(Value(), owned)
		v = AppendPartitions(v, owned.Partitions())
		v = AppendStrings(v, texts)
		v = AppendTags(v, Tag{ID: 1, Data: []byte{7}}, Tag{ID: 5, Data: nil})

		read := func(v []byte) (o Owned, p Partitions, s []string, tags []uint32, err error) {
			in := NewReader(v)
			o, p, s = in.Owned(-1), in.Partitions(), in.Strings()
			in.Tags(func(id uint32, field *Reader) {
				tags = append(tags, id)
				if id == 1 && field.Int8() != 7 {
					t.Fatal("the field has another value")
				}
			})
			return o, p, s, tags, in.Done()
		}
		o, p, s, tags, err := read(v)
		if err != nil || !o.Equal(owned) || !p.Equal(owned.Partitions()) || !slices.Equal(s, texts) || !slices.Equal(tags, []uint32{1, 5}) {
			t.Fatalf("%v, %v, %q, %v: %v", o, p, s, tags, err)
		}
		if _, _, _, _, err := read(v[:rapid.IntRange(0, len(v)-1).Draw(t, "short")]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a short value: %v", err)
		}
	})
}

// TestOwnedWithoutEpochs is what older brokers wrote: the epochs are the member's.
func TestOwnedWithoutEpochs(t *testing.T) {
	p := Partitions{id(1): {0, 2}}
	if o := NewReader(AppendPartitions(Value(), p)).Owned(9); !o.Equal(p.At(9)) {
		t.Errorf("%v, want all of %v since epoch 9", o, p)
	}
	odd := kbin.AppendUuid(kbin.AppendCompactArrayLen(Value(), 1), id(1)) // more partitions than epochs
	odd = AppendTags(AppendInt32s(odd, []int32{0, 2}), Tag{ID: epochsTag, Data: AppendInt32s(nil, []int32{1})})
	if o := NewReader(odd).Owned(9); !o.Equal(p.At(9)) {
		t.Errorf("%v, want all of %v since epoch 9", o, p)
	}
}

// TestKeys are split into what they were made of; like a value, a key may go on as newer versions do.
func TestKeys(t *testing.T) {
	key := Key(7, "group", "member")
	if kind, names, err := SplitKey(key, 2); err != nil || kind != 7 || !slices.Equal(names, []string{"group", "member"}) {
		t.Errorf("%d %q: %v", kind, names, err)
	}
	if r := Tombstone(7, "group", "member"); !slices.Equal(r.Key, key) || r.Value != nil {
		t.Errorf("%+v", r)
	}
	for name, bad := range map[string][]byte{"short": key[:len(key)-1], "empty": nil} {
		if _, _, err := SplitKey(bad, 2); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := NewReader([]byte{0, 1, 0}).Done(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a newer version: %v", err)
	}
}

// FuzzReader reads hostile bytes as each of the pieces: B3.
func FuzzReader(f *testing.F) {
	f.Add(AppendOwned(Value(), Owned{id(1): {0: 1}}))
	f.Add(AppendStrings(Value(), []string{"a", ""}))
	f.Add(AppendTags(Value(), Tag{ID: 0, Data: []byte{1}}))
	f.Add([]byte{0, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, value []byte) {
		const pieces = 4
		for piece := range pieces {
			in, size := NewReader(value), 0
			switch piece {
			case 0:
				size = in.Owned(1).Partitions().Len()
			case 1:
				size = in.Partitions().Len()
			case 2:
				size = len(in.Strings())
			default:
				in.Tags(func(_ uint32, field *Reader) { size += len(field.Src) + 1 })
			}
			if size > len(value)+1 {
				t.Fatalf("%d bytes became %d", len(value), size)
			}
			if err := in.Done(); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			_, _, _ = SplitKey(value, piece)
		}
	})
}
