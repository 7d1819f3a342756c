package conformance

import (
	"slices"
	"testing"
)

// TestCompareLog shows that the check of what was read finds every kind of fault planted in it.
func TestCompareLog(t *testing.T) {
	about := hello{Features: []string{"partition", "timestamp", "headers", "null_key", "null_value", "null_header", "reads_null"}}
	want := sample(about, sampleSize)
	read := func() []record {
		got := slices.Clone(want)
		for i := range got {
			got[i].Offset = int64(i)
		}
		return got
	}
	if err := compareLog(about, read(), want, 0); err != nil {
		t.Fatalf("a faultless log: %v", err)
	}
	swap := func(got []record, i, j int) {
		got[i], got[j] = got[j], got[i]
		got[i].Offset, got[j].Offset = got[j].Offset, got[i].Offset
	}
	for name, plant := range map[string]func([]record) []record{
		"a record is lost":        func(got []record) []record { return slices.Delete(got, 20, 21) },
		"the last record is lost": func(got []record) []record { return got[:len(got)-1] },
		"a record came twice":     func(got []record) []record { return slices.Insert(got, 20, got[20]) },
		"two records are swapped": func(got []record) []record { swap(got, 20, 30); return got },
		"an offset is skipped":    func(got []record) []record { got[59].Offset = 60; return got },
		"a byte of a value":       func(got []record) []record { got[10].Value = []byte("value 10 a"); return got },
		"null became empty":       func(got []record) []record { got[4].Value = []byte{}; return got },
		"empty became null":       func(got []record) []record { got[5].Key = nil; return got },
		"another time":            func(got []record) []record { got[8].Timestamp++; return got },
		"a header is lost":        func(got []record) []record { got[6].Headers = got[6].Headers[:1]; return got },
		"a header became null": func(got []record) []record {
			got[6].Headers = []header{got[6].Headers[0], {Name: "empty"}}
			return got
		},
	} {
		if err := compareLog(about, plant(read()), want, 0); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

// TestDigestTellsOrder shows that equal records in another order, or split otherwise into values, give another hash.
func TestDigestTellsOrder(t *testing.T) {
	sum := func(values ...string) string {
		var d digests
		for _, value := range values {
			d.add("topic", []byte("key"), []byte(value))
		}
		return d.finish().Topics["topic"]["key"].Hash
	}
	base := sum("a", "b", "c")
	for name, other := range map[string]string{
		"swapped": sum("b", "a", "c"), "lost": sum("a", "b"), "twice": sum("a", "b", "b", "c"), "joined": sum("ab", "c"),
	} {
		if other == base {
			t.Errorf("%s: the same hash", name)
		}
	}
}

// TestAnswersDiffer shows that an answer that is not Apache Kafka's is found, and that one that is missing is found too.
func TestAnswersDiffer(t *testing.T) {
	var a answers
	a.add("topics", "create", "ok")
	a.add("topics", "create again", "TOPIC_ALREADY_EXISTS")
	steps := byStep(a.lines)
	if got := steps["topics         create again"]; got != "TOPIC_ALREADY_EXISTS" {
		t.Errorf("the answer is read back as %q from %q", got, a.lines)
	}
	if len(steps) != 2 {
		t.Errorf("%d steps, want 2", len(steps))
	}
}
