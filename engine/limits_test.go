package engine_test

import (
	"errors"
	"testing"

	"millrace/engine"
)

func TestLimitsComeBack(t *testing.T) {
	for _, l := range []engine.Limits{
		{},
		{In: engine.Flow{Sustained: 1, Max: 2}, Requests: 3, CPUs: 4},
		{PartitionChanges: 250, PartitionsSeconds: 300, MessageBytes: 8 << 20, LoadSeconds: 5},
	} {
		text, err := engine.FormatLimits(l)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := engine.ParseLimits(text); err != nil || back != l {
			t.Errorf("%s: %+v, %v", text, back, err)
		}
	}
}

func TestLimitsThatCannotBe(t *testing.T) {
	for _, text := range []string{
		"x", "[]", "{} {}", `{"in":{"sustained":2,"max":1}}`, `{"in":{"max":1}}`, `{"out":{"sustained":-1,"max":1}}`, `{"requests":-1}`,
		`{"partition_changes":1}`, `{"partitions_seconds":1}`, `{"memory":1}`, `{"fetch_bytes":2000000000}`,
	} {
		if l, err := engine.ParseLimits(text); !errors.Is(err, engine.ErrLimits) {
			t.Errorf("%s: %+v, %v", text, l, err)
		}
	}
}

func FuzzParseLimits(f *testing.F) {
	f.Add(`{"in":{"sustained":1,"max":2},"requests":3}`)
	f.Add(``)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := engine.ParseLimits(text)
		if err != nil {
			return
		}
		again, err := engine.FormatLimits(l)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := engine.ParseLimits(again); err != nil || back != l {
			t.Fatalf("%q became %q: %v", text, again, err)
		}
	})
}
