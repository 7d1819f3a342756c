package operate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"millrace/cmd/operate"
	"millrace/cmd/terminal"
	"millrace/express/audit"
)

// TestAuditTell: nothing but a look at everything that finds nothing is a success.
func TestAuditTell(t *testing.T) {
	clean := &audit.Pass{Partitions: 2, Checked: 2, Store: true}
	for name, c := range map[string]struct {
		passes   []*audit.Pass
		silent   []int32
		unserved int
		want     error
	}{
		"clean":            {passes: []*audit.Pass{clean, clean}},
		"moved":            {passes: []*audit.Pass{{Partitions: 2, Checked: 1, Skipped: 1, Moved: 1}}},
		"findings":         {passes: []*audit.Pass{clean, {Counts: map[audit.Kind]int{audit.Gap: 2}}}, want: operate.ErrFindings},
		"skipped":          {passes: []*audit.Pass{clean, {Partitions: 1, Skipped: 1}}, want: operate.ErrUnchecked},
		"a silent broker":  {passes: []*audit.Pass{clean}, silent: []int32{3}, want: operate.ErrUnchecked},
		"a broker is dead": {passes: []*audit.Pass{clean}, unserved: 4, want: operate.ErrUnchecked},
		"nobody answered":  {want: operate.ErrUnchecked},
	} {
		var out bytes.Buffer
		a := operate.Audit{IO: &terminal.IO{Out: &out, ErrOut: &out, Output: terminal.JSON}}
		if err := a.Tell(c.passes, c.silent, c.unserved); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		var r audit.Report
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Clean != (c.want == nil) {
			t.Errorf("%s: %s", name, out.String())
		}
		a.Output = terminal.Table
		_ = a.Tell(c.passes, c.silent, c.unserved)
	}
}
