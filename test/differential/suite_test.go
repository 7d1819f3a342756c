package differential

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

var (
	out  = flag.String("differences", "", "a file that all differences are written to, with the rows that explain them")
	said = flag.String("answers", "", "a file that what both said is written to, its name followed by .kafka and .express")
	only = flag.String("scripts", "", "a regular expression of the scripts to run; then rows that explain nothing are no fault")
)

// fewestRequests is what a whole run has to send at least, so that the comparison cannot come to nothing unseen.
const fewestRequests = 5000

// TestDifferential sends the same requests to Apache Kafka and to express and compares the answers field by field. Every
// difference is a row of docs/compatibility.md.
func TestDifferential(t *testing.T) {
	harness.Long(t, "make suite SUITE=differential")
	kafka, express := startBoth(t)
	if *only == "" {
		checkVersions(t, kafka, express)
	}
	began := time.Now()
	scripts := chosen(t)
	plan := newPlan(kafka, express)
	k, e := both(t, kafka, express, plan, scripts)
	writeAnswers(t, "kafka", k)
	writeAnswers(t, "express", e)
	all := compare(k, e)
	table := knownDifferences(t)
	report(t, table, all)
	rest := unexplained(table, all)
	const most = 40
	for i, d := range rest {
		if i == most {
			t.Errorf("and %d more", len(rest)-most)
			break
		}
		t.Errorf("no row of %s explains: %v", documentPath, d)
	}
	sent := 0
	for _, a := range k {
		if a.outcome != unlisted {
			sent++
		}
	}
	t.Logf("%d scripts, %d requests to each of the two, %d fields differ, %d rows, %v", len(scripts), sent, len(all), len(table),
		time.Since(began).Round(time.Millisecond))
	if *only != "" {
		return
	}
	if sent < fewestRequests {
		t.Errorf("only %d requests were sent, at least %d are meant to be", sent, fewestRequests)
	}
	for _, row := range table {
		for _, what := range row.stale() {
			t.Errorf("%s: row %s says what is not so any more: %s", documentPath, row.id, what)
		}
	}
	coverage(t, kafka, express, e)
	planted(t, plan, table, k, express)
}

// planted sends one script to express again: as it is, which has to come to the same, and then with a fault planted into
// the answers, which has to be found.
func planted(t *testing.T, p *plan, table []*known, kafka []answer, express *side) {
	t.Helper()
	const name = "list-offsets"
	var one script
	for _, s := range singles() {
		if s.name == name {
			one = s.script()
		}
	}
	kafka = slices.DeleteFunc(slices.Clone(kafka), func(a answer) bool { return a.script != one.name })
	if rest := unexplained(table, compare(kafka, express.do(p, one))); len(rest) > 0 {
		t.Errorf("script %s said something else the second time: %v", one.name, rest[0])
	}
	for fault, plant := range map[string]func(*kmsg.ListOffsetsResponseTopicPartition){
		"a code":  func(p *kmsg.ListOffsetsResponseTopicPartition) { p.ErrorCode = 3 },
		"a value": func(p *kmsg.ListOffsetsResponseTopicPartition) { p.Offset++ },
	} {
		express.tamper = func(response kmsg.Response) {
			if r, ok := response.(*kmsg.ListOffsetsResponse); ok && r.Version == 5 && len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 1 {
				plant(&r.Topics[0].Partitions[0])
			}
		}
		if rest := unexplained(table, compare(kafka, express.do(p, one))); len(rest) == 0 {
			t.Errorf("%s was changed on its way, and nobody noticed", fault)
		}
	}
	express.tamper = nil
}

// startBoth starts the two servers.
func startBoth(t *testing.T) (kafka, express *side) {
	t.Helper()
	kafka = newSide(t, "kafka", harness.StartKafka(t, harness.KafkaOptions{Properties: map[string]string{
		"broker.rack":                                  "zone-a",
		"offsets.topic.num.partitions":                 "50",
		"transaction.state.log.num.partitions":         "50",
		"share.coordinator.state.topic.num.partitions": "50",
		"group.coordinator.append.linger.ms":           "0",
		"share.coordinator.append.linger.ms":           "0",
		"controller.quorum.append.linger.ms":           "0",
		// Cleaning by the clock would come at any time.
		"log.initial.task.delay.ms": "600000",
	}}))
	return kafka, newSide(t, "express", harness.StartMillrace(t, harness.MillraceOptions{}))
}

// chosen lists the scripts to run.
func chosen(t *testing.T) []script {
	t.Helper()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	// What lists all that there is comes first, before there is much.
	all := []script{{name: "lists/first", run: lists}}
	for _, s := range singles() {
		all = append(all, s.script())
	}
	scripts := []script{fixture()}
	for _, s := range append(all, sequences()...) {
		if pattern.MatchString(s.name) {
			scripts = append(scripts, s)
		}
	}
	return scripts
}

// report writes all differences to the file that was asked for, each with the id of the row that explains it.
func report(t *testing.T, table []*known, all []difference) {
	t.Helper()
	if *out == "" {
		return
	}
	file, err := os.Create(*out)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	for _, d := range all {
		row := "-"
		for _, k := range table {
			if k.explains(d) {
				row = k.id
				break
			}
		}
		fmt.Fprintf(w, "%s %v\n", row, d)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// writeAnswers writes answers to the file that was asked for.
func writeAnswers(t *testing.T, name string, all []answer) {
	t.Helper()
	if *said == "" {
		return
	}
	file, err := os.Create(*said + "." + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	for _, a := range all {
		fmt.Fprintf(w, "%s: %s\n", a.id(), a.outcome)
		for _, f := range a.fields {
			fmt.Fprintf(w, "    %s = %s\n", f.path, f.value)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// coverage checks that every version that both servers list was asked for.
func coverage(t *testing.T, kafka, express *side, answers []answer) {
	t.Helper()
	asked := make(map[[2]int16]bool)
	for _, a := range answers {
		asked[[2]int16{a.key, a.version}] = true
	}
	for key, listed := range express.listed {
		for v := listed.MinVersion; v <= listed.MaxVersion; v++ {
			if kafka.serves(key, v) && !asked[[2]int16{key, v}] {
				t.Errorf("nothing was sent to %s v%d", kmsg.NameForKey(key), v)
			}
		}
	}
}
