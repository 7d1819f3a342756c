package conformance

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/test/harness"
)

// unlessKnown runs check unless it has passed before with the same clients, scenarios, recorded answers, and pinned versions of
// everything foreign: what Apache Kafka says to them does not depend on millrace. With -again or -rewrite it always runs, and
// where only some of its subtests are wanted.
func unlessKnown(t *testing.T, name string, check func()) {
	t.Helper()
	if *again || *rewrite || some("test.run", "/") || some("test.skip", "") {
		check()
		return
	}
	stamps := append(sources(t), *only)
	for _, m := range makers() {
		if harness.Has(t, m.tool) {
			stamps = append(stamps, m.name)
		}
	}
	ran := false
	_, err := harness.Cached(name, stamps, func(string) error {
		ran = true
		check()
		if t.Failed() {
			return errors.New("it did not pass")
		}
		return nil
	})
	switch {
	case err != nil && !t.Failed():
		t.Fatal(err)
	case !ran:
		t.Log("passed before with the same clients, scenarios and answers; -again runs it all the same")
	}
}

// some tells whether a flag of the test binary is set to something that holds a text.
func some(name, text string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != "" && strings.Contains(f.Value.String(), text)
}

// sources returns what a run against Apache Kafka depends on: the files of this test and of the harness with its pins.
func sources(t *testing.T) (all []string) {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"conformance", "harness"} {
		err := filepath.WalkDir(filepath.Join(root, "test", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			body, err := os.ReadFile(path)
			all = append(all, filepath.Base(path), string(body))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
