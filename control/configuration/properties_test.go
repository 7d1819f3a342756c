package configuration

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What java.util.Properties.load makes of these was taken from its documentation and its behaviour.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want []Property
	}{
		{"", nil},
		{"a=1\nb=2", []Property{{"a", "1", 1}, {"b", "2", 2}}},
		{"\n  # x\r\n! y\r\ta : 1 \rb 2\f3", []Property{{"a", "1 ", 4}, {"b", "2\f3", 5}}},
		{"Truth = Beauty\n Truth:Beauty\nTruth                    :Beauty", []Property{{"Truth", "Beauty", 3}}},
		{"fruits   apple, banana, \\\n     pear, \\\r\n  mango\nx=y", []Property{{"fruits", "apple, banana, pear, mango", 1}, {"x", "y", 4}}},
		{"cheeses", []Property{{"cheeses", "", 1}}},
		{"a\\ b\\=\\:c\\\\ = v", []Property{{"a b=:c\\", "v", 1}}},
		{"a==1", []Property{{"a", "=1", 1}}},
		{"a =:1", []Property{{"a", ":1", 1}}},
		{"a\\tb\\nc\\rd\\fe\\z=\\u00e9\\uD83D\\uDE00\\\"", []Property{{"a\tb\nc\rd\fez", "é😀\"", 1}}},
		{"a=\xe9", []Property{{"a", "é", 1}}},
		{"a=1\\", []Property{{"a", "1", 1}}},
		{"a=1\\\\\nb=2", []Property{{"a", "1\\", 1}, {"b", "2", 2}}},
		{"# no \\\na=1", []Property{{"a", "1", 2}}}, // a comment does not go on
		{"a=1\\\n# b", []Property{{"a", "1# b", 1}}},
		{"a=1\\\n\nb=2", []Property{{"a", "1", 1}, {"b", "2", 3}}},
		{"a=1\nb=2\na=3", []Property{{"b", "2", 2}, {"a", "3", 3}}},
		{"=x", []Property{{"", "x", 1}}},
	} {
		got, err := Parse([]byte(c.text))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for _, bad := range []string{"a=\\u12", "a=1\nb=\\u12g4", "\\uzzzz=1", strings.Repeat("a", MaxText+1)} {
		if _, err := Parse([]byte(bad)); !errors.Is(err, errText) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// FuzzParse: whatever is read can be written so that it reads the same, lines ascend, and no name comes twice.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a=1", "a\\ b : \\u00e9\\\n  x", "#\n!\r\na", "\\\n#x\na=1", "a=1\\\\\r\nb"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Parse(text)
		if err != nil {
			return
		}
		var b bytes.Buffer
		seen, last := map[string]bool{}, 0
		for _, p := range got {
			if seen[p.Name] || p.Line <= last || p.Line > bytes.Count(text, []byte("\n"))+bytes.Count(text, []byte("\r"))+1 {
				t.Fatalf("%q after line %d: %+v", text, last, p)
			}
			seen[p.Name], last = true, p.Line
			fmt.Fprintf(&b, "%s=%s\n", escape(p.Name), escape(p.Value))
		}
		if b.Len() > MaxText {
			return
		}
		again, err := Parse(b.Bytes())
		if err != nil || !slices.EqualFunc(got, again, func(a, b Property) bool { return a.Name == b.Name && a.Value == b.Value }) {
			t.Fatalf("%q: %+v is written as %q and read as %+v, %v", text, got, b.Bytes(), again, err)
		}
	})
}

// escape writes every character so that it means itself.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
