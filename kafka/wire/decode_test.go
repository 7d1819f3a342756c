package wire

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// everyVersion calls f for each key and version that kmsg knows.
func everyVersion(f func(key, version int16)) {
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		for version := int16(0); version <= kmsg.RequestForKey(key).MaxVersion(); version++ {
			f(key, version)
		}
	}
}

// fill sets every field of v to something random, with arrays of up to max elements.
func fill(rnd *rand.Rand, v reflect.Value, max int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				fill(rnd, v.Field(i), max)
			}
		}
	case reflect.Pointer:
		if rnd.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rnd, v.Elem(), max)
		}
	case reflect.Slice:
		n := rnd.IntN(max + 1)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rnd, v.Index(i), max)
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(rnd.Uint64N(256))
		}
	case reflect.String:
		v.SetString(string(make([]byte, rnd.IntN(200))))
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(rnd.Float64())
	default:
		if v.CanInt() {
			v.SetInt(rnd.Int64N(100))
		} else {
			v.SetUint(rnd.Uint64N(100))
		}
	}
}

func TestLayoutsFitEveryRequest(t *testing.T) {
	d := NewDecoder(1 << 30)
	rnd := rand.New(rand.NewPCG(1, 2))
	everyVersion(func(key, version int16) {
		for range 20 {
			req := kmsg.RequestForKey(key)
			req.SetVersion(version)
			fill(rnd, reflect.ValueOf(req).Elem(), 3)
			body := req.AppendTo(nil)
			layout, err := d.layout(key, version)
			if err != nil {
				t.Fatal(err)
			}
			w := walker{reader: reader{b: body}, left: 1 << 30}
			w.fields(layout)
			if w.bad || len(w.b) != 0 {
				t.Fatalf("%s version %d: walk bad=%v, %d of %d bytes left\n%+v", kmsg.NameForKey(key), version, w.bad, len(w.b), len(body), req)
			}
			if _, err := d.Decode(key, version, body); err != nil {
				t.Fatalf("%s version %d: %v", kmsg.NameForKey(key), version, err)
			}
			if len(body) > 0 {
				if _, err := d.Decode(key, version, body[:len(body)-1]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s version %d cut short: %v", kmsg.NameForKey(key), version, err)
				}
			}
		}
	})
}

func TestUnknownKeysAndVersions(t *testing.T) {
	d := NewDecoder(0)
	for _, kv := range [][2]int16{{-1, 0}, {95, 0}, {32767, 0}, {3, -1}, {3, 14}, {3, 32}, {3, 32767}} {
		if _, err := d.Decode(kv[0], kv[1], nil); !errors.Is(err, ErrVersion) {
			t.Errorf("key %d version %d: %v", kv[0], kv[1], err)
		}
	}
}

// hostile returns a request body of n bytes that claims as many elements as it can: each array claims what would be just
// acceptable to a reader that only compares the count with the bytes left.
func hostile(s *structLayout, n int) []byte {
	var b []byte
	var fields func(s *structLayout) bool
	fields = func(s *structLayout) bool {
		for i := range s.fields {
			f := &s.fields[i]
			switch f.kind {
			case fixedField:
				b = append(b, make([]byte, f.size)...)
			case stringField:
				b = appendString(b, "", s.flexible)
			case bytesField:
				b = appendLen(b, 0, s.flexible)
			case structField:
				if fields(f.elem) {
					return true
				}
			case nullableField:
				b = append(b, 1)
				if fields(f.elem) {
					return true
				}
			case structArray:
				b = appendLen(b, n-len(b)-8, s.flexible)
				fields(f.elem)
				return true
			default:
				b = appendLen(b, 0, s.flexible)
			}
		}
		if s.flexible {
			b = append(b, 0)
		}
		return false
	}
	fields(s)
	for len(b) < n {
		b = append(b, 0)
	}
	return b
}

