package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// ErrMalformed is what every Fault is, for errors.Is.
var ErrMalformed = errors.New("malformed policy")

// Fault says what is wrong with a policy, and where.
type Fault struct {
	Line, Column int    // from 1; the column counts bytes
	Path         string // Statement[0].Action[1]; "" for the document
	Text         string
}

// Error names the place first.
func (f *Fault) Error() string {
	at := fmt.Sprintf("line %d, column %d: ", f.Line, f.Column)
	if f.Path != "" {
		at += f.Path + ": "
	}
	return at + f.Text
}

// Is makes every Fault an ErrMalformed.
func (f *Fault) Is(target error) bool { return target == ErrMalformed }

// kind of a JSON value.
type shape int

const (
	object shape = iota + 1
	array
	text
	number
	boolean
	null
)

func (s shape) String() string {
	return [...]string{"nothing", "an object", "a list", "a string", "a number", "true or false", "null"}[s]
}

// node is a JSON value that knows where it stands.
type node struct {
	shape   shape
	text    string // of a string, number or boolean
	members []member
	items   []node
	at      int    // offset of its first byte
	path    string // Statement[0].Action
}

type member struct {
	name  string
	value node
}

// deepest nesting that a policy needs is 6.
const deepest = 12

// reader turns a document into nodes. Unlike encoding/json it refuses doubled names and keeps places.
type reader struct {
	source []byte
	dec    *json.Decoder
}

// read returns the whole document as one node.
func read(source []byte) (node, error) {
	r := &reader{source: source, dec: json.NewDecoder(bytes.NewReader(source))}
	r.dec.UseNumber()
	if !utf8.Valid(source) {
		return node{}, r.fault(0, "", "it is not UTF-8")
	}
	root, err := r.value("", 0)
	if err != nil {
		return node{}, err
	}
	at := r.next()
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, r.fault(at, "", "there is more after the end of the document")
	}
	return root, nil
}

func (r *reader) fault(at int, path, format string, args ...any) *Fault {
	before := r.source[:min(max(at, 0), len(r.source))]
	return &Fault{
		Line: 1 + bytes.Count(before, []byte{'\n'}), Column: len(before) - bytes.LastIndexByte(before, '\n'),
		Path: path, Text: fmt.Sprintf(format, args...),
	}
}

// next is the offset of the next token.
func (r *reader) next() int {
	at := int(r.dec.InputOffset())
	for at < len(r.source) && strings.IndexByte(" \t\r\n,:", r.source[at]) >= 0 {
		at++
	}
	return at
}

func (r *reader) token(path string) (json.Token, int, error) {
	at := r.next()
	t, err := r.dec.Token()
	if err == nil {
		return t, at, nil
	}
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, at, r.fault(len(r.source), path, "the document ends too early")
	case errors.As(err, &syntax):
		return nil, at, r.fault(int(syntax.Offset)-1, path, "it is not JSON: %s", syntax.Error())
	default:
		return nil, at, r.fault(at, path, "it is not JSON: %v", err)
	}
}

func (r *reader) value(path string, depth int) (node, error) {
	t, at, err := r.token(path)
	if err != nil {
		return node{}, err
	}
	n := node{at: at, path: path}
	switch v := t.(type) {
	case string:
		n.shape, n.text = text, v
	case json.Number:
		n.shape, n.text = number, v.String()
	case bool:
		n.shape, n.text = boolean, fmt.Sprint(v)
	case nil:
		n.shape = null
	case json.Delim:
		if depth >= deepest {
			return node{}, r.fault(at, path, "it is nested too deeply")
		}
		if v == '{' {
			return r.object(n, depth+1)
		}
		return r.array(n, depth+1)
	}
	return n, nil
}

func (r *reader) object(n node, depth int) (node, error) {
	n.shape = object
	for r.dec.More() {
		t, at, err := r.token(n.path)
		if err != nil {
			return node{}, err
		}
		name, ok := t.(string)
		if !ok {
			return node{}, r.fault(at, n.path, "a name must be a string")
		}
		for _, m := range n.members {
			if m.name == name {
				return node{}, r.fault(at, n.path, "%q stands there twice", name)
			}
		}
		path := name
		if n.path != "" {
			path = n.path + "." + name
		}
		value, err := r.value(path, depth)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{name, value})
	}
	_, _, err := r.token(n.path)
	return n, err
}

func (r *reader) array(n node, depth int) (node, error) {
	n.shape = array
	for r.dec.More() {
		value, err := r.value(fmt.Sprintf("%s[%d]", n.path, len(n.items)), depth)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, value)
	}
	_, _, err := r.token(n.path)
	return n, err
}
