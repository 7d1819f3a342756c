package cert

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxNameDER bounds the subject of a certificate that is read.
const maxNameDER = 8 << 10

// keywords are the attributes that RFC 2253 knows by name; others are written by their number.
func keyword(oid string) string {
	switch oid {
	case "2.5.4.3":
		return "CN"
	case "2.5.4.6":
		return "C"
	case "2.5.4.7":
		return "L"
	case "2.5.4.8":
		return "ST"
	case "2.5.4.9":
		return "STREET"
	case "2.5.4.10":
		return "O"
	case "2.5.4.11":
		return "OU"
	case "0.9.2342.19200300.100.1.25":
		return "DC"
	case "0.9.2342.19200300.100.1.1":
		return "UID"
	}
	return ""
}

// attribute is one AttributeTypeAndValue.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// DistinguishedName writes a subject as Kafka's brokers see it: X500Principal.getName() of Java, which is RFC 2253.
func DistinguishedName(der []byte) (string, error) {
	sets, err := readName(der)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i := len(sets) - 1; i >= 0; i-- { // last first
		for n, a := range sets[i] {
			switch {
			case n > 0:
				b.WriteByte('+')
			case i < len(sets)-1:
				b.WriteByte(',')
			}
			a.write(&b)
		}
	}
	return b.String(), nil
}

// commonName is the last CN of a subject that has one.
func commonName(der []byte) string {
	name := ""
	sets, err := readName(der)
	if err != nil {
		return ""
	}
	for _, set := range sets {
		for _, a := range set {
			if text, ok := a.text(); ok && keyword(a.Type.String()) == "CN" {
				name = text
			}
		}
	}
	return name
}

func readName(der []byte) ([][]attribute, error) {
	if len(der) > maxNameDER {
		return nil, fmt.Errorf("%w: subject of %d bytes", ErrRefused, len(der))
	}
	var raw []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &raw); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: subject is no name", ErrRefused)
	}
	sets := make([][]attribute, 0, len(raw))
	for _, r := range raw {
		var set []attribute
		if rest, err := asn1.UnmarshalWithParams(r.FullBytes, &set, "set"); err != nil || len(rest) > 0 || len(set) == 0 {
			return nil, fmt.Errorf("%w: subject is no name", ErrRefused)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

func (a attribute) write(b *strings.Builder) {
	name := keyword(a.Type.String())
	text, ok := a.text()
	if name == "" || !ok {
		if name == "" {
			name = a.Type.String()
		}
		b.WriteString(name)
		b.WriteString("=#")
		b.WriteString(hex.EncodeToString(a.Value.FullBytes))
		return
	}
	b.WriteString(name)
	b.WriteByte('=')
	escape(b, text)
}

// text is the value where it is a string. Java takes the bytes of every kind of string for UTF-8, those of BMPString too.
func (a attribute) text() (string, bool) {
	if a.Value.Class != asn1.ClassUniversal || a.Value.IsCompound {
		return "", false
	}
	switch a.Value.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagT61String, asn1.TagGeneralString, asn1.TagBMPString:
		return validText(a.Value.Bytes), true
	}
	return "", false
}

// validText decodes UTF-8 with one replacement character for each longest begin of a character that does not go on, which is how Java
// and the Unicode standard count; Go has one for each byte.
func validText(raw []byte) string {
	var b strings.Builder
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		if r == utf8.RuneError && n == 1 {
			for m := 1; m <= min(len(raw), utf8.UTFMax) && !utf8.FullRune(raw[:m]); m++ {
				n = m
			}
		}
		b.WriteRune(r)
		raw = raw[n:]
	}
	return b.String()
}

// escape writes a value by the rules of RFC 2253, as Java does: "#" and "=" are escaped wherever they stand.
func escape(b *strings.Builder, text string) {
	isSpace := func(r rune) bool { return r == ' ' || r == '\r' }
	lead := len(text) - len(strings.TrimLeftFunc(text, isSpace))
	trail := len(strings.TrimRightFunc(text, isSpace))
	for i, r := range text {
		switch {
		case r == 0:
			b.WriteString(`\00`)
			continue
		case strings.ContainsRune(`,=+<>#;"\`, r), i < lead, i >= trail:
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
}
