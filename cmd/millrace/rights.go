package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"millrace/control"
	"millrace/secure/cert"
)

// rightsConfig says who somebody is by their certificate, and who may do everything.
type rightsConfig struct {
	super   string // principals with semicolons between, as super.users of Apache Kafka
	mapping string // as ssl.principal.mapping.rules
}

// flags adds them; empty says what an empty one stands for, and how it is cleared.
func (c *rightsConfig) flags(flags *pflag.FlagSet, empty string) {
	flags.StringVar(&c.super, "super-users", "", "principals who may do everything, as User:admin;User:other; who logged in by IAM has policies instead"+empty)
	flags.StringVar(&c.mapping, "principal-mapping", "",
		"how names in clients' certificates become principals: DEFAULT or RULE:PATTERN/REPLACEMENT/[LU], with commas between"+empty)
}

// validate names every fault.
func (c *rightsConfig) validate() (faults []error) {
	for _, name := range c.supers() {
		if kind, rest, ok := strings.Cut(name, ":"); !ok || kind == "" || rest == "" {
			faults = append(faults, fmt.Errorf("--super-users %q: use TYPE:NAME, such as User:admin", name))
		}
	}
	if _, err := c.rules(); err != nil {
		faults = append(faults, fmt.Errorf("--principal-mapping: %w", err))
	}
	return faults
}

// rules are how names in certificates become principals; none are DEFAULT.
func (c *rightsConfig) rules() (cert.Rules, error) {
	if c.mapping == control.None {
		return cert.Rules{}, nil
	}
	return cert.ParseRules(c.mapping)
}

// supers are the principals, each by itself.
func (c *rightsConfig) supers() (names []string) {
	if c.super == control.None {
		return nil
	}
	for name := range strings.SplitSeq(c.super, ";") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
