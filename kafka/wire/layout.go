package wire

import (
	"bytes"
	"reflect"
)

// fieldKind is the form of a field on the wire.
type fieldKind uint8

const (
	fixedField    fieldKind = iota // size bytes
	stringField                    // string, nullable or not
	bytesField                     // bytes, nullable or not
	structField                    // a struct in line
	nullableField                  // a struct behind a presence byte
	fixedArray                     // array of elements of size bytes
	stringArray
	structArray
)

// structLayout is how one struct of a request looks on the wire, in one version.
type structLayout struct {
	fields   []fieldLayout
	bytes    int  // Go size
	min      int  // least bytes on the wire
	flexible bool // compact forms, and a tag section at the end
}

// fieldLayout is one field of a structLayout. Tagged fields have none: they are passed over as tags.
type fieldLayout struct {
	kind fieldKind
	size int           // of fixedField and of the elements of fixedArray
	elem *structLayout // of structs and struct arrays
}

// minBytes returns the fewest bytes on the wire that an element of the array can take.
func (f *fieldLayout) minBytes() int {
	switch f.kind {
	case fixedArray:
		return f.size
	case structArray:
		return f.elem.min
	default:
		return 1
	}
}

// prober finds a request's layout out of kmsg's encoder: kmsg has the versions of each field only in code. It changes
// one field of an otherwise default request and looks at what the encoding does. A field that changes nothing is not in
// this version; one that changes the length by more than itself is tagged. Fields are encoded in the order of the struct.
type prober struct {
	req      message
	flexible bool
}

// message is what requests and responses of kmsg have in common.
type message interface {
	SetVersion(version int16)
	IsFlexible() bool
	AppendTo(dst []byte) []byte
}

func learnLayout(req message, version int16) *structLayout {
	req.SetVersion(version)
	p := &prober{req: req, flexible: req.IsFlexible()}
	v := reflect.ValueOf(req).Elem()
	return p.structOf(v)
}

func (p *prober) encode() []byte { return p.req.AppendTo(nil) }

// structOf returns the layout of the struct v, which is part of p.req.
func (p *prober) structOf(v reflect.Value) *structLayout {
	s := &structLayout{bytes: int(v.Type().Size()), flexible: p.flexible}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Version" || name == "UnknownTags" {
			continue
		}
		if f, ok := p.field(v.Field(i)); ok {
			s.fields = append(s.fields, f)
			s.min += f.least(p.flexible)
		}
	}
	if p.flexible {
		s.min++
	}
	return s
}

// least returns the fewest bytes that the field itself can take.
func (f *fieldLayout) least(flexible bool) int {
	switch f.kind {
	case fixedField:
		return f.size
	case structField:
		return f.elem.min
	case nullableField:
		return 1
	}
	switch {
	case flexible:
		return 1
	case f.kind == stringField:
		return 2
	default:
		return 4
	}
}

// field returns the layout of the field v, and false if it is tagged or not in this version. v is as before afterwards.
func (p *prober) field(v reflect.Value) (fieldLayout, bool) {
	saved := reflect.New(v.Type()).Elem()
	saved.Set(v)
	defer v.Set(saved)
	switch v.Kind() {
	case reflect.String:
		empty, full := p.with(v, reflect.Zero(v.Type())), p.with(v, reflect.ValueOf("x"))
		return fieldLayout{kind: stringField}, len(full) == len(empty)+1
	case reflect.Pointer:
		return p.pointer(v)
	case reflect.Slice:
		return p.slice(v)
	case reflect.Struct:
		elem := p.structOf(v)
		return fieldLayout{kind: structField, elem: elem}, len(elem.fields) > 0
	default:
		was, is := p.encode(), p.with(v, other(v))
		return fieldLayout{kind: fixedField, size: int(v.Type().Size())}, len(was) == len(is) && !bytes.Equal(was, is)
	}
}

// with encodes the request with the field v set to x.
func (p *prober) with(v, x reflect.Value) []byte {
	v.Set(x)
	return p.encode()
}

// other returns a value that differs from v, which is a number, a bool or an array of bytes.
func other(v reflect.Value) reflect.Value {
	x := reflect.New(v.Type()).Elem()
	x.Set(v)
	switch {
	case v.Kind() == reflect.Bool:
		x.SetBool(!v.Bool())
	case v.Kind() == reflect.Array:
		x.Index(0).SetUint(v.Index(0).Uint() ^ 1)
	case v.CanInt():
		x.SetInt(v.Int() ^ 1)
	case v.CanUint():
		x.SetUint(v.Uint() ^ 1)
	default:
		x.SetFloat(v.Float() + 1)
	}
	return x
}

// pointer handles a nullable string and a nullable struct.
func (p *prober) pointer(v reflect.Value) (fieldLayout, bool) {
	null := p.with(v, reflect.Zero(v.Type()))
	if v.Type().Elem().Kind() == reflect.String {
		x := "x"
		return fieldLayout{kind: stringField}, len(p.with(v, reflect.ValueOf(&x))) == len(null)+1
	}
	present := p.with(v, fresh(v.Type().Elem()).Addr())
	if len(null) == len(present) {
		return fieldLayout{}, false
	}
	return fieldLayout{kind: nullableField, elem: p.structOf(v.Elem())}, true
}

// slice handles bytes and arrays. The second element of a regular array takes as much as the first; of a tagged one the
// first takes more, because null is left out.
func (p *prober) slice(v reflect.Value) (fieldLayout, bool) {
	lens := [3]int{len(p.with(v, reflect.Zero(v.Type())))}
	for n := 1; n < len(lens); n++ {
		s := reflect.MakeSlice(v.Type(), n, n)
		for i := range n {
			s.Index(i).Set(fresh(v.Type().Elem()))
		}
		lens[n] = len(p.with(v, s))
	}
	if lens[1] == lens[0] || lens[1]-lens[0] != lens[2]-lens[1] {
		return fieldLayout{}, false
	}
	elem := v.Type().Elem()
	switch elem.Kind() {
	case reflect.Struct:
		v.Set(v.Slice(0, 1))
		return fieldLayout{kind: structArray, elem: p.structOf(v.Index(0))}, true
	case reflect.String:
		return fieldLayout{kind: stringArray}, true
	case reflect.Uint8:
		return fieldLayout{kind: bytesField}, true
	default:
		return fieldLayout{kind: fixedArray, size: int(elem.Size())}, true
	}
}

// fresh returns an addressable default value of type t.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(interface{ Default() }); ok {
		d.Default()
	}
	return v.Elem()
}
