package control_test

import (
	"testing"

	"millrace/base/kv"
	"millrace/control"
)

// TestEnsureClears: super users and mapping stay where nothing is said, change where something is, and go with None, in the record and with
// the brokers.
func TestEnsureClears(t *testing.T) {
	store := kv.NewMemory()
	plane := newPlane(store)
	asked := described(1)
	asked.Auth = control.LoginMTLS
	expect := func(super, mapping, wantSuper, wantMapping string) {
		t.Helper()
		asked.Super, asked.Mapping = super, mapping
		must(t, ensure(plane, asked))
		c, err := plane.Cluster(t.Context(), "c")
		must(t, err)
		spec := specs(t, store)[0].Secure
		if c.Super != wantSuper || c.Mapping != wantMapping || spec.Super != wantSuper || spec.Mapping != wantMapping {
			t.Errorf("after %q, %q: cluster has %q, %q, broker %q, %q; want %q, %q",
				super, mapping, c.Super, c.Mapping, spec.Super, spec.Mapping, wantSuper, wantMapping)
		}
	}
	expect(control.None, control.None, "", "") // a new cluster
	expect("User:a;User:b", "RULE:^CN=(.*)$/$1/", "User:a;User:b", "RULE:^CN=(.*)$/$1/")
	expect("", "", "User:a;User:b", "RULE:^CN=(.*)$/$1/")
	expect("User:c", "", "User:c", "RULE:^CN=(.*)$/$1/")
	expect(control.None, "", "", "RULE:^CN=(.*)$/$1/")
	expect("", control.None, "", "")
	expect("", "", "", "")
}
