package configuration

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// MaxText is how many bytes the properties of one revision may have.
const MaxText = 64 << 10

// errText: the text is none of java.util.Properties.
var errText = errors.New("not the text of java.util.Properties")

// Property is one line of a configuration, without its escapes.
type Property struct {
	Name, Value string
	Line        int // where it begins, from 1
}

// Parse reads properties as java.util.Properties.load does from bytes: Latin-1, with escapes, comments of # and !, and lines that go on
// after a backslash. A name that comes twice is one property, with the last value. They are in the order of their lines.
func Parse(text []byte) ([]Property, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errText, len(text), MaxText)
	}
	r := lineReader{text: text, line: 1}
	at := map[string]int{}
	var all []Property
	for {
		line, number, ok := r.next()
		if !ok {
			break
		}
		name, value := split(line)
		p := Property{Line: number}
		var err error
		if p.Name, err = unescape(name); err == nil {
			p.Value, err = unescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errText, number, err)
		}
		if i, twice := at[p.Name]; twice {
			all[i] = Property{Line: -1}
		}
		at[p.Name] = len(all)
		all = append(all, p)
	}
	kept := all[:0]
	for _, p := range all {
		if p.Line > 0 {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// lineReader gives logical lines: without what stands before them, comments, and what joins them.
type lineReader struct {
	text []byte
	at   int
	line int // of at
}

// next returns a logical line and the number at which it begins.
func (r *lineReader) next() (line []byte, number int, ok bool) {
	for r.at < len(r.text) {
		r.skipSpace()
		number = r.line
		if line = r.logical(); len(line) > 0 {
			return line, number, true
		}
	}
	return nil, 0, false
}

func (r *lineReader) skipSpace() {
	for r.at < len(r.text) && isSpace(r.text[r.at]) {
		r.at++
	}
}

// logical reads one, from its first character on; it is empty for comments and empty lines.
func (r *lineReader) logical() []byte {
	var line []byte
	for r.at < len(r.text) {
		if c := r.text[r.at]; len(line) == 0 && (c == '#' || c == '!') {
			r.natural()
			return nil
		}
		piece := r.natural()
		if !goesOn(piece) {
			return append(line, piece...)
		}
		line = append(line, piece[:len(piece)-1]...)
		r.skipSpace()
	}
	return line
}

// natural reads to the end of the line, and over it.
func (r *lineReader) natural() []byte {
	from := r.at
	for r.at < len(r.text) && r.text[r.at] != '\n' && r.text[r.at] != '\r' {
		r.at++
	}
	piece := r.text[from:r.at]
	if r.at < len(r.text) {
		r.line++
		if r.at++; r.text[r.at-1] == '\r' && r.at < len(r.text) && r.text[r.at] == '\n' {
			r.at++
		}
	}
	return piece
}

// goesOn says whether the line ends in a backslash that is not itself escaped.
func goesOn(piece []byte) bool {
	n := 0
	for n < len(piece) && piece[len(piece)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

// split finds where the name ends: at the first =, : or white space that no backslash stands before.
func split(line []byte) (name, value []byte) {
	end := 0
	for end < len(line) && line[end] != '=' && line[end] != ':' && !isSpace(line[end]) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	from, separated := end, false
	for from < len(line) {
		if c := line[from]; !isSpace(c) {
			if separated || c != '=' && c != ':' {
				break
			}
			separated = true
		}
		from++
	}
	return line[:end], line[from:]
}

// unescape gives what was meant: Latin-1 in, UTF-8 out.
func unescape(text []byte) (string, error) {
	units := make([]uint16, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			if c != '\\' {
				units = append(units, uint16(c))
			}
			continue
		}
		i++
		if text[i] == 'u' {
			u, err := unicodeEscape(text[i+1:])
			if err != nil {
				return "", err
			}
			units, i = append(units, u), i+4
			continue
		}
		if at := strings.IndexByte("trnf", text[i]); at >= 0 {
			units = append(units, uint16("\t\r\n\f"[at]))
			continue
		}
		units = append(units, uint16(text[i]))
	}
	return string(utf16.Decode(units)), nil
}

// unicodeEscape reads the four digits of \uXXXX.
func unicodeEscape(text []byte) (uint16, error) {
	bad := errors.New(`malformed \uxxxx encoding`)
	if len(text) < 4 {
		return 0, bad
	}
	var u uint16
	for _, c := range text[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, bad
		}
		u = u<<4 | uint16(c)
	}
	return u, nil
}
