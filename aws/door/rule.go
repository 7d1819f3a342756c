package door

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// rule is what the tag `aws:"required,min=1,max=64,enum=A|B"` of a field asks for.
type rule struct {
	required bool
	min, max *float64 // of a number; of the characters of a text, the bytes of a blob, the elements of a list or a map
	enum     []string // of a text; of each text of a list
}

// parseRule reads a tag. One that cannot be read is a fault of ours.
func parseRule(tag string) rule {
	var r rule
	for part := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "":
		case "required":
			r.required = true
		case "min", "max":
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				panic(fmt.Sprintf("door: tag %q", tag))
			}
			if name == "min" {
				r.min = &n
			} else {
				r.max = &n
			}
		case "enum":
			r.enum = strings.Split(value, "|")
		default:
			panic(fmt.Sprintf("door: tag %q", tag))
		}
	}
	return r
}

// check says what is wrong with a value that is there.
func (r *rule) check(name string, v reflect.Value) *Error {
	var size float64
	what := ""
	switch v.Kind() {
	case reflect.String:
		size, what = float64(utf8.RuneCountInString(v.String())), " characters"
		if r.enum != nil && !slices.Contains(r.enum, v.String()) {
			return BadRequest(name, "Unsupported %s specified. Valid values: [%s]", name, strings.Join(r.enum, ", "))
		}
	case reflect.Slice, reflect.Map:
		size, what = float64(v.Len()), " elements"
		if v.Type().Elem().Kind() == reflect.Uint8 {
			what = " bytes"
		}
		if err := r.checkElements(name, v); err != nil {
			return err
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		size = float64(v.Int())
	case reflect.Float64:
		size = v.Float()
	default:
		return nil
	}
	switch {
	case r.min != nil && size < *r.min:
		return BadRequest(name, "The value of %s is out of range: it must be at least %v%s.", name, *r.min, what)
	case r.max != nil && size > *r.max:
		return BadRequest(name, "The value of %s is out of range: it must be at most %v%s.", name, *r.max, what)
	}
	return nil
}

func (r *rule) checkElements(name string, v reflect.Value) *Error {
	if r.enum == nil || v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.String {
		return nil
	}
	elements := rule{enum: r.enum}
	for i := range v.Len() {
		if err := elements.check(name, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}
