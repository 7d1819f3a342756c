package watch

import (
	"cmp"
	"fmt"
	"strings"

	"millrace/secure/trail"
	"millrace/secure/usage"
)

// apply is all rules on one line.
func (w *Watcher) apply(e trail.Entry) {
	switch {
	case strings.HasPrefix(e.Action, prefix):
		return // what this package told itself
	case e.Kind == trail.Login && e.Outcome == trail.Accepted:
		w.loggedIn(e)
	case e.Outcome == trail.Refused:
		w.refused(e)
	case e.Kind == trail.Admin && e.Outcome == trail.Accepted:
		w.changed(e)
	case e.Kind == trail.System && e.Action == usage.Read:
		w.read(e)
	case e.Kind == trail.System && strings.HasPrefix(e.Action, "trail:"):
		w.raise(TrailDamaged, High, e, e.Writer, "the audit trail of "+e.Writer+" is not whole: "+e.Reason,
			"run `millrace audit verify`, and find out who can write to that directory", nil)
	}
}

func (w *Watcher) refused(e trail.Entry) {
	n, line := max(e.Count, 1), Line{e.Writer, e.N}
	for _, subject := range []string{e.Principal, e.From} {
		if subject == "" {
			continue
		}
		s := w.memory.subject("refused "+subject, e.Time)
		if total := s.refused(e.Time, n, w.cfg.RefusalsWithin, line); total >= w.cfg.Refusals {
			w.raise(RepeatedRefusals, Medium, e, subject,
				fmt.Sprintf("%s was refused %d times within %v, last %s on %s: %s", subject, total, w.cfg.RefusalsWithin, e.Action, cmp.Or(e.Resource, "the cluster"), e.Reason),
				"find out whether a client is set up wrongly or somebody tries doors; an allow-list keeps an address out", s.Evidence)
		}
	}
	if e.Kind == trail.Login && e.Principal != "" {
		w.memory.subject(pair(e), e.Time).refused(e.Time, n, w.cfg.RefusalsWithin, line)
	}
}

// pair is the subject of logins of one principal from one address.
func pair(e trail.Entry) string { return "login " + e.Principal + " " + e.From }

func (w *Watcher) loggedIn(e trail.Entry) {
	if e.Principal == "" {
		return
	}
	if s := w.memory.Subjects[pair(e)]; s != nil {
		if n := s.refusals(e.Time, w.cfg.RefusalsWithin); n >= w.cfg.Guesses {
			w.raise(Guessed, High, e, e.Principal,
				fmt.Sprintf("%s logged in from %s after %d refused attempts within %v", e.Principal, e.From, n, w.cfg.RefusalsWithin),
				"give "+e.Principal+" other credentials unless its owner knows of the attempts", append(s.Evidence[:len(s.Evidence):len(s.Evidence)], Line{e.Writer, e.N}))
		}
		s.Counts = nil
	}
	from := network(e.From)
	if from != "" && w.memory.subject("networks "+e.Principal, e.Time).arrives(from) {
		w.raise(NewNetwork, Low, e, e.Principal, fmt.Sprintf("%s logged in from %s (%s), where it never came from before", e.Principal, e.From, from),
			"ask its owner whether a client moved; otherwise disable its credentials", nil)
	}
}

func (w *Watcher) read(e trail.Entry) {
	s := w.memory.subject("reads "+e.Principal, e.Time)
	read, habit, known := s.reads(e.Time, e.Bytes, w.cfg.Known)
	if known && read >= w.cfg.Least && float64(read) > w.cfg.Times*habit {
		w.raise(UnusualReading, Medium, e, e.Principal,
			fmt.Sprintf("%s read %d MiB within an hour, and is used to %d MiB", e.Principal, read>>20, int64(habit)>>20),
			"find out what it reads (millrace audit log --principal), and whether it should", nil)
	}
}

func (w *Watcher) changed(e trail.Entry) {
	if what := widened(e.Event); what != "" {
		w.raise(PolicyWidened, Medium, e, cmp.Or(e.Principal, "somebody")+" on "+cmp.Or(e.Resource, e.Action),
			fmt.Sprintf("%s by %s: %s", e.Action, cmp.Or(e.Principal, "somebody"), what),
			"narrow it to the actions and resources that are needed; `millrace compliance report` names what is not used", nil)
	}
	if what := unprotected(e.Event); what != "" {
		w.raise(ProtectionOff, High, e, cmp.Or(e.Resource, e.Action), fmt.Sprintf("%s by %s: %s", e.Action, cmp.Or(e.Principal, "somebody"), what),
			"turn it on again, or write down who decided so", nil)
	}
}
