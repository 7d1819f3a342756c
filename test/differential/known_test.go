package differential

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// Where the tables of docs/compatibility.md begin and end.
const (
	documentPath = "docs/compatibility.md"
	tableBegin   = "<!-- begin %s -->"
	tableEnd     = "<!-- end %s -->"
)

// known is one row of the table of differences: what it says of requests whose answers differ, and why they do.
type known struct {
	id        string
	apis      []string // names of APIs, or *
	low, high int16
	where     string // script and label; * stands for any text
	field     string
	codes     []string // pairs of codes, or of outcomes: those of Apache Kafka and of express with an arrow between
	kafka     string   // values of all other fields
	express   string
	why       string

	hits int
	seen map[string]bool // pairs of codes
}

// explains tells whether the row is about a difference. Codes and outcomes have to be as the row says them, one by one.
func (k *known) explains(d difference) bool {
	if k.apis[0] != "*" && !slices.Contains(k.apis, kmsg.NameForKey(d.answer.key)) || d.answer.version < k.low || d.answer.version > k.high ||
		!matchAny(k.where, d.answer.script+"/"+d.answer.label) || !matchAny(k.field, d.path) {
		return false
	}
	if d.coded() {
		return slices.Contains(k.codes, d.pair())
	}
	return matchAny(k.kafka, d.kafka) && matchAny(k.express, d.express)
}

// coded tells whether a difference is one of error codes, or of whether there was an answer.
func (d difference) coded() bool {
	return (strings.HasSuffix(d.path, "ErrorCode") || d.path == "outcome") && d.kafka != absent && d.express != absent
}

func (d difference) pair() string { return d.kafka + " -> " + d.express }

// matchAny is match with alternatives, between the word or.
func matchAny(patterns, text string) bool {
	for pattern := range strings.SplitSeq(patterns, " or ") {
		if match(pattern, text) {
			return true
		}
	}
	return false
}

// rows returns the cells of a table of the document, without its heading.
func rows(t *testing.T, table string) (all [][]string) {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, documentPath))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), fmt.Sprintf(tableBegin, table))
	body, _, ended := strings.Cut(after, fmt.Sprintf(tableEnd, table))
	if !found || !ended {
		t.Fatalf("%s has no table %q", documentPath, table)
	}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "`", "")
		}
		all = append(all, cells)
	}
	const heading = 2
	return all[min(heading, len(all)):]
}

// knownDifferences reads the table of differences.
func knownDifferences(t *testing.T) (all []*known) {
	t.Helper()
	const columns = 9
	seen := make(map[string]bool)
	for _, cells := range rows(t, "differences") {
		if len(cells) != columns || cells[8] == "" || seen[cells[0]] {
			t.Fatalf("%s: a row of the differences has %d columns instead of %d, no reason, or an id that is taken: %q",
				documentPath, len(cells), columns, cells)
		}
		seen[cells[0]] = true
		k := &known{id: cells[0], apis: strings.Split(cells[1], ", "), where: cells[3], field: cells[4], kafka: cells[6], express: cells[7], why: cells[8]}
		if cells[5] != "" {
			k.codes = strings.Split(cells[5], ", ")
		}
		var err error
		if k.low, k.high, err = parseVersions(cells[2]); err != nil {
			t.Fatalf("%s: row %s: %v", documentPath, k.id, err)
		}
		all = append(all, k)
	}
	return all
}

// parseVersions reads "3-9", "4" or "*".
func parseVersions(text string) (low, high int16, err error) {
	if text == "*" {
		return 0, 1<<15 - 1, nil
	}
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	l, err := strconv.ParseInt(first, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	h, err := strconv.ParseInt(last, 10, 16)
	return int16(l), int16(h), err
}

// unexplained returns the differences that no row is about, and counts what each row is about.
func unexplained(table []*known, all []difference) (rest []difference) {
	for _, d := range all {
		explained := false
		for _, k := range table {
			if k.explains(d) {
				k.count(d)
				explained = true
				break
			}
		}
		if !explained {
			rest = append(rest, d)
		}
	}
	return rest
}

// count notes that the row is about a difference.
func (k *known) count(d difference) {
	k.hits++
	if d.coded() {
		if k.seen == nil {
			k.seen = make(map[string]bool)
		}
		k.seen[d.pair()] = true
	}
}

// stale says what of the row was not seen in a run.
func (k *known) stale() (all []string) {
	if k.hits == 0 {
		return []string{"anything"}
	}
	for _, pair := range k.codes {
		if !k.seen[pair] {
			all = append(all, pair)
		}
	}
	return all
}

// checkVersions compares the table of APIs with what the two servers list.
func checkVersions(t *testing.T, kafka, express *side) {
	t.Helper()
	const columns = 5
	table := make(map[string][]string)
	for _, cells := range rows(t, "versions") {
		if len(cells) != columns {
			t.Fatalf("%s: a row of the versions has %d columns instead of %d: %q", documentPath, len(cells), columns, cells)
		}
		table[cells[1]] = cells
	}
	for key := int16(0); key < 128; key++ {
		_, k := kafka.listed[key]
		_, e := express.listed[key]
		if !k && !e {
			continue
		}
		name := kmsg.NameForKey(key)
		want := []string{strconv.Itoa(int(key)), name, kafka.span(key), express.span(key)}
		cells, ok := table[name]
		delete(table, name)
		if !ok || strings.Join(cells[:4], "|") != strings.Join(want, "|") {
			t.Errorf("%s: table of versions: want the row | %s |", documentPath, strings.Join(want, " | "))
			continue
		}
		if want[2] != want[3] && cells[4] == "" {
			t.Errorf("%s: table of versions: %s differs without a reason", documentPath, name)
		}
	}
	for name := range table {
		t.Errorf("%s: table of versions: neither server lists %s", documentPath, name)
	}
}

// span is the range of versions that a server lists, as the document writes it.
func (s *side) span(key int16) string {
	listed, ok := s.listed[key]
	if !ok {
		return "unlisted"
	}
	return fmt.Sprintf("%d-%d", listed.MinVersion, listed.MaxVersion)
}
