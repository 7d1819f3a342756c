package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"millrace/base/kv"
	"millrace/cmd/terminal"
	"millrace/express/audit"
	"millrace/kafka/topic"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1000": 1000, "64MiB": 64 << 20, "1 kB": 1000, "2GB": 2e9, "off": -1} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "fast", "1.5MiB", "MiB", "99999999999GiB", "9223372036854775807"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

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
		"findings":         {passes: []*audit.Pass{clean, {Counts: map[audit.Kind]int{audit.Gap: 2}}}, want: errFindings},
		"skipped":          {passes: []*audit.Pass{clean, {Partitions: 1, Skipped: 1}}, want: errUnchecked},
		"a silent broker":  {passes: []*audit.Pass{clean}, silent: []int32{3}, want: errUnchecked},
		"a broker is dead": {passes: []*audit.Pass{clean}, unserved: 4, want: errUnchecked},
		"nobody answered":  {want: errUnchecked},
	} {
		var out bytes.Buffer
		a := &app{IO: terminal.IO{Out: &out, ErrOut: &out, Output: terminal.JSON}}
		if err := a.auditTell(c.passes, c.silent, c.unserved); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		var r audit.Report
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Clean != (c.want == nil) {
			t.Errorf("%s: %s", name, out.String())
		}
		a.Output = terminal.Table
		_ = a.auditTell(c.passes, c.silent, c.unserved)
	}
}

// TestAuditsOf: who runs and who does not, and what nobody serves.
func TestAuditsOf(t *testing.T) {
	ctx, store, id := context.Background(), kv.NewMemory(), topic.NewID()
	put := func(key, format string, args ...any) {
		t.Helper()
		if _, err := store.Txn(ctx, nil, []kv.Op{kv.Put("clusters/c/"+key, fmt.Appendf(nil, format, args...))}); err != nil {
			t.Fatal(err)
		}
	}
	put("catalog/topics/t", `{"version":1,"id":%q,"partitions":3}`, id)
	put("catalog/partitions/"+id.String()+"/0", `{"version":1,"owner":1}`)
	put("catalog/partitions/"+id.String()+"/1", `{"version":1,"owner":2}`)
	put("catalog/brokers/1", `{"version":1}`)
	put("catalog/brokers/3", `{"version":1}`)
	put("audited/1", `{"version":1,"broker":1,"answered":7}`)
	put("audited/2", `{"version":1,"broker":2,"answered":6}`)
	got, err := audit.Asked(ctx, store, "clusters/c/")
	if err != nil || got.Unserved != 2 || len(got.Brokers) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []struct {
		id     int32
		live   bool
		answer int64 // -1: none
	}{{1, true, 7}, {3, true, -1}, {2, false, 6}} {
		b := got.Brokers[i]
		if b.ID != want.id || b.Live != want.live || (b.Result == nil) != (want.answer < 0) || b.Result != nil && b.Result.Answered != want.answer {
			t.Errorf("%+v, want %+v", b, want)
		}
	}
}
