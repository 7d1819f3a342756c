package configuration

import (
	"errors"
	"fmt"
	"strings"

	"millrace/control"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrExists: the name is taken.
	ErrExists = errors.New("a resource with this name already exists")
	// ErrNotFound: there is no such configuration, or no such revision of it.
	ErrNotFound = errors.New("no such configuration")
	// ErrInUse: a cluster uses the configuration.
	ErrInUse = errors.New("configuration is in use by one or more clusters")
	// ErrInvalid: a name, a description or properties that cannot be. For properties the error is a *Faults.
	ErrInvalid = errors.New("invalid configuration")
	// ErrLimit: there are as many configurations, or revisions, as there can be.
	ErrLimit = errors.New("limit of configurations reached")
	// ErrState: the configuration is being deleted.
	ErrState = errors.New("configuration is being deleted")
	// ErrServerless: a Serverless cluster takes no configuration.
	ErrServerless = errors.New("a serverless cluster takes no configuration")
	// ErrNewer: a record was written by a newer version of Millrace.
	ErrNewer = errors.New("configuration record written by a newer version of millrace")
	// ErrRefused: brokers do not take a property; the message has their words.
	ErrRefused = errors.New("brokers refuse the configuration")
)

// Fault is what is wrong with one property.
type Fault struct {
	Name   string // "": of the text, or of several properties together
	Line   int    // from 1; 0: of none alone
	Reason string // for people: "not writable", "not a number; must be between 0 and 9"
}

// String is the fault as a sentence without an end.
func (f Fault) String() string {
	s := f.Reason
	if f.Name != "" {
		s = f.Name + ": " + s
	}
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	return s
}

// Faults are all that is wrong with the properties of a revision. It matches ErrInvalid.
type Faults []Fault

// mostTold is how many faults a message names.
const mostTold = 20

// Error names the first of them.
func (f *Faults) Error() string {
	var b strings.Builder
	b.WriteString("invalid server properties")
	for i, one := range *f {
		if i == mostTold {
			fmt.Fprintf(&b, "; and %d more", len(*f)-mostTold)
			break
		}
		b.WriteString(map[bool]string{true: ": ", false: "; "}[i == 0])
		b.WriteString(one.String())
	}
	return b.String()
}

// Unwrap has it match ErrInvalid.
func (f *Faults) Unwrap() error { return ErrInvalid }

// Rules are what brokers say of values. They must know every Writable that is Live or Start.
type Rules interface {
	// Known says whether brokers have a property of the name, whether or not a configuration may have it.
	Known(name string) bool
	// Fault says what is wrong with a value; "": nothing.
	Fault(name, value string) string
	// Together says which contradict each other, of values that are right by themselves; "": none.
	Together(values map[string]string) string
}

// Check reads the properties of a revision and names all that is wrong with them. The error is a *Faults.
func Check(text []byte, rules Rules) (map[string]string, error) {
	properties, err := Parse(text)
	if err != nil {
		return nil, &Faults{{Reason: err.Error()}}
	}
	var faults Faults
	values, brokers := make(map[string]string, len(properties)), map[string]string{}
	for _, p := range properties {
		value := strings.TrimSpace(p.Value) // as Kafka reads all of its settings
		var reason string
		w, ok := writable(p.Name)
		switch {
		case !ok && rules.Known(p.Name):
			reason = "it is not writable"
		case !ok:
			reason = "there is no such property"
		case w.fault != nil:
			reason = w.fault(value)
		default:
			reason = rules.Fault(p.Name, value)
			brokers[p.Name] = value
		}
		if reason != "" {
			faults = append(faults, Fault{Name: clip(p.Name), Line: p.Line, Reason: reason})
		}
		values[p.Name] = value
	}
	if len(faults) == 0 {
		if reason := rules.Together(brokers); reason != "" {
			faults = append(faults, Fault{Reason: reason})
		}
	}
	if len(faults) > 0 {
		return nil, &faults
	}
	return values, nil
}

// Takes says whether a cluster can have the configuration that its settings name: ErrServerless, or nil.
func Takes(s control.Settings) error {
	if s.Type == control.Serverless && s.Configuration != (control.Revision{}) {
		return ErrServerless
	}
	return nil
}

// clip keeps a hostile text from filling logs and answers.
func clip(text string) string {
	const most = 100
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
