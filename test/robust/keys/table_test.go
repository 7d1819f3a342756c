package keys

import "testing"

// TestPlanted: what a pass over a key may be given, and what not. Number 1 to 4 are acknowledged, 3 is a deletion; 5 is on its way, and 6,
// a deletion too, is written while the pass goes on.
func TestPlanted(t *testing.T) {
	type given struct {
		number   int
		deletion bool
	}
	for _, f := range []struct {
		name  string
		acked int
		given []given
		want  string
	}{
		{"all", 4, []given{{1, false}, {2, false}, {3, true}, {4, false}}, ""},
		{"compacted", 4, []given{{4, false}}, ""},
		{"what is on its way", 4, []given{{4, false}, {5, false}}, ""},
		{"the deletion that came meanwhile", 4, []given{{4, false}, {6, true}}, ""},
		{"the deletion that came meanwhile has gone too", 4, nil, ""},
		{"again", 4, []given{{4, false}, {4, false}}, "disordered"},
		{"back", 4, []given{{4, false}, {2, false}}, "disordered"},
		{"never written", 4, []given{{7, false}}, "phantom"},
		{"a deletion that was none", 4, []given{{4, true}}, "phantom"},
	} {
		table := NewTable(1)
		for n := 1; n <= 5; n++ {
			table.Write(0, n == 3)
		}
		for n := range f.acked {
			table.Stands(0, n+1)
		}
		p := table.Begin()
		table.Write(0, true)
		for _, g := range f.given {
			p.See(0, g.number, g.deletion)
		}
		p.End()
		judge(t, f.name, table, f.want)
	}
}

// TestStale: without a deletion after it, an acknowledged number has to be there.
func TestStale(t *testing.T) {
	for last, want := range map[int]string{0: "stale", 2: "stale", 3: "", 4: ""} {
		table := NewTable(1)
		for n := 1; n <= 4; n++ {
			table.Write(0, n == 1)
			if n < 4 {
				table.Stands(0, n)
			}
		}
		p := table.Begin()
		if last > 0 {
			p.See(0, last, false)
		}
		p.End()
		judge(t, "one number", table, want)
	}
}

func judge(t *testing.T, name string, table *Table, want string) {
	t.Helper()
	found, _ := table.Verify()
	switch {
	case want == "" && len(found) == 0:
	case want != "" && len(found) > 0 && found[0].Kind == want:
	default:
		t.Errorf("%s: found %v, want %q", name, found, want)
	}
}
