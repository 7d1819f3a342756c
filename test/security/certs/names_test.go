package certs

import (
	"bufio"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf16"

	"millrace/secure/cert"
	"millrace/test/harness"
)

// java asks the Java program all questions and returns its answers: "ok TEXT" or "error NAME".
func java(t *testing.T, questions []string) []string {
	t.Helper()
	command := exec.Command("java", harness.JavaArgs(harness.Javac(t, "java"), "Names")...)
	command.Stdin = strings.NewReader(strings.Join(questions, "\n") + "\n")
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for lines := bufio.NewScanner(strings.NewReader(string(output))); lines.Scan(); {
		kind, text, _ := strings.Cut(lines.Text(), " ")
		if kind == "ok" {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			text = string(raw)
		}
		answers = append(answers, kind+" "+text)
	}
	if len(answers) != len(questions) {
		t.Fatalf("%d questions, %d answers", len(questions), len(answers))
	}
	return answers
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// randomName is a subject with attributes of all kinds, in all the kinds of strings that certificates have.
func randomName(random *rand.Rand) []byte {
	oids := []asn1.ObjectIdentifier{
		{2, 5, 4, 3}, {2, 5, 4, 6}, {2, 5, 4, 7}, {2, 5, 4, 8}, {2, 5, 4, 9}, {2, 5, 4, 10}, {2, 5, 4, 11}, {2, 5, 4, 5}, {2, 5, 4, 12}, {2, 5, 4, 17},
		{0, 9, 2342, 19200300, 100, 1, 25}, {0, 9, 2342, 19200300, 100, 1, 1}, {1, 2, 840, 113549, 1, 9, 1}, {1, 3, 6, 1, 4, 1, 99999, 1},
	}
	letters := []rune(`abcXYZ019 ,=+<>#;"\/'()-.:?@*&_` + "\tüé東")
	var sets []asn1.RawValue
	for range random.IntN(4) + 1 {
		var set []attribute
		for range max(1, random.IntN(5)-2) {
			var text []rune
			for range random.IntN(8) + 1 {
				text = append(text, letters[random.IntN(len(letters))])
			}
			set = append(set, attribute{oids[random.IntN(len(oids))], randomString(random, text)})
		}
		der, err := asn1.MarshalWithParams(set, "set")
		if err != nil {
			panic(err)
		}
		sets = append(sets, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(sets)
	if err != nil {
		panic(err)
	}
	return der
}

func randomString(random *rand.Rand, text []rune) asn1.RawValue {
	var ascii, wide []byte
	for _, r := range text {
		if r < 0x80 {
			ascii = append(ascii, byte(r))
		}
	}
	for _, u := range utf16.Encode(text) {
		wide = append(wide, byte(u>>8), byte(u))
	}
	value := asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(string(text))}
	switch random.IntN(6) {
	case 0:
		value = asn1.RawValue{Tag: asn1.TagIA5String, Bytes: ascii}
	case 1:
		value = asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: ascii}
	case 2:
		value = asn1.RawValue{Tag: asn1.TagBMPString, Bytes: wide}
	case 3:
		value = asn1.RawValue{Tag: asn1.TagT61String, Bytes: ascii}
	}
	return value
}

// TestNamesAsJava: T2, for random subjects.
func TestNamesAsJava(t *testing.T) {
	random := rand.New(rand.NewPCG(20, 6))
	var names [][]byte
	var questions []string
	for range 3000 {
		name := randomName(random)
		names = append(names, name)
		questions = append(questions, "name "+base64.StdEncoding.EncodeToString(name))
	}
	wrong := 0
	for n, want := range java(t, questions) {
		got, err := cert.DistinguishedName(names[n])
		ours := "ok " + got
		if err != nil {
			ours = "error"
		}
		if kind, _, _ := strings.Cut(want, " "); kind == "error" {
			want = "error"
		}
		if ours != want {
			if wrong++; wrong <= 10 {
				t.Errorf("%x:\n  here %q\n  Java %q", names[n], ours, want)
			}
		}
	}
	t.Logf("%d names, %d differ", len(names), wrong)
}

// TestRulesAsKafka: T2, each set of rules with each name.
func TestRulesAsKafka(t *testing.T) {
	names := []string{
		"CN=Duke,OU=ServiceUsers,O=Org,C=US", "CN=duke", "", "CN=a/b,OU=x", "abc", "aaa", `CN=Duke\, Jr.,O=Org`, "CN=Jürgen,OU=Ärzte", "cn=x,ou=y,dc=z,dc=zz",
		"CN=broker-1.default.millrace,OU=millrace-node,O=Millrace",
	}
	rules := []string{
		"", "DEFAULT", " DEFAULT , ", "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,DEFAULT", "RULE:^CN=(.*?),.*$/$1/L", "RULE:^CN=(.*?),.*$/$1/U,DEFAULT",
		"RULE:^CN=(.*?),OU=(.*?),O=(.*?),C=(.*?)$/$1@$2/U,DEFAULT", "RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,DEFAULT",
		"RULE:^cn=(.*?),ou=(.*?),dc=(.*?),dc=(.*?)$/$1@$2/L,RULE:^CN=(.*?),.*$/$1/,DEFAULT", `RULE:^CN=(.*)\/(.*)$/$2\/$1/,DEFAULT`,
		`RULE:^CN=([^,]*),.*$/\$1/`, "RULE:^CN=([^,]*),.*$/$1$2/", "RULE:^CN=([^,]*),.*$/$12/", "RULE:^CN=([^,]*),.*$/$0/", "RULE:.*/x/", "RULE:a*/x/", "RULE:^.*$/x/",
		"RULE:.+/x/", "RULE:(.*)/$1/", "RULE:(.*)/[$1]/", "RULE:[a-z]+/x/", "RULE:(a|b|c)+/<$1>/", "RULE:(a)|(b)|.*/$1$2-/", ",,DEFAULT,", "RULE:/y/", "RULE:^$/empty/,DEFAULT",
		"RULE:a,b/c/,DEFAULT", "x", "DEFAULTX", "DEFAULT x", "RULE:a", "RULE:a/b", "RULE:a/b/X", "RULE:a/b/LU", "rule:a/b/", "RULE:(/b/", "RULE:a/b/ L",
		"RULE:^CN=(.*?),.*$/$1/ , DEFAULT", "RULE:^CN=(.*?),.*$/ $1 /,DEFAULT", `RULE:^CN=([^\\]*)\\,.*$/$1/,DEFAULT`, "RULE:(?i)^cn=(.*?),.*$/$1/,DEFAULT",
		"RULE:.*abc/x/RULE:y/z/", "DEFAULT,RULE:a/b/", "DEFAULT DEFAULT",
	}
	var questions []string
	for _, r := range rules {
		for _, n := range names {
			questions = append(questions, "map "+encode(r)+" "+encode(n))
		}
	}
	for n, want := range java(t, questions) {
		rule, name := rules[n/len(names)], names[n%len(names)]
		ours := "error"
		r, err := cert.ParseRules(rule)
		if err == nil {
			var principal string
			if principal, err = r.Principal(name); err == nil {
				ours = "ok " + principal
			}
		}
		if kind, _, _ := strings.Cut(want, " "); kind == "error" {
			want = "error"
		}
		// Kafka takes no rules for DEFAULT only where the setting is missing; here an empty one is.
		if ours != want && rule != "" {
			t.Errorf("rules %q, name %q:\n  here  %q %v\n  Kafka %q", rule, name, ours, err, want)
		}
	}
	t.Log(fmt.Sprint(len(questions), " questions"))
}
