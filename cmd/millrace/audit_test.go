package main

import (
	"context"
	"fmt"
	"testing"

	"millrace/base/kv"
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
