package door

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// depthMost is how deep input may be nested; encoding/json allows far more.
const depthMost = 32

// Decode reads the input of an operation into a struct, by the tags of its fields: `json:"name"` from the body, `query:"name"` from the
// query, `path:"name"` from a label of the path; `aws:"required,min=1,max=64,enum=A|B"` says what it must be. Names are case-sensitive; fields of
// the body that are not known are ignored, as AWS does; null is as if it was not there. Fields may be strings, bools, int, int32, int64,
// float64, []byte (base64), json.RawMessage, pointers to these, structs, slices and maps with string keys. min and max bound numbers, characters of
// strings, bytes of blobs, elements of slices and maps. A value that was not sent stays zero; only a pointer tells it from a zero that was sent.
// The error is an *Error, a BadRequestException that names the field.
func Decode[T any](c *Call) (T, error) {
	var out T
	body := map[string]any{}
	if len(bytes.TrimSpace(c.Body)) > 0 {
		var err error
		if body, err = object(c.Body); err != nil {
			return out, err
		}
	}
	if err := decodeStruct(c, body, reflect.ValueOf(&out).Elem(), 0); err != nil {
		var zero T
		return zero, err
	}
	return out, nil
}

// object reads a JSON object, and nothing after it.
func object(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errBody("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errBody("it is not JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errBody("something follows the JSON")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errBody("it is not an object")
	}
	return m, nil
}

func errBody(why string) *Error { return BadRequest("", "The request body cannot be read: %s.", why) }

// decodeStruct fills a struct from an object; c is nil below the top, where there is nothing but the body.
func decodeStruct(c *Call, in map[string]any, out reflect.Value, depth int) error {
	if depth > depthMost {
		return errBody("it is nested too deep")
	}
	t := out.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			if err := decodeStruct(c, in, out.Field(i), depth); err != nil {
				return err
			}
			continue
		}
		name, value, sent := source(c, in, f)
		if name == "" {
			continue
		}
		r := parseRule(f.Tag.Get("aws"))
		if !sent {
			if r.required {
				return BadRequest(name, "Missing required parameter: %s.", name)
			}
			continue
		}
		if err := assign(name, value, out.Field(i), depth+1); err != nil {
			return err
		}
		v := out.Field(i)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if err := r.check(name, v); err != nil {
			return err
		}
	}
	return nil
}

// source finds the value of a field: from the body as JSON has it, from elsewhere as a []string.
func source(c *Call, in map[string]any, f reflect.StructField) (name string, value any, sent bool) {
	if name = f.Tag.Get("path"); name != "" && c != nil {
		text, ok := c.Params[name]
		return name, []string{text}, ok
	}
	if name = f.Tag.Get("query"); name != "" && c != nil {
		texts := url.Values(c.Query)[name]
		return name, texts, len(texts) > 0
	}
	name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return "", nil, false
	}
	value = in[name]
	return name, value, value != nil
}

// assign puts a value of the wire into a field.
func assign(name string, value any, out reflect.Value, depth int) error {
	if out.Kind() == reflect.Pointer {
		out.Set(reflect.New(out.Type().Elem()))
		return assign(name, value, out.Elem(), depth)
	}
	if texts, ok := value.([]string); ok {
		return assignText(name, texts, out)
	}
	if out.Type() == reflect.TypeFor[json.RawMessage]() {
		text, err := json.Marshal(value)
		out.SetBytes(text)
		return err
	}
	switch v := value.(type) {
	case string:
		switch {
		case out.Kind() == reflect.String:
			out.SetString(v)
			return nil
		case out.Kind() == reflect.Slice && out.Type().Elem().Kind() == reflect.Uint8:
			return assignBlob(name, v, out)
		}
	case bool:
		if out.Kind() == reflect.Bool {
			out.SetBool(v)
			return nil
		}
	case json.Number:
		return assignNumber(name, v, out)
	case map[string]any:
		return assignObject(name, v, out, depth)
	case []any:
		return assignList(name, v, out, depth)
	}
	return wrongType(name, out)
}

func wrongType(name string, out reflect.Value) *Error {
	words := map[reflect.Kind]string{
		reflect.String: "a string", reflect.Bool: "a boolean", reflect.Int: "an integer", reflect.Int32: "an integer", reflect.Int64: "an integer",
		reflect.Float64: "a number", reflect.Slice: "a list", reflect.Map: "a map", reflect.Struct: "a structure",
	}
	return BadRequest(name, "The value of %s has a wrong type: it must be %s.", name, words[out.Kind()])
}

func assignBlob(name, text string, out reflect.Value) error {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return BadRequest(name, "The value of %s must be base64.", name)
	}
	out.SetBytes(b)
	return nil
}

// assignNumber takes 3 and 3.0 for an integer, as clients that know doubles only send it.
func assignNumber(name string, n json.Number, out reflect.Value) error {
	switch out.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		whole, err := n.Int64()
		if err != nil {
			const exact = 1 << 53
			f, ferr := n.Float64()
			if ferr != nil || f != math.Trunc(f) || math.Abs(f) > exact {
				return wrongType(name, out)
			}
			whole = int64(f)
		}
		if out.OverflowInt(whole) {
			return BadRequest(name, "The value of %s is out of range.", name)
		}
		out.SetInt(whole)
		return nil
	case reflect.Float64:
		f, err := n.Float64()
		if err != nil {
			return BadRequest(name, "The value of %s is out of range.", name)
		}
		out.SetFloat(f)
		return nil
	}
	return wrongType(name, out)
}

func assignObject(name string, in map[string]any, out reflect.Value, depth int) error {
	switch out.Kind() {
	case reflect.Struct:
		return decodeStruct(nil, in, out, depth)
	case reflect.Map:
		m := reflect.MakeMapWithSize(out.Type(), len(in))
		for k, v := range in {
			if v == nil {
				continue
			}
			element := reflect.New(out.Type().Elem()).Elem()
			if err := assign(name, v, element, depth+1); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(k), element)
		}
		out.Set(m)
		return nil
	}
	return wrongType(name, out)
}

func assignList(name string, in []any, out reflect.Value, depth int) error {
	if out.Kind() != reflect.Slice || out.Type().Elem().Kind() == reflect.Uint8 {
		return wrongType(name, out)
	}
	list := reflect.MakeSlice(out.Type(), len(in), len(in))
	for i, v := range in {
		if v == nil {
			return BadRequest(name, "An element of %s is null.", name)
		}
		if err := assign(name, v, list.Index(i), depth+1); err != nil {
			return err
		}
	}
	out.Set(list)
	return nil
}

// assignText takes what stands in a query or a path: the last one counts where there can be one only.
func assignText(name string, texts []string, out reflect.Value) error {
	if out.Type() == reflect.TypeFor[[]string]() {
		out.Set(reflect.ValueOf(append([]string(nil), texts...)))
		return nil
	}
	text := texts[len(texts)-1]
	switch out.Kind() {
	case reflect.String:
		out.SetString(text)
		return nil
	case reflect.Bool:
		if text != "true" && text != "false" {
			return wrongType(name, out)
		}
		out.SetBool(text == "true")
		return nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return wrongType(name, out)
		}
		return assignNumber(name, json.Number(text), out)
	}
	return wrongType(name, out)
}
