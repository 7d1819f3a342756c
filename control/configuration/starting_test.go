package configuration

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestStartingIsALineForEach(t *testing.T) {
	text, err := FormatStarting(map[string]string{"max.connections": "100", "connections.max.idle.ms": "5"})
	if err != nil || text != "connections.max.idle.ms=5\nmax.connections=100" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := FormatStarting(nil); err != nil || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	for _, values := range []map[string]string{
		{"": "1"}, {"a b": "1"}, {"a=b": "1"}, {"a\n": "1"}, {"a": "1\nb=2"}, {"a": "1\r"}, {"a": "\xff"}, {"a": strings.Repeat("x", MaxText)},
	} {
		if text, err := FormatStarting(values); !errors.Is(err, errStarting) {
			t.Errorf("%q: %q, %v", values, text, err)
		}
	}
	for _, text := range []string{"a", "a=1\n", "\na=1", "b=1\na=2", "a=1\na=1", "=1", " a=1", "a=1\r\nb=2", "a=" + strings.Repeat("x", MaxText)} {
		if values, err := ParseStarting(text); !errors.Is(err, errStarting) {
			t.Errorf("%q: %q, %v", clip(text), values, err)
		}
	}
}

// What is read is what was written, and there is one text for it.
func FuzzStarting(f *testing.F) {
	for _, text := range []string{"", "a=1", "a=1\nb=", "max.connections=100\ntransaction.max.timeout.ms=5", "a=b=c", "a=1\n", "b=1\na=1", "a=\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := ParseStarting(text)
		if err != nil {
			return
		}
		again, err := FormatStarting(values)
		if err != nil || again != text {
			t.Fatalf("%q was read as %q, which is written as %q (%v)", text, values, again, err)
		}
		back, err := ParseStarting(again)
		if err != nil || !maps.Equal(back, values) {
			t.Fatalf("%q, %v", back, err)
		}
	})
}
