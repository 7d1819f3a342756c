package comply

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrStandard: no standard has this name.
var ErrStandard = errors.New("comply: unknown standard")

// standard says which paragraphs ask for which control.
type standard struct {
	title string
	asks  map[string]string // control -> paragraphs
}

// standards lists all by name.
func standards() map[string]standard {
	return map[string]standard{
		"soc2": {"SOC 2, Trust Services Criteria 2017 (rev. 2022)", map[string]string{
			"transit": "CC6.7", "login": "CC6.1", "networks": "CC6.6", "api": "CC6.1, CC6.6", "at-rest": "CC6.1, C1.1", "data-keys": "CC6.1",
			"certificates": "CC6.1, A1.1", "access-keys": "CC6.1", "idle-logins": "CC6.2, CC6.3", "root-key": "CC6.3", "wide-grants": "CC6.3",
			"unused-rights": "CC6.3", "open-acls": "CC6.1", "trail": "CC7.2", "trail-copies": "CC7.2, CC7.3", "alerts": "CC7.3", "backups": "A1.2",
			"data-audits": "PI1.5", "retention": "C1.2",
		}},
		"hipaa": {"HIPAA Security Rule, 45 CFR 164", map[string]string{
			"transit": "164.312(e)(1), (e)(2)(ii)", "login": "164.312(d)", "networks": "164.312(a)(1)", "api": "164.312(a)(1), (e)(1)",
			"at-rest": "164.312(a)(2)(iv)", "data-keys": "164.312(a)(2)(iv)", "certificates": "164.312(e)(1)", "access-keys": "164.308(a)(5)(ii)(D)",
			"idle-logins": "164.308(a)(3)(ii)(C)", "root-key": "164.312(a)(2)(i)", "wide-grants": "164.308(a)(4)", "unused-rights": "164.308(a)(4)(ii)(C)",
			"open-acls": "164.312(a)(1)", "trail": "164.312(b)", "trail-copies": "164.312(b)", "alerts": "164.308(a)(1)(ii)(D), (a)(6)",
			"backups": "164.308(a)(7)(ii)(A)", "data-audits": "164.312(c)(1)",
		}},
		"gdpr": {"GDPR, Regulation (EU) 2016/679", map[string]string{
			"transit": "Art. 32(1)(a)", "login": "Art. 32(1)(b)", "networks": "Art. 32(1)(b)", "api": "Art. 32(1)(b)", "at-rest": "Art. 32(1)(a)",
			"data-keys": "Art. 32(1)(a)", "certificates": "Art. 32(1)(b)", "idle-logins": "Art. 32(4)", "root-key": "Art. 32(4)",
			"wide-grants": "Art. 25(2)", "unused-rights": "Art. 25(2), Art. 5(1)(c)", "open-acls": "Art. 25(2)", "trail": "Art. 5(2), Art. 30",
			"trail-copies": "Art. 5(2)", "alerts": "Art. 33", "backups": "Art. 32(1)(c)", "data-audits": "Art. 5(1)(f), Art. 32(1)(d)", "retention": "Art. 5(1)(e), Art. 17",
		}},
		"ccpa": {"CCPA as amended, Cal. Civ. Code 1798.100 ff.", map[string]string{
			"transit": "1798.81.5(b), 1798.150(a)", "login": "1798.81.5(b)", "networks": "1798.81.5(b)", "api": "1798.81.5(b)", "at-rest": "1798.150(a)",
			"data-keys": "1798.150(a)", "idle-logins": "1798.81.5(b)", "wide-grants": "1798.100(c), (e)", "unused-rights": "1798.100(c)",
			"open-acls": "1798.100(e)", "trail": "1798.185(a)(15)", "alerts": "1798.82", "retention": "1798.100(a)(3)",
		}},
		"pci-dss": {"PCI DSS 4.0.1", map[string]string{
			"transit": "4.2.1", "login": "8.3.1", "networks": "1.3.1, 1.4.2", "api": "2.2.7, 8.6", "at-rest": "3.5.1", "data-keys": "3.6.1, 3.7.4",
			"certificates": "4.2.1.1", "access-keys": "8.3.9, 8.6.3", "idle-logins": "8.2.6", "root-key": "8.2.2", "wide-grants": "7.2.2", "unused-rights": "7.2.4",
			"open-acls": "7.3.3", "trail": "10.2, 10.3.2, 10.3.4", "trail-copies": "10.3.3", "alerts": "10.4.1", "backups": "12.10.1", "data-audits": "11.5.2", "retention": "3.2.1",
		}},
	}
}

// Standards lists the names that Check takes, sorted.
func Standards() []string { return slices.Sorted(maps.Keys(standards())) }

func find(name string) (standard, error) {
	s, ok := standards()[strings.ToLower(name)]
	if !ok {
		return s, fmt.Errorf("%w %q: use one of %s", ErrStandard, name, strings.Join(Standards(), ", "))
	}
	return s, nil
}
