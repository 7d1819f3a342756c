package door

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// router finds operations of REST by method and raw path.
type router struct{ root *branch }

// branch is a place between two slashes.
type branch struct {
	literal map[string]*branch
	label   *branch
	ends    map[string]route // by method
}

// route is an operation, and how its labels are called.
type route struct {
	operation *Operation
	labels    []string
}

// newRouter puts operations into a tree. Two with the same route are a fault of ours.
func newRouter(operations []Operation) (*router, error) {
	r := &router{root: &branch{}}
	for i := range operations {
		o := &operations[i]
		at, labels := r.root, []string(nil)
		for _, part := range segments(o.Path) {
			name, labelled := strings.CutPrefix(part, "{")
			if labelled {
				labels = append(labels, strings.TrimSuffix(name, "}"))
			}
			at = at.grow(part, labelled)
		}
		if at.ends == nil {
			at.ends = make(map[string]route)
		}
		if _, twice := at.ends[o.Method]; twice || o.Handle == nil || o.Method == "" || !strings.HasPrefix(o.Path, "/") {
			return nil, fmt.Errorf("%w: operation %s: route %s %s", ErrConfig, o.Name, o.Method, o.Path)
		}
		at.ends[o.Method] = route{o, labels}
	}
	return r, nil
}

func (b *branch) grow(part string, labelled bool) *branch {
	if labelled {
		if b.label == nil {
			b.label = &branch{}
		}
		return b.label
	}
	if b.literal == nil {
		b.literal = make(map[string]*branch)
	}
	if b.literal[part] == nil {
		b.literal[part] = &branch{}
	}
	return b.literal[part]
}

// segments are the parts between the slashes of an escaped path.
func segments(path string) []string { return strings.Split(strings.TrimPrefix(path, "/"), "/") }

// find returns the operation of a request and its labels. Errors: 404 and 405 UnknownOperationException, BadRequestException.
func (r *router) find(q *http.Request) (*Operation, map[string]string, *Error) {
	at, raw := r.root, []string(nil)
	for _, part := range segments(q.URL.EscapedPath()) {
		switch next := at.literal[part]; {
		case next != nil:
			at = next
		case at.label != nil && part != "":
			at = at.label
			raw = append(raw, part)
		default:
			return nil, nil, unknownOperation(http.StatusNotFound)
		}
	}
	if len(at.ends) == 0 {
		return nil, nil, unknownOperation(http.StatusNotFound)
	}
	found, ok := at.ends[q.Method]
	if !ok {
		return nil, nil, unknownOperation(http.StatusMethodNotAllowed)
	}
	labels := make(map[string]string, len(raw))
	for i, part := range raw {
		value, err := url.PathUnescape(part)
		if err != nil || !utf8.ValidString(value) {
			return nil, nil, BadRequest(found.labels[i], "The value of %s in the path cannot be read.", found.labels[i])
		}
		labels[found.labels[i]] = value
	}
	return found.operation, labels, nil
}

func unknownOperation(status int) *Error {
	return Fail(status, "UnknownOperationException", "", "The requested operation is not supported at this path.")
}
