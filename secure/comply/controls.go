package comply

import (
	"fmt"
	"strings"
	"time"
)

// Status is what came of one control.
type Status string

// The statuses.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown" // a fact is missing
)

// Bounds that the controls go by.
const (
	keyAge       = 90 * 24 * time.Hour  // of an access key
	idleAge      = 90 * 24 * time.Hour  // of a login that nobody uses
	dataKeyAge   = 365 * 24 * time.Hour // of a data key
	certificate  = 14 * 24 * time.Hour  // that a certificate in use must have left
	authorityAge = 90 * 24 * time.Hour  // that the CA must have left
	backupAge    = 7 * 24 * time.Hour
	auditAge     = 31 * 24 * time.Hour
	rootAge      = 30 * 24 * time.Hour
	observed     = 7 * 24 * time.Hour // before "unused" says something
)

// outcome is what a check found: faults, or what shows that there are none.
type outcome struct {
	unknown string   // which fact is missing
	faults  []string // each a sentence
	shown   string
}

// control is one thing that is checked.
type control struct {
	id     string
	title  string
	advice string
	check  func(State) outcome
}

// unknown is an outcome for a fact that is not there.
func unknown(fact string) outcome { return outcome{unknown: fact} }

// controls lists all.
func controls() []control {
	return []control{
		{"transit", "Records and logins are encrypted on the way", "turn TLS on: millrace serve --secure, or --auth without plaintext", transit},
		{"login", "Everybody who connects has logged in", "take the listener without a login away, or bind it to loopback", logins},
		{"networks", "Listeners take only the networks that need them", "millrace network group create, and attach it to the listener", networks},
		{"api", "The control plane takes signed and encrypted calls only", "start serve with --secure", controlPlane},
		{"at-rest", "Records are encrypted where they rest", "start serve with --kms, or --secure; what was written before is rewritten in time, or at once by a roll and a compaction", atRest},
		{"data-keys", "Data keys are wrapped by a key outside the data, and change", "millrace kms rotate", dataKeys},
		{"certificates", "Certificates and the CA are valid for long enough", "see millrace cert list; brokers renew by themselves unless the control plane is away", certificates},
		{"access-keys", "Access keys are not older than 90 days", "millrace iam key create, change the clients, then millrace iam key delete", accessKeys},
		{"idle-logins", "Logins that nobody uses are gone", "disable or delete them", idleLogins},
		{"root-key", "The root key is for emergencies", "make a user with the rights that are needed: millrace iam user create", rootKey},
		{"wide-grants", "No right goes to everybody, and none is for everything", "name principals, actions and resources", wideGrants},
		{"unused-rights", "Rights that are not used are taken away", "take them out of the policy: the report names them", unusedRights},
		{"open-acls", "What no ACL speaks of is refused", "set allow.everyone.if.no.acl.found=false, after making the ACLs that clients need", openACLs},
		{"trail", "Logins, refusals and administrative calls are on record, and the record is whole", "millrace audit verify names what is missing", auditTrail},
		{"trail-copies", "The record leaves the host", "serve --audit-ship with a bucket or a log group", trailCopies},
		{"alerts", "Nothing of high severity waits for somebody to look", "millrace audit alerts", alerts},
		{"backups", "There is a backup of the metadata, a week old at most", "millrace backup --to, from a timer", backups},
		{"data-audits", "What was acknowledged was read back within a month, and is whole", "millrace audit", dataAudits},
		{"retention", "No topic keeps records for ever", "set retention.ms for the topics that the report names", retention},
	}
}

func transit(s State) outcome {
	if s.Listeners == nil {
		return unknown("listeners")
	}
	var o outcome
	n := 0
	for _, l := range s.Listeners {
		if l.TLS {
			n++
		} else {
			o.faults = append(o.faults, fmt.Sprintf("listener %s of %s at %s has no TLS%s", l.Name, l.Cluster, l.Address, onlyLoopback(l)))
		}
	}
	o.shown = fmt.Sprintf("all %d listeners have TLS", n)
	return o
}

func onlyLoopback(l Listener) string {
	if l.Loopback {
		return " (it is on loopback)"
	}
	return ""
}

