package kafka_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"millrace/aws/kafka/kafkatest"
)

var rewrite = flag.Bool("rewrite", false, "write what the service answers into testdata")

// TestAnswers shows each answer of the scenario to be what testdata says, to the letter.
func TestAnswers(t *testing.T) {
	w := kafkatest.New()
	seen := map[string]bool{}
	for _, make := range kafkatest.Scenario() {
		step := make(w)
		status, got, err := w.Call(t.Context(), step.Ask)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: status %d, %v: %s", step.Name, status, err, got)
		}
		if seen[step.Name] {
			t.Fatalf("two steps are called %s", step.Name)
		}
		seen[step.Name] = true
		compare(t, filepath.Join("testdata", step.Name+".json"), got)
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(seen) {
		t.Errorf("%d answers, %d files of them, %v", len(seen), len(files), err)
	}
}

func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	got = append(got, '\n')
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
	if !json.Valid(got) {
		t.Errorf("%s is not JSON", path)
	}
}

// TestEachOperationIsAsked: the scenario misses no operation but those that are refused.
func TestEachOperationIsAsked(t *testing.T) {
	w := kafkatest.New()
	asked := map[string]bool{}
	for _, make := range kafkatest.Scenario() {
		step := make(w)
		asked[step.Ask.Operation] = true
		if _, _, err := w.Call(t.Context(), step.Ask); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for _, op := range w.Service.Operations() {
		if asked[op.Name] {
			continue
		}
		refused++
		status, answer, err := w.Call(t.Context(), kafkatest.Ask{Operation: op.Name})
		if err != nil || status != http.StatusBadRequest || !bytes.Contains(answer, []byte("not supported yet")) {
			t.Errorf("%s: status %d, %v: %s", op.Name, status, err, answer)
		}
	}
	if refused != 10 {
		t.Errorf("%d operations are refused, of replicators and channels there are 10", refused)
	}
}
