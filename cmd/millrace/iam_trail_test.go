package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"millrace/secure/iam"
	"millrace/secure/trail"
)

// TestIAMChangesAreToldBeforeAndAfter: each change of a user, role, policy, key or cluster tells what was before and what is after, without
// a secret; what was before is what the change before it left.
func TestIAMChangesAreToldBeforeAndAfter(t *testing.T) {
	w := newIAMWorld(t)
	narrow := w.file(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kafka-cluster:Connect","Resource":"*"}}`)
	wide := w.file(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	trust := w.file(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}`)
	var key iam.NewKey
	w.must("", "user", "create", "alice", "--tag", "team=red")
	w.json(&key, "key", "create", "alice")
	for _, args := range [][]string{
		{"user", "tag", "alice", "team=blue"}, {"user", "attach", "alice", "MillraceProducer"}, {"user", "put-policy", "alice", "own", narrow},
		{"user", "put-policy", "alice", "own", wide}, {"user", "detach", "alice", "MillraceProducer"}, {"user", "delete-policy", "alice", "own"},
		{"key", "disable", key.ID}, {"key", "enable", key.ID}, {"key", "delete", key.ID}, {"user", "delete", "alice"},
		{"role", "create", "app", "--trust-user", "bob"}, {"role", "trust", "app", trust}, {"role", "delete", "app"},
		{"policy", "create", "orders", narrow}, {"policy", "set", "orders", wide}, {"policy", "delete", "orders"},
		{"cluster-policy", "set", trust}, {"cluster-policy", "tags", "a=b"}, {"cluster-policy", "tags", "a=c"},
	} {
		if args[0] == "role" && args[1] == "create" {
			w.must("", "user", "create", "bob")
		}
		if args[0] == "cluster-policy" && args[1] == "set" {
			args[2] = w.file(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kafka-cluster:Connect","Resource":"*"}}`)
		}
		w.must("", args...)
	}
	w.must("", "cluster-policy", "delete")
	w.fails(exitFailed, "not found", "user", "tag", "nobody", "a=b")

	left := map[string]json.RawMessage{} // by what it is the state of
	told := map[string]int{}
	for _, e := range w.events.all {
		if e.Kind != trail.Admin {
			continue
		}
		text, err := json.Marshal(e)
		if err != nil || bytes.Contains(text, []byte(key.Secret)) {
			t.Errorf("a secret on record, or %v: %s", err, text)
		}
		of := e.Resource
		for _, kind := range []string{"AccessKey", "ClusterPolicy", "TagResource"} {
			if strings.Contains(e.Action, kind) {
				of += " " + kind
			}
		}
		verb, _, _ := strings.Cut(e.Action, ":")
		name := strings.TrimPrefix(e.Action, verb+":")
		switch {
		case e.Outcome == trail.Failed:
			if e.Before != nil || e.After != nil {
				t.Errorf("%s changed nothing, and tells of %s, %s", e.Action, e.Before, e.After)
			}
			continue
		case strings.HasPrefix(name, "Create") && name != "CreatePolicyVersion":
			if e.Before != nil || e.After == nil {
				t.Errorf("%s: %s, %s", e.Action, e.Before, e.After)
			}
			continue
		case strings.HasPrefix(name, "Delete") && !strings.HasSuffix(name, "UserPolicy"):
			if e.Before == nil || e.After != nil {
				t.Errorf("%s: %s, %s", e.Action, e.Before, e.After)
			}
		case name == "PutClusterPolicy":
			if e.Before != nil || e.After == nil { // there was none
				t.Errorf("%s: %s, %s", e.Action, e.Before, e.After)
			}
		default:
			if e.Before == nil || e.After == nil || bytes.Equal(e.Before, e.After) {
				t.Errorf("%s: %s, %s", e.Action, e.Before, e.After)
			}
		}
		if before, ok := left[of]; ok && name != "PutClusterPolicy" && !bytes.Equal(before, e.Before) {
			t.Errorf("%s: %s was left, and %s found", e.Action, before, e.Before)
		}
		left[of] = e.After
		if strings.Contains(e.Action, "AccessKey") {
			delete(left, e.Resource) // the user's record lists the keys
		}
		told[name]++
	}
	if len(told) < 15 {
		t.Errorf("only %v", told)
	}
}
