package main

import (
	"testing"

	"millrace/control"
)

// TestRightsCleared: none is no principal and no rule, for serve as for a broker; what is wrong is still told.
func TestRightsCleared(t *testing.T) {
	c := rightsConfig{super: control.None, mapping: control.None}
	rules, err := c.rules()
	if faults := c.validate(); len(faults) != 0 || len(c.supers()) != 0 || err != nil {
		t.Errorf("faults %v, super users %q, %v", faults, c.supers(), err)
	}
	if name, err := rules.Principal("CN=alice,O=x"); err != nil || name != "CN=alice,O=x" {
		t.Errorf("mapped to %q, %v", name, err)
	}
	bad := rightsConfig{super: "User:a;none", mapping: "none,none"}
	if faults := bad.validate(); len(faults) != 2 {
		t.Errorf("faults %v, want one of each", faults)
	}
}