func logins(s State) outcome {
	if s.Listeners == nil {
		return unknown("listeners")
	}
	var o outcome
	for _, l := range s.Listeners {
		for _, m := range l.Mechanisms {
			if m == "NONE" {
				o.faults = append(o.faults, fmt.Sprintf("listener %s of %s at %s lets anybody in%s", l.Name, l.Cluster, l.Address, onlyLoopback(l)))
			}
		}
	}
	o.shown = fmt.Sprintf("all %d listeners ask for a login", len(s.Listeners))
	return o
}

func networks(s State) outcome {
	if s.Listeners == nil {
		return unknown("listeners")
	}
	var o outcome
	for _, l := range s.Listeners {
		if !l.Loopback && len(l.Groups) == 0 {
			o.faults = append(o.faults, fmt.Sprintf("listener %s of %s at %s takes connections from any address", l.Name, l.Cluster, l.Address))
		}
	}
	o.shown = "every listener is on loopback or has an allow-list"
	return o
}

func controlPlane(s State) outcome {
	if s.API == nil {
		return unknown("API")
	}
	var o outcome
	if !s.API.Signed {
		o.faults = append(o.faults, "calls that change something need no signature")
	}
	if !s.API.TLS && !s.API.Loopback {
		o.faults = append(o.faults, "calls are not encrypted on the way")
	}
	o.shown = "calls are signed; the API is on loopback or has TLS"
	return o
}

func atRest(s State) outcome {
	if s.AtRest == nil {
		return unknown("encryption at rest")
	}
	var o outcome
	for _, c := range s.AtRest {
		switch {
		case !c.On:
			o.faults = append(o.faults, "cluster "+c.Cluster+" is not encrypted")
		case c.Plain > 0:
			o.faults = append(o.faults, fmt.Sprintf("cluster %s has %d files and objects from before it was encrypted", c.Cluster, c.Plain))
		}
	}
	o.shown = fmt.Sprintf("logs, segments, manifests and snapshots of %d clusters are sealed with AES-256-GCM", len(s.AtRest))
	return o
}

func dataKeys(s State) outcome {
	if s.Keys == nil {
		return unknown("data keys")
	}
	o := outcome{shown: fmt.Sprintf("wrapped by %s; the newest is of %s", s.Keys.KMS, day(s.Keys.Rotated))}
	if s.Time.Sub(s.Keys.Rotated) > dataKeyAge {
		o.faults = append(o.faults, "the newest data key is of "+day(s.Keys.Rotated))
	}
	return o
}

func certificates(s State) outcome {
	if s.Authority == nil {
		return unknown("certificates")
	}
	o := outcome{shown: fmt.Sprintf("%d certificates, the first ends on %s; the CA on %s; %d revoked", s.Authority.Leaves, day(s.Authority.Soonest), day(s.Authority.Expires), s.Authority.Revoked)}
	if s.Authority.Leaves > 0 && s.Authority.Soonest.Sub(s.Time) < certificate {
		o.faults = append(o.faults, "a certificate in use ends on "+day(s.Authority.Soonest))
	}
	if s.Authority.Expires.Sub(s.Time) < authorityAge {
		o.faults = append(o.faults, "the CA ends on "+day(s.Authority.Expires))
	}
	return o
}

func accessKeys(s State) outcome {
	if s.Users == nil {
		return unknown("users")
	}
	var o outcome
	n := 0
	for _, u := range s.Users {
		for _, k := range u.Keys {
			if !k.Active {
				continue
			}
			n++
			if s.Time.Sub(k.Created) > keyAge {
				o.faults = append(o.faults, fmt.Sprintf("key %s of %s is of %s", k.ID, u.Name, day(k.Created)))
			}
		}
	}
	o.shown = fmt.Sprintf("%d active keys, none older than 90 days", n)
	return o
}

func idleLogins(s State) outcome {
	if s.Users == nil {
		return unknown("users")
	}
	var o outcome
	for _, u := range s.Users {
		last := u.Used
		if last.Before(u.Created) {
			last = u.Created
		}
		if s.Time.Sub(last) > idleAge {
			o.faults = append(o.faults, fmt.Sprintf("%s user %s did not log in since %s", u.Kind, u.Name, day(last)))
		}
		for _, k := range u.Keys {
			last := k.Used
			if last.Before(k.Created) {
				last = k.Created
			}
			if k.Active && s.Time.Sub(last) > idleAge {
				o.faults = append(o.faults, fmt.Sprintf("key %s of %s was not used since %s", k.ID, u.Name, day(last)))
			}
		}
	}
	o.shown = fmt.Sprintf("all %d logins were used within 90 days, or made", len(s.Users))
	return o
}

