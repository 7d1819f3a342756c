package action

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestARNs: what an ARN is made of comes back from it (A2).
func TestARNs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Cluster{
			Region: rapid.StringMatching(`[a-z0-9-]{0,12}`).Draw(t, "region"), Account: rapid.StringMatching(`[0-9]{12}`).Draw(t, "account"),
			Name: rapid.StringMatching(`[A-Za-z0-9-]{1,20}`).Draw(t, "name"), UUID: rapid.StringMatching(`[a-zA-Z0-9_-]{1,22}`).Draw(t, "uuid"),
		}
		kind := rapid.SampledFrom([]Kind{OnCluster, OnTopic, OnGroup, OnTransactionalID}).Draw(t, "kind")
		name := rapid.String().Draw(t, "resource")
		if kind == OnCluster {
			name = ""
		}
		arn := c.Resource(kind, name)
		if kind != OnCluster && arn != c.Prefix(kind)+name {
			t.Fatalf("%s is not %s and the name", arn, c.Prefix(kind))
		}
		gotC, gotKind, gotName, err := ParseARN(arn)
		if err != nil || gotC != c || gotKind != kind || gotName != name {
			t.Fatalf("%s: %+v, %s, %q, %v", arn, gotC, gotKind, gotName, err)
		}
	})
	for _, bad := range []string{"", "*", "arn:aws:kafka:r:1:cluster/a", "arn:aws:s3:r:1:cluster/a/b", "arn:aws:kafka:r:1:cluster/a/b/c", "arn:aws:kafka:r:1:topic/a/b", "arn:aws:kafka:r:1:queue/a/b/c"} {
		if _, _, _, err := ParseARN(bad); !errors.Is(err, ErrARN) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestTable: 19 actions, each once, and what they need is there (A1).
func TestTable(t *testing.T) {
	seen := map[Action]bool{}
	for _, e := range Table() {
		if seen[e.Action] || !strings.HasPrefix(string(e.Action), "kafka-cluster:") {
			t.Errorf("%s stands there twice, or is none", e.Action)
		}
		seen[e.Action] = true
		for _, n := range e.Needs {
			if _, ok := Find(n); !ok {
				t.Errorf("%s needs %s, which there is not", e.Action, n)
			}
		}
	}
	if len(seen) != 19 {
		t.Errorf("%d actions", len(seen))
	}
}
