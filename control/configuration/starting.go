package configuration

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// errStarting: a text is not what FormatStarting writes, or properties cannot be written so.
var errStarting = errors.New("not the properties that a node is started with")

// FormatStarting writes properties as a node's spec has them: one line "name=value" for each, by name, "" for none. It refuses what
// ParseStarting would not take: names beyond letters, digits, dots, dashes and underscores, values with control characters, and more than
// MaxText bytes.
func FormatStarting(values map[string]string) (string, error) {
	lines := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if why := startingFault(name, values[name]); why != "" {
			return "", fmt.Errorf("%w: %q: %s", errStarting, clip(name), why)
		}
		lines = append(lines, name+"="+values[name])
	}
	text := strings.Join(lines, "\n")
	if len(text) > MaxText {
		return "", fmt.Errorf("%w: %d bytes, at most %d", errStarting, len(text), MaxText)
	}
	return text, nil
}

// ParseStarting reads what FormatStarting writes, and nothing else: what it takes, FormatStarting writes again, byte for byte.
func ParseStarting(text string) (map[string]string, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errStarting, len(text), MaxText)
	}
	values, last := map[string]string{}, ""
	if text == "" {
		return values, nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(line, "=")
		switch why := startingFault(name, value); {
		case !ok:
			return nil, fmt.Errorf("%w: line %q has no =", errStarting, clip(line))
		case why != "":
			return nil, fmt.Errorf("%w: %q: %s", errStarting, clip(name), why)
		case name <= last:
			return nil, fmt.Errorf("%w: %q comes after %q", errStarting, clip(name), clip(last))
		}
		values[name], last = value, name
	}
	return values, nil
}

// startingFault says why a property cannot stand in a line; "": it can.
func startingFault(name, value string) string {
	strange := func(c rune) bool {
		return c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	switch {
	case name == "" || strings.ContainsFunc(name, strange):
		return "not the name of a property"
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "its value is no line of text"
	}
	return ""
}
