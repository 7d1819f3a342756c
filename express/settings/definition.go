package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrInvalid is returned for an unknown key, a value of the wrong type or out of range, and a key that
// cannot be set where it was set. The message names the key, the value and the bounds.
var ErrInvalid = errors.New("invalid configuration")

// Types of values, with the numbers of Kafka's DescribeConfigs.
const (
	TypeBoolean int8 = 1
	TypeString  int8 = 2
	TypeInt     int8 = 3
	TypeShort   int8 = 4
	TypeLong    int8 = 5
	TypeDouble  int8 = 6
	TypeList    int8 = 7
)

// Definition documents one key for DescribeConfigs. It is a plain value.
type Definition struct {
	Name string // Kafka's name
	Doc  string // one or two sentences for people
	Type int8   // one of the Type constants
	// Default is what holds when nobody set anything along the chain of synonyms; a key that has a
	// synonym but no default of its own (log.retention.ms) leaves it empty and takes the synonym's.
	Default string
	// Synonym is the broker key that is asked next, in its own unit, when this key is not set; "" if none.
	Synonym   string
	ReadOnly  bool // cannot be altered by clients
	Sensitive bool // the value is never shown
	List      bool // APPEND and SUBTRACT are allowed
}

// key is a Definition with its checks. Numbers lie in [min, max]; 0, 0 means the bounds of the type.
type key struct {
	Definition
	min, max int64
	choices  []string // allowed texts, or allowed elements of a list
	unitMs   int64    // milliseconds per unit of a time key that is the synonym of one in ms; 0 means 1
	fact     bool     // told by the process at its start only (listeners, broker.id), not a setting
	check    func(value string) string
}

// index maps keys by name; the tables are checked by tests to be unique.
func index(keys []key) map[string]*key {
	m := make(map[string]*key, len(keys))
	for i := range keys {
		m[keys[i].Name] = &keys[i]
	}
	return m
}

func definitions(keys []key) []Definition {
	out := make([]Definition, len(keys))
	for i, k := range keys {
		out[i] = k.Definition
	}
	slices.SortFunc(out, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// validate returns an ErrInvalid that names key, value and bounds, or nil.
func (k *key) validate(value string) error {
	if why := k.fault(value); why != "" {
		return fmt.Errorf("%w: invalid value %q for %s: %s", ErrInvalid, clip(value), k.Name, why)
	}
	return nil
}

// fault says what is wrong with value, or nothing.
func (k *key) fault(value string) string {
	why := ""
	switch k.Type {
	case TypeBoolean:
		if _, ok := parseBool(value); !ok {
			why = "must be true or false"
		}
	case TypeInt, TypeShort, TypeLong:
		why = k.numberFault(value)
	case TypeDouble:
		f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || f != f || f < float64(k.min) || f > float64(k.max) {
			why = fmt.Sprintf("must be a number between %d and %d", k.min, k.max)
		}
	case TypeList:
		why = k.listFault(value)
	case TypeString:
		if k.choices != nil && !slices.Contains(k.choices, strings.TrimSpace(value)) {
			why = "must be one of " + strings.Join(k.choices, ", ")
		}
	}
	if why == "" && k.check != nil {
		why = k.check(value)
	}
	return why
}

func (k *key) numberFault(value string) string {
	lo, hi := k.bounds()
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return fmt.Sprintf("not a number; must be between %d and %d", lo, hi)
	case err != nil || n < lo || n > hi:
		return fmt.Sprintf("must be between %d and %d", lo, hi)
	}
	return ""
}

// bounds gives the smallest and largest number allowed.
func (k *key) bounds() (lo, hi int64) {
	lo, hi = k.min, k.max
	if hi == 0 {
		hi = map[int8]int64{TypeShort: 1<<15 - 1, TypeInt: 1<<31 - 1, TypeLong: 1<<63 - 1}[k.Type]
	}
	return lo, hi
}

func (k *key) listFault(value string) string {
	elements := SplitList(value)
	for i, e := range elements {
		if k.choices != nil && !slices.Contains(k.choices, e) {
			return "each element must be one of " + strings.Join(k.choices, ", ")
		}
		if slices.Contains(elements[:i], e) {
			return fmt.Sprintf("%q is listed twice", clip(e))
		}
	}
	return ""
}

// SplitList gives the elements of a list value, trimmed; an empty value has none.
func SplitList(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	elements := strings.Split(value, ",")
	for i := range elements {
		elements[i] = strings.TrimSpace(elements[i])
	}
	return elements
}

// parseBool accepts true and false in any case, as Kafka.
func parseBool(value string) (v, ok bool) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// clip keeps a hostile value from filling logs and answers.
func clip(value string) string {
	const most = 100
	if len(value) > most {
		return value[:most] + "..."
	}
	return value
}
