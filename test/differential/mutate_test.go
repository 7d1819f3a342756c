package differential

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// single is a request that stands for itself. It is sent as it is, and then once for each edge value of each of its fields,
// at each version.
type single struct {
	name string
	key  kmsg.Key
	low  int16 // the first version that it makes sense at
	// request makes it, with all that it needs. The name u is new for each request.
	request func(r *run, u string) kmsg.Request
	// keep names fields that stay as they are, and edge values that are left out, as =WORD.
	keep []string
	// mute names edge values, as their labels end, that Apache Kafka never answers: it is not waited for them long.
	mute []string
	// offsets says that the answer's offsets depend on the requests before it.
	offsets bool
}

// keeps tells whether a mutation is left out.
func (s single) keeps(m mutation) bool {
	return slices.ContainsFunc(s.keep, func(word string) bool { return word[0] == '=' && strings.HasSuffix(m.name, word) })
}

// mutation is one edge value of one field.
type mutation struct {
	name string
	set  func(root reflect.Value)
}

// script makes a script of a single request.
func (s single) script() script {
	return script{name: "single/" + s.name, run: func(r *run) {
		n := 0
		next := func() kmsg.Request {
			n++
			return s.request(r, fmt.Sprintf("%s-%d", s.name, n))
		}
		var sample kmsg.Request
		r.quietly(func() { sample = next() })
		var mutations []mutation
		enumerate("", "", reflect.ValueOf(sample).Elem(), s.keep, func(v reflect.Value) reflect.Value { return v }, &mutations)
		for _, version := range r.plan.of(s.key, s.low) {
			if !r.plan.common(int16(s.key), version) {
				continue
			}
			var request kmsg.Request
			r.quietly(func() { request = next() })
			s.ask(r, "plain", version, request)
			for _, m := range mutations {
				if !s.keeps(m) {
					s.mutated(r, m, version, next)
				}
			}
		}
	}}
}

// mutated sends the request with a mutation, unless the version does not carry the field.
func (s single) mutated(r *run, m mutation, version int16, next func() kmsg.Request) {
	sample := kmsg.RequestForKey(int16(s.key))
	r.quietly(func() { sample = next() })
	sample.SetVersion(version)
	plain := sample.AppendTo(nil)
	m.set(reflect.ValueOf(sample).Elem())
	if bytes.Equal(plain, sample.AppendTo(nil)) {
		return
	}
	s.ask(r, m.name, version, sample)
}

// ask sends the request, and names what is generated anew: the answer stands for itself.
func (s single) ask(r *run, label string, version int16, request kmsg.Request) {
	r.symbols.reset()
	p := r.peer("differential")
	p.patience = patience
	if slices.ContainsFunc(s.mute, func(end string) bool { return strings.HasSuffix(label, end) }) {
		p.patience = patience / 8
	}
	defer func() { p.patience = patience }()
	ask[kmsg.Response](r, label, version, request)
	if !s.offsets {
		return
	}
	for i, f := range r.answers[len(r.answers)-1].fields {
		if strings.HasSuffix(f.path, ".BaseOffset") && f.value != "-1" {
			r.answers[len(r.answers)-1].fields[i].value = "$offset"
		}
	}
}

// quietly does what a request needs beforehand; its answers are not taken down.
func (r *run) quietly(f func()) {
	before := r.quiet
	r.quiet = true
	f()
	r.quiet = before
}

// enumerate lists the edge values of all fields of v; find leads from the root of another request to the place of v.
func enumerate(path, name string, v reflect.Value, keep []string, find func(reflect.Value) reflect.Value, out *[]mutation) {
	if slices.Contains(keep, name) {
		return
	}
	add := func(word string, value any) {
		*out = append(*out, mutation{name: path + "=" + word, set: func(root reflect.Value) {
			f := find(root)
			if value == nil {
				f.SetZero()
				return
			}
			f.Set(reflect.ValueOf(value).Convert(f.Type()))
		}})
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i).Name
			if f == "UnknownTags" || f == "Version" {
				continue
			}
			enumerate(join(path, f), f, v.Field(i), keep, func(root reflect.Value) reflect.Value { return find(root).Field(i) }, out)
		}
	case reflect.Pointer:
		enumeratePointer(path, name, v, keep, find, out, add)
	case reflect.Slice:
		enumerateSlice(path, name, v, keep, find, out, add)
	case reflect.Array:
		add("zero", nil)
		add("unknown", [16]byte{0x6d, 0x69, 0x6c, 0x6c, 15: 1})
	case reflect.Bool:
		add(fmt.Sprint(!v.Bool()), !v.Bool())
	case reflect.String:
		enumerateString(add)
	case reflect.Float64:
		for _, value := range []float64{-1, 0, 1e300, math.NaN(), math.Inf(1)} {
			add(fmt.Sprint(value), value)
		}
	default:
		enumerateNumber(name, v, add)
	}
}