func rootKey(s State) outcome {
	if s.RootUsed == nil {
		return unknown("root key")
	}
	if !s.RootUsed.IsZero() && s.Time.Sub(*s.RootUsed) < rootAge {
		return outcome{faults: []string{"the root key was used on " + day(*s.RootUsed)}}
	}
	return outcome{shown: "the root key was not used within 30 days"}
}

func wideGrants(s State) outcome {
	if s.Everybody == nil {
		return unknown("policies")
	}
	return outcome{faults: s.Everybody, shown: "no policy and no ACL is for everybody or for everything"}
}

func unusedRights(s State) outcome {
	if s.Unused == nil || s.Observed < observed {
		return unknown(fmt.Sprintf("use of rights, which was observed for %d days of at least 7", int(s.Observed.Hours()/24)))
	}
	var o outcome
	for _, u := range s.Unused {
		o.faults = append(o.faults, fmt.Sprintf("%s did not use %s", u.Principal, u.Right))
	}
	o.shown = fmt.Sprintf("every right was used within the %d days that were observed", int(s.Observed.Hours()/24))
	return o
}

func openACLs(s State) outcome {
	if s.OpenACL == nil {
		return unknown("ACL defaults")
	}
	var o outcome
	for _, c := range s.OpenACL {
		o.faults = append(o.faults, "cluster "+c+" allows everybody who logged in what no ACL speaks of")
	}
	o.shown = "allow.everyone.if.no.acl.found is off"
	return o
}

func auditTrail(s State) outcome {
	if s.Trail == nil {
		return unknown("audit trail")
	}
	o := outcome{faults: s.Trail.Findings, shown: fmt.Sprintf("%d chains verified, from %s on", s.Trail.Chains, day(s.Trail.Oldest))}
	if s.Trail.Chains == 0 {
		o.faults = append(o.faults, "there is no audit trail")
	}
	if s.Trail.Lost > 0 {
		o.faults = append(o.faults, fmt.Sprintf("%d events found no room in the trail", s.Trail.Lost))
	}
	return o
}

func trailCopies(s State) outcome {
	if s.Trail == nil {
		return unknown("audit trail")
	}
	if !s.Trail.Shipped {
		return outcome{faults: []string{"who has the host has the only copy"}}
	}
	return outcome{shown: "copies are shipped"}
}

func alerts(s State) outcome {
	if s.Alerts == nil {
		return unknown("alerts")
	}
	return outcome{faults: s.Alerts, shown: "none within 30 days"}
}

func backups(s State) outcome {
	if s.Backups == nil {
		return unknown("backups")
	}
	var o outcome
	for _, b := range s.Backups {
		switch {
		case b.At.IsZero():
			o.faults = append(o.faults, "there is no backup of cluster "+b.Cluster)
		case s.Time.Sub(b.At) > backupAge:
			o.faults = append(o.faults, fmt.Sprintf("the newest backup of cluster %s is of %s", b.Cluster, day(b.At)))
		}
	}
	o.shown = fmt.Sprintf("%d clusters have one", len(s.Backups))
	return o
}

func dataAudits(s State) outcome {
	if s.DataAudits == nil {
		return unknown("audits of the data")
	}
	var o outcome
	for _, a := range s.DataAudits {
		switch {
		case a.At.IsZero():
			o.faults = append(o.faults, "cluster "+a.Cluster+" was not read through yet")
		case a.Findings > 0:
			o.faults = append(o.faults, fmt.Sprintf("%d faults in the data of cluster %s", a.Findings, a.Cluster))
		case s.Time.Sub(a.At) > auditAge:
			o.faults = append(o.faults, fmt.Sprintf("cluster %s was last read through on %s", a.Cluster, day(a.At)))
		}
	}
	o.shown = fmt.Sprintf("%d clusters were read through without a finding", len(s.DataAudits))
	return o
}

func retention(s State) outcome {
	if s.Retention == nil {
		return unknown("topics")
	}
	var o outcome
	for _, t := range s.Retention {
		o.faults = append(o.faults, fmt.Sprintf("topic %s of %s keeps records for ever", t.Name, t.Cluster))
	}
	o.shown = "every topic has a bound in time, or is compacted"
	return o
}

func day(t time.Time) string {
	if t.IsZero() {
		return "an unknown day"
	}
	return strings.TrimSuffix(t.UTC().Format("2006-01-02"), " ")
}
