package ecosystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"millrace/test/harness"
)

// plain leaves out of what a tool said what differs from run to run: addresses, ids, times, speeds, the width of columns.
func (b *toolbox) plain(out string) string {
	host, port, _ := strings.Cut(b.Bootstrap, ":")
	for _, change := range []struct{ pattern, with string }{
		{regexp.QuoteMeta(b.Bootstrap), "HOST:PORT"},
		{`(CONTROLLER://)[0-9.:]+`, "${1}HOST:PORT"},
		{regexp.QuoteMeta(host) + `\s+` + port, "HOST PORT"},
		{regexp.QuoteMeta(b.Dir) + `[^",\]]*`, "DIR"},
		{`/127\.0\.0\.1`, "/HOST"},
		{`\b(producer|consumer|classic|share|rdkafka|kgo)(-[A-Za-z0-9._]+)*-?[0-9a-f]{8}-[0-9a-f-]{27}`, "MEMBER"},
		{`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]+\b`, "ID"}, // of a cluster, as the MSK API has it
		{`\b1[0-9]{12}\b([ \t]+[0-9]+)?`, "TIME"},                      // and how long ago it was
		{`(Epoch|HighWatermark|LeaderEpoch):\s+[0-9]+`, "$1: N"},
		{`(?m)^\s*at .*\n`, ""},
		// Apache Kafka sets this for the whole cluster when it turns eligible leader replicas on, a feature that millrace lacks.
		{`(Configs:.*)\bmin\.insync\.replicas=1\b`, "$1"},
		{`[ \t]+`, " "},
		// How many epochs a new group goes through hangs on when its coordinator sees a new topic.
		{`Stable [0-9]+ [0-9]+ `, "Stable EPOCH EPOCH "},
		{`[0-9]+ ((grouped|shared):[0-9])`, "EPOCH $1"},
		{` *\n`, "\n"},
	} {
		out = regexp.MustCompile(change.pattern).ReplaceAllString(out, change.with)
	}
	return uuidPattern.ReplaceAllStringFunc(out, func(text string) string {
		if strings.ToLower(text) == text || strings.ToUpper(text) == text || namePattern.MatchString(text) {
			return text
		}
		return "ID"
	})
}

var (
	uuidPattern = regexp.MustCompile(`\b[A-Za-z0-9_-]{22}\b`)
	namePattern = regexp.MustCompile(`^([A-Z][a-z]+)+$`) // of a class, or of a column
)

// compare holds the transcript against Apache Kafka's, which is in testdata.
func (b *toolbox) compare(t *testing.T, name string) {
	t.Helper()
	got := b.transcript.String()
	if got == "" {
		return
	}
	path := filepath.Join("testdata", name+".txt")
	if *rewrite && b.Engine == harness.ApacheKafka {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := readAnswers(t, path)
	if b.Engine == harness.Millrace {
		for i, one := range want {
			if known, ok := departures(t)[one.command]; ok {
				want[i] = known.answer
			}
		}
	}
	if difference := differing(want, answers(got)); difference != "" {
		t.Errorf("the tools do not say what they say on Apache Kafka:\n%s", difference)
	}
}

// An answer is one command of a transcript with what the tool said.
type answer struct{ command, said string }

// answers splits a transcript.
func answers(transcript string) (all []answer) {
	for one := range strings.SplitSeq("\n"+transcript, "\n$ ") {
		if command, said, found := strings.Cut(one, "\n"); found && command != "" {
			all = append(all, answer{command, strings.TrimRight(said, "\n")})
		}
	}
	return all
}

func readAnswers(t *testing.T, path string) []answer {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return answers(string(text))
}

// differing returns the commands of two transcripts whose answers differ, with both.
func differing(want, got []answer) string {
	var all strings.Builder
	for i := range max(len(want), len(got)) {
		var w, g answer
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			fmt.Fprintf(&all, "want: %s\n%s\ngot:  %s\n%s\n\n", w.command, w.said, g.command, g.said)
		}
	}
	return all.String()
}

// A departure is an answer of express that is not Apache Kafka's, for a reason.
type departure struct {
	answer
	row string // how the row of docs/compatibility.md begins that gives the reason
}

const departuresPath = "testdata/express.departures"

// departures returns the departures by command. The file has paragraphs like those of a transcript; the line before each, which
// begins with #, is the row.
func departures(t *testing.T) map[string]departure {
	t.Helper()
	text, err := os.ReadFile(departuresPath)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]departure)
	for one := range strings.SplitSeq("\n"+string(text), "\n# ") {
		row, paragraph, _ := strings.Cut(one, "\n")
		for _, said := range answers(paragraph) {
			all[said.command] = departure{said, row}
		}
	}
	return all
}

// TestDeparturesHaveReasons wants a row of docs/compatibility.md for each departure, and another answer of Apache Kafka: one
// that is none any more has to go.
func TestDeparturesHaveReasons(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(root, "docs", "compatibility.md"))
	paths, badPattern := filepath.Glob("testdata/*.txt")
	if err = errors.Join(err, badPattern); err != nil {
		t.Fatal(err)
	}
	kafka := make(map[string]string)
	for _, path := range paths {
		for _, one := range readAnswers(t, path) {
			kafka[one.command] = one.said
		}
	}
	for command, one := range departures(t) {
		if one.row == "" || !strings.Contains(string(document), "\n"+one.row) {
			t.Errorf("%s: docs/compatibility.md has no row %q", command, one.row)
		}
		if said, known := kafka[command]; !known || said == one.said {
			t.Errorf("%s: Apache Kafka is not asked this, or says the same", command)
		}
	}
}
