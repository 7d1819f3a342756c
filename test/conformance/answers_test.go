package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "record the answers of Apache Kafka in testdata/answers")

// answers is what one client was told in one run, a line for each step.
type answers struct {
	lines []string
	left  []string // scenarios that this run has no time for
}

func (a *answers) add(scenario, step string, answer any) {
	a.lines = append(a.lines, fmt.Sprintf("%-14s %-34s %v", scenario, step, answer))
}

// compare holds the answers against those recorded of Apache Kafka, and fails the test with every line that differs.
func (a *answers) compare(t *testing.T, name string, record bool) {
	t.Helper()
	path := filepath.Join("testdata", "answers", name+".txt")
	text := strings.Join(a.lines, "\n") + "\n"
	if record && *rewrite {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	recorded, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := byStep(strings.Split(strings.TrimSpace(string(recorded)), "\n"))
	got := byStep(a.lines)
	broken := t.Failed() // then a scenario ended early, and says so itself; steps that it did not come to are no news
	for step, answer := range want {
		scenario, _, _ := strings.Cut(step, " ")
		if _, asked := got[step]; !asked && (broken || slices.Contains(a.left, scenario)) {
			continue
		}
		if got[step] != answer {
			t.Errorf("%s: %s:\n  Apache Kafka answers %q\n  here it is         %q", name, step, answer, got[step])
		}
	}
	for step, answer := range got {
		if _, ok := want[step]; !ok {
			t.Errorf("%s: %s: %q is not among the answers of Apache Kafka", name, step, answer)
		}
	}
}

// byStep splits lines into what was asked (scenario and step) and the answer.
func byStep(lines []string) map[string]string {
	const asked = 14 + 1 + 34
	out := make(map[string]string, len(lines))
	for _, line := range lines {
		if len(line) > asked {
			out[strings.TrimSpace(line[:asked])] = strings.TrimSpace(line[asked:])
		}
	}
	return out
}
