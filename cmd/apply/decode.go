package apply

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Place is where something stands in the file.
type Place struct {
	Line   int // from 1
	fields map[string]int
}

// at is the line of a field, or of the whole where the field is not given.
func (p Place) at(field string) int {
	if line, ok := p.fields[field]; ok {
		return line
	}
	return p.Line
}

// has says that a field is given, be it empty.
func (p Place) has(field string) bool {
	_, ok := p.fields[field]
	return ok
}

// decoder reads nodes of YAML into Go values, strictly (Y1). Structs are read by the names in their yaml tags; a struct that has a Place is
// told where it stands.
type decoder struct {
	faults *faults
}

// into reads a node; what names it in faults.
func (d decoder) into(n *yaml.Node, v reflect.Value, what string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		d.faults.add(n.Line, "%s has no value", what)
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[*yaml.Node]():
		v.Set(reflect.ValueOf(n))
		return
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.into(n, v.Elem(), what)
		return
	}
	want := yaml.ScalarNode
	switch v.Kind() {
	case reflect.Struct, reflect.Map:
		want = yaml.MappingNode
	case reflect.Slice:
		want = yaml.SequenceNode
	}
	if n.Kind != want {
		d.faults.add(n.Line, "%s must be %s", what, kindName(want))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, what)
	case reflect.Map:
		d.texts(n, v, what)
	case reflect.Slice:
		for i, item := range n.Content {
			e := reflect.New(v.Type().Elem()).Elem()
			d.into(item, e, fmt.Sprintf("%s[%d]", what, i))
			v.Set(reflect.Append(v, e))
		}
	default:
		d.scalar(n, v, what)
	}
}

func kindName(k yaml.Kind) string {
	switch k {
	case yaml.MappingNode:
		return "fields with their values"
	case yaml.SequenceNode:
		return "a list"
	}
	return "one value"
}

// scalar reads a single value. Every text is a string, whatever it looks like.
func (d decoder) scalar(n *yaml.Node, v reflect.Value, what string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Int:
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if err != nil || n.Tag != "!!int" {
			d.faults.add(n.Line, "%s must be a whole number, not %q", what, n.Value)
			return
		}
		v.SetInt(i)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.faults.add(n.Line, "%s must be true or false, not %q", what, n.Value)
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	}
}

// keys are the keys of a mapping, each once, with their values.
func (d decoder) keys(n *yaml.Node, what string, each func(key, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.faults.add(key.Line, "%s: a field must have a name", what)
			continue
		}
		if line, twice := seen[key.Value]; twice {
			d.faults.add(key.Line, "%s: %q stands in line %d already", what, key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		each(key, value)
	}
}

// texts reads a map of texts.
func (d decoder) texts(n *yaml.Node, v reflect.Value, what string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.keys(n, what, func(key, value *yaml.Node) {
		var text string
		d.into(value, reflect.ValueOf(&text).Elem(), key.Value)
		v.SetMapIndex(reflect.ValueOf(key.Value), reflect.ValueOf(text))
	})
}

// object reads a struct.
func (d decoder) object(n *yaml.Node, v reflect.Value, what string) {
	place := Place{Line: n.Line, fields: map[string]int{}}
	known := fieldsOf(v.Type())
	d.keys(n, what, func(key, value *yaml.Node) {
		index, ok := known[key.Value]
		if !ok {
			d.faults.add(key.Line, "unknown field %q of %s; there are %s", key.Value, what, strings.Join(sortedKeys(known), ", "))
			return
		}
		place.fields[key.Value] = key.Line
		d.into(value, v.Field(index), key.Value)
	})
	if f := v.FieldByName("Place"); f.IsValid() {
		f.Set(reflect.ValueOf(place))
	}
}

func fieldsOf(t reflect.Type) map[string]int {
	known := map[string]int{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			known[name] = i
		}
	}
	return known
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
