package harness

import "testing"

func TestLongRunsWhereEverythingIsWanted(t *testing.T) {
	for value, want := range map[string]bool{"": false, "some": false, "all": !testing.Short()} {
		ran, skipped := false, false
		t.Run(requireVariable+"="+value, func(t *testing.T) {
			t.Setenv(requireVariable, value)
			defer func() { skipped = t.Skipped() }()
			Long(t, "make it")
			ran = true
		})
		if ran != want || skipped == want {
			t.Errorf("%s=%q: ran %v, skipped %v", requireVariable, value, ran, skipped)
		}
	}
}