func enumeratePointer(
	path, name string, v reflect.Value, keep []string, find func(reflect.Value) reflect.Value, out *[]mutation, add func(string, any),
) {
	add("null", nil)
	if v.Type().Elem().Kind() == reflect.String {
		enumerateString(func(word string, value any) { text := value.(string); add(word, &text) })
		return
	}
	if !v.IsNil() {
		enumerate(path, name, v.Elem(), keep, func(root reflect.Value) reflect.Value { return find(root).Elem() }, out)
	}
}

func enumerateString(add func(string, any)) {
	add("empty", "")
	add("unknown", "unknown")
	add("illegal", "not legal/\x01")
	add("long", strings.Repeat("x", 300))
}

func enumerateSlice(
	path, name string, v reflect.Value, keep []string, find func(reflect.Value) reflect.Value, out *[]mutation, add func(string, any),
) {
	add("null", nil)
	add("none", reflect.MakeSlice(v.Type(), 0, 0).Interface())
	if v.Type().Elem().Kind() == reflect.Uint8 {
		add("garbage", []byte{0, 1, 2, 3, 0xff, 0xfe, 7})
		return
	}
	if v.Len() == 0 {
		if v.Type().Elem().Kind() != reflect.Struct {
			one := reflect.MakeSlice(v.Type(), 1, 1)
			add("one", one.Interface())
		}
		return
	}
	*out = append(*out, mutation{name: path + "=twice", set: func(root reflect.Value) {
		f := find(root)
		f.Set(reflect.Append(f, f.Index(0)))
	}})
	for i := range v.Len() {
		enumerate(fmt.Sprintf("%s[%d]", path, i), name, v.Index(i), keep,
			func(root reflect.Value) reflect.Value { return find(root).Index(i) }, out)
	}
}

// edges are the values of fields that may not take any: too large a time makes a server wait, some counts fill a disk.
var edges = map[string][]int64{
	"Acks":                   {1, 2, -2},
	"MaxWaitMillis":          {-1, 1},
	"TimeoutMillis":          {-1, 0, 1, math.MaxInt32},
	"SessionTimeoutMillis":   {-1, 0, 1, 5999, 6000, 1800001, math.MaxInt32},
	"RebalanceTimeoutMillis": {-1, 0, 1, math.MaxInt32},
	"NumPartitions":          {-2, -1, 0, 2, math.MaxInt32},
	"Count":                  {-1, 0, 1, 2, 3, math.MaxInt32},
	"Op":                     {-1, 0, 1, 2, 3, 4},
	"ResourceType":           {-1, 0, 1, 2, 4, 8, 16, 32, 64, 99},
	"ElectionType":           {-1, 0, 1, 2},
}

func enumerateNumber(name string, v reflect.Value, add func(string, any)) {
	values, ok := edges[name]
	if !ok {
		values = []int64{-2, -1, 0, 1, 2, 99, math.MaxInt8, math.MinInt8}
		switch v.Kind() {
		case reflect.Int16:
			values = []int64{-2, -1, 0, 1, 2, 99, math.MaxInt16, math.MinInt16}
		case reflect.Int32:
			values = []int64{-2, -1, 0, 1, 2, 99, math.MaxInt32, math.MinInt32}
		case reflect.Int64:
			values = []int64{-6, -5, -4, -3, -2, -1, 0, 1, 99, math.MaxInt64, math.MinInt64}
		case reflect.Uint16:
			values = []int64{0, 1, math.MaxUint16}
		}
	}
	for _, value := range values {
		add(fmt.Sprint(value), value)
	}
}
