package e2e

import (
	"strings"
	"testing"
)

// TestUsageErrorsNameTheirVerb: exit code 2, what is wrong, and whose --help to read.
func TestUsageErrorsNameTheirVerb(t *testing.T) {
	for _, c := range []struct {
		args  string
		words []string
	}{
		{"topic create", []string{"name of a topic", "`millrace topic create --help`"}},
		{"topic alter a b --partitions 3", []string{"name of one topic", "`millrace topic alter --help`"}},
		{"group describe", []string{"name of a group", "`millrace group describe --help`"}},
		{"group reset g --to soon", []string{`--to "soon"`, "-90m", "`millrace group reset --help`"}},
		{"consume t --from soon", []string{`--from "soon"`, "`millrace consume --help`"}},
		{"consume t --count -1", []string{"--count -1"}},
		{"consume t --format %z", []string{"--format", "%z"}},
		{"produce t --nonsense", []string{"--nonsense", "`millrace produce --help`"}},
		{"topic list --output yaml", []string{"yaml", "json", "`millrace topic list --help`"}},
	} {
		r := millrace(t, "", strings.Fields(c.args)...)
		if r.code != 2 {
			t.Errorf("%s: exit code %d", c.args, r.code)
		}
		for _, word := range c.words {
			if !strings.Contains(r.err, word) {
				t.Errorf("%s: the message lacks %q: %s", c.args, word, r.err)
			}
		}
	}
}