// densest returns a well-formed body of about n bytes that decodes to as much memory as it can: its first struct array is
// filled with elements that are as short as they can be.
func densest(s *structLayout, n int) []byte {
	var b []byte
	var fields func(s *structLayout, top bool)
	fields = func(s *structLayout, top bool) {
		for i := range s.fields {
			f := &s.fields[i]
			switch {
			case f.kind == fixedField:
				b = append(b, make([]byte, f.size)...)
			case f.kind == stringField:
				b = appendString(b, "", s.flexible)
			case f.kind == structField:
				fields(f.elem, top)
			case f.kind == nullableField:
				b = append(b, 0xff)
			case f.kind == structArray && top:
				count := n / f.elem.min
				b = appendLen(b, count, s.flexible)
				for range count {
					fields(f.elem, false)
				}
				top = false
			default:
				b = appendLen(b, 0, s.flexible)
			}
		}
		if s.flexible {
			b = append(b, 0)
		}
	}
	fields(s, true)
	return b
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileCountsDoNotAmplify(t *testing.T) {
	const frame = 64 << 10
	d := NewDecoder(0)
	worst, worstName := 0.0, ""
	everyVersion(func(key, version int16) {
		layout, err := d.layout(key, version)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range [][]byte{hostile(layout, frame), densest(layout, frame)} {
			claimed, sizeErr := d.DecodedSize(key, version, body)
			got := allocated(func() { _, _ = d.Decode(key, version, body) })
			if sizeErr == nil && got > appendCost*uint64(claimed)*5/4+64<<10 {
				t.Errorf("%s version %d: decoded to %d bytes, %d foretold", kmsg.NameForKey(key), version, got, claimed)
			}
			if sizeErr != nil && got > 16<<10 {
				t.Errorf("%s version %d: refusing took %d bytes", kmsg.NameForKey(key), version, got)
			}
			if x := float64(got) / float64(max(len(body), 1<<10)); x > worst {
				worst, worstName = x, kmsg.NameForKey(key)
			}
		}
	})
	t.Logf("worst amplification %.1f, %s", worst, worstName)
	if worst > appendCost*64 {
		t.Errorf("amplification %.1f of %s", worst, worstName)
	}
}

func TestDecodedSizeIsBounded(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	for range 2000 {
		req.Topics = append(req.Topics, kmsg.NewMetadataRequestTopic())
	}
	body := req.AppendTo(nil)
	if _, err := NewDecoder(50_000).Decode(3, 9, body); !errors.Is(err, ErrTooLarge) {
		t.Errorf("bound of 50,000: %v", err)
	}
	if _, err := NewDecoder(0).Decode(3, 9, body); err != nil {
		t.Errorf("default bound: %v", err)
	}
}

func TestManyTagsAreRefusedAtOnce(t *testing.T) {
	// null topics, three flags, then a tag section that claims four billion tags
	body := []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}
	if _, err := NewDecoder(0).Decode(3, 9, body); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestWalkDoesNotAllocate(t *testing.T) {
	d := NewDecoder(0)
	body := kmsg.NewPtrMetadataRequest().AppendTo(nil)
	if n := testing.AllocsPerRun(100, func() { _, _ = d.DecodedSize(3, 0, body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	rnd := rand.New(rand.NewPCG(3, 4))
	everyVersion(func(key, version int16) {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		fill(rnd, reflect.ValueOf(req).Elem(), 2)
		f.Add(key, version, req.AppendTo(nil))
	})
	d := NewDecoder(1 << 20)
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		req, err := d.Decode(key, version, body)
		if err != nil {
			return
		}
		req.AppendTo(nil) // must not panic
	})
}

func BenchmarkDecodeFetch50(b *testing.B) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(16)
	topic := kmsg.NewFetchRequestTopic()
	for range 50 {
		topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	}
	req.Topics = append(req.Topics, topic)
	body := req.AppendTo(nil)
	d := NewDecoder(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(1, 16, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWalkFetch50(b *testing.B) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(16)
	topic := kmsg.NewFetchRequestTopic()
	for range 50 {
		topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	}
	req.Topics = append(req.Topics, topic)
	body := req.AppendTo(nil)
	d := NewDecoder(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.DecodedSize(1, 16, body); err != nil {
			b.Fatal(err)
		}
	}
}
