package watch

import (
	"slices"
	"strings"

	"millrace/secure/breadth"
	"millrace/secure/trail"
)

// widened says in what way an administrative call came to allow everything or everybody; "" if it did not. It goes by what the state holds
// after and did not hold before, in the forms of IAM policies and of ACLs.
func widened(e trail.Event) string {
	before := breadth.Grants(e.Before)
	for _, grant := range breadth.Grants(e.After) {
		if !slices.Contains(before, grant) {
			return grant
		}
	}
	return ""
}

// unprotected says which protection an administrative call turned off; "" if none.
func unprotected(e trail.Event) string {
	before := switches(e.Before)
	for name, on := range switches(e.After) {
		if was, known := before[name]; known && was && !on {
			return name + " was turned off"
		}
	}
	return ""
}

// switches are the protections that a state tells of, by their place in it: on or off.
func switches(state []byte) map[string]bool {
	found := map[string]bool{}
	breadth.Walk(state, func(path string, object map[string]any) {
		for key, value := range object {
			on, ok := value.(bool)
			if !ok {
				continue
			}
			name := strings.TrimPrefix(path+"."+key, ".")
			switch strings.ToLower(key) {
			case "tls", "encrypt", "encrypted", "encryption", "audit", "trail", "enabled", "secure":
				found[name] = on
			case "insecure", "anonymous", "allow.everyone.if.no.acl.found", "public":
				found["refusing "+name] = !on
			}
		}
	})
	return found
}
