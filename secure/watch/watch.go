package watch

import (
	"encoding/json"
	"maps"
	"time"

	"millrace/secure/trail"
)

// Config is read once by New. A zero field takes its default.
type Config struct {
	Refusals       int64         // by one principal or address that raise an alert; default 20
	RefusalsWithin time.Duration // default 5 min
	Guesses        int64         // refused logins before an accepted one; default 5
	Times          float64       // how many times its habit somebody may read; default 10
	Least          int64         // bytes in an hour below which nothing is unusual; default 1 GiB
	Known          int           // hours in which somebody has read before there is a habit; default 6
	Quiet          time.Duration // before the same is told again; default 1 h
	Subjects       int           // principals and addresses that are remembered; default 10,000
}

func (c *Config) fill() {
	setDefault(&c.Refusals, 20)
	setDefault(&c.RefusalsWithin, 5*time.Minute)
	setDefault(&c.Guesses, 5)
	setDefault(&c.Times, 10)
	setDefault(&c.Least, 1<<30)
	setDefault(&c.Known, 6)
	setDefault(&c.Quiet, time.Hour)
	setDefault(&c.Subjects, 10_000)
}

func setDefault[T int | int64 | float64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Rule is the name of one.
type Rule string

// The rules; the package comment says what they look for.
const (
	RepeatedRefusals Rule = "repeated-refusals"
	Guessed          Rule = "guessed"
	NewNetwork       Rule = "new-network"
	UnusualReading   Rule = "unusual-reading"
	PolicyWidened    Rule = "policy-widened"
	ProtectionOff    Rule = "protection-off"
	TrailDamaged     Rule = "trail-damaged"
)

// Severity says how soon somebody should look.
type Severity string

// The severities.
const (
	High   Severity = "high"   // now
	Medium Severity = "medium" // today
	Low    Severity = "low"    // when there is time
)

// Line names a line of the trail.
type Line struct {
	Writer string `json:"writer"`
	N      uint64 `json:"n"`
}

// mostEvidence bounds the lines of one alert: the first ones, and the last.
const mostEvidence = 10

// Alert is something that somebody should look at.
type Alert struct {
	Rule     Rule      `json:"rule"`
	Severity Severity  `json:"severity"`
	Time     time.Time `json:"time"`    // of the event that raised it
	Subject  string    `json:"subject"` // principal, address or chain that it is about
	What     string    `json:"what"`    // a sentence
	Advice   string    `json:"advice"`  // what to do about it
	Evidence []Line    `json:"evidence"`
}

// Event is the alert as it goes into the trail.
func (a Alert) Event() trail.Event {
	state, err := json.Marshal(a)
	if err != nil {
		state = nil // plain data always encodes
	}
	return trail.Event{Time: a.Time, Kind: trail.System, Action: prefix + string(a.Rule), Outcome: trail.Accepted, Principal: a.Subject, Reason: a.What, After: state}
}

// prefix of the action of alerts in the trail.
const prefix = "watch:"

// Action is that of all alerts in the trail, as trail.Filter takes it.
const Action = prefix + "*"

// FromEvent gives back the alert of an event; ok is false where it holds none.
func FromEvent(e trail.Event) (a Alert, ok bool) {
	if err := json.Unmarshal(e.After, &a); err != nil {
		return Alert{}, false
	}
	return a, string(e.Action) == prefix+string(a.Rule)
}

// Watcher applies the rules to a trail. Make one with New.
type Watcher struct {
	cfg    Config
	memory *memory
	alerts []Alert // of the Observe under way
}

// New returns a Watcher that knows nothing yet.
func New(cfg Config) *Watcher {
	cfg.fill()
	return &Watcher{cfg: cfg, memory: newMemory(cfg.Subjects)}
}

// Observe takes the next line and returns what it raises. Lines that were observed before raise nothing.
func (w *Watcher) Observe(e trail.Entry) []Alert {
	if e.N <= w.memory.Seen[e.Writer] {
		return nil
	}
	w.memory.Seen[e.Writer] = e.N
	w.alerts = nil
	w.apply(e)
	return w.alerts
}

// raise makes an alert unless the same was told lately.
func (w *Watcher) raise(rule Rule, severity Severity, e trail.Entry, subject, what, advice string, evidence []Line) {
	key := string(rule) + " " + subject
	s := w.memory.subject(key, e.Time)
	if !s.Told.IsZero() && e.Time.Before(s.Told.Add(w.cfg.Quiet)) {
		return
	}
	s.Told = e.Time
	if len(evidence) == 0 {
		evidence = []Line{{e.Writer, e.N}}
	}
	w.alerts = append(w.alerts, Alert{
		Rule: rule, Severity: severity, Time: e.Time, Subject: subject, What: what, Advice: advice, Evidence: evidence,
	})
}

// Seen are the last lines that were observed, by writer: a copy.
func (w *Watcher) Seen() map[string]uint64 { return maps.Clone(w.memory.Seen) }

// State is what the Watcher remembers, for Restore.
func (w *Watcher) State() ([]byte, error) { return json.Marshal(w.memory) }

// Restore goes on from a State. State of a newer version is ErrNewer; the Watcher then knows what it knew before.
func (w *Watcher) Restore(state []byte) error {
	m := newMemory(w.cfg.Subjects)
	if err := m.restore(state); err != nil {
		return err
	}
	w.memory = m
	return nil
}
