// Package iamtest reads the table of policies, secure/iam/testdata/policies.txt, for all who check that a policy gives the answer that it
// should: the evaluator by itself, and brokers and gateways over the wire. The format is told in secure/iam/testdata/README.md.
//
// T1: a line that is not understood is an error, never passed over.
//
// File: table.go. It is for tests only.
package iamtest

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"millrace/secure/iam/action"
)

// Table is the whole file.
type Table struct {
	APIs   map[string]map[action.Kind]action.Action // what a call checks on each resource of a kind
	Groups []Group

	documents map[string]string
}

// Group is calls of one principal.
type Group struct {
	Name     string
	Line     int
	As       Principal
	Attach   []string // names of documents
	Bound    []string // likewise: session policies
	Resource string   // likewise; "": none
	Tags     map[string]string
	From     netip.Addr
	At       time.Time
	Plain    bool // not encrypted
	Offline  bool // for the evaluator only
	Calls    []Call
}

// Principal is who calls.
type Principal struct {
	Kind    string // root, user or session
	Name    string // of the user or role
	Session string // name of the session
	Tags    map[string]string
}

// Call is one call of Kafka's API, and its answer.
type Call struct {
	Line    int
	API     string
	On      []On
	NoLogin bool // the login is refused, and so everything
	Refused []On // exactly these of On
}

// On is a resource of a call.
type On struct {
	Kind action.Kind
	Name string // "" for the cluster
}

// String writes it as the table does.
func (o On) String() string {
	switch o.Kind {
	case action.OnCluster:
		return "cluster"
	case action.OnTransactionalID:
		return "txn=" + o.Name
	default:
		return string(o.Kind) + "=" + o.Name
	}
}

// String writes the call as the table does, without its answer.
func (c Call) String() string {
	s := c.API
	for _, o := range c.On {
		s += " " + o.String()
	}
	return s
}

// Document is the JSON of a policy for a cluster.
func (t *Table) Document(name string, c action.Cluster) string {
	return strings.NewReplacer(
		"{k}", "arn:aws:kafka:"+c.Region+":"+c.Account, "{c}", c.Name+"/"+c.UUID,
		"{region}", c.Region, "{account}", c.Account, "{cluster}", c.Name, "{uuid}", c.UUID,
	).Replace(t.documents[name])
}

// Needed are the actions that a call needs on one of its resources: the one that it checks, and those that go with it on the
// same resource. Beside them everybody needs Connect.
func (t *Table) Needed(api string, on On) []action.Action {
	first := t.APIs[api][on.Kind]
	needed := []action.Action{first}
	entry, _ := action.Find(first)
	for _, n := range entry.Needs {
		if other, _ := action.Find(n); other.On == on.Kind && n != action.Connect {
			needed = append(needed, n)
		}
	}
	return needed
}

// Read reads a table.
func Read(r io.Reader) (*Table, error) {
	t := &Table{APIs: map[string]map[action.Kind]action.Action{}, documents: map[string]string{}}
	lines := bufio.NewScanner(r)
	number, document := 0, ""
	for lines.Scan() {
		number++
		line := lines.Text()
		if document != "" {
			if line == "}" {
				t.documents[document] += line
				document = ""
			} else {
				t.documents[document] += line + "\n"
			}
			continue
		}
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if words[0] == "policy" && len(words) == 2 && t.documents[words[1]] == "" {
			document = words[1]
			continue
		}
		if err := t.line(words, number); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return t, lines.Err()
}

func (t *Table) line(words []string, number int) error {
	rest := words[1:]
	switch words[0] {
	case "api":
		return t.api(rest)
	case "group":
		t.Groups = append(t.Groups, Group{
			Name: strings.Join(rest, " "), Line: number,
			From: netip.MustParseAddr("127.0.0.1"), At: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC),
		})
		return nil
	}
	if len(t.Groups) == 0 {
		return fmt.Errorf("%q before the first group", words[0])
	}
	g := &t.Groups[len(t.Groups)-1]
	if words[0] == "call" {
		c, err := t.call(rest)
		c.Line = number
		g.Calls = append(g.Calls, c)
		return err
	}
	return t.setting(g, words[0], rest)
}

func (t *Table) api(words []string) error {
	checks := map[action.Kind]action.Action{}
	for _, w := range words[1:] {
		kind, name, _ := strings.Cut(w, ":")
		entry, ok := action.Find(action.Action("kafka-cluster:" + name))
		if !ok || entry.On != kindOf(kind) {
			return fmt.Errorf("%q is not a kind and one of its actions", w)
		}
		checks[entry.On] = entry.Action
	}
	t.APIs[words[0]] = checks
	return nil
}

func kindOf(word string) action.Kind {
	if word == "txn" {
		return action.OnTransactionalID
	}
	return action.Kind(word)
}

func (t *Table) setting(g *Group, word string, rest []string) (err error) {
	known := func(names ...string) error {
		for _, n := range names {
			if t.documents[n] == "" {
				return fmt.Errorf("no policy %q", n)
			}
		}
		return nil
	}
	switch {
	case word == "plain" && len(rest) == 0:
		g.Plain = true
	case word == "offline" && len(rest) == 0:
		g.Offline = true
	case len(rest) == 0:
		return fmt.Errorf("%q says nothing", word)
	case word == "as":
		g.As, err = principal(rest)
	case word == "attach":
		g.Attach, err = rest, known(rest...)
	case word == "bound":
		g.Bound, err = rest, known(rest...)
	case word == "resource":
		g.Resource, err = rest[0], known(rest...)
	case word == "tags":
		g.Tags, err = pairs(rest)
	case word == "from":
		g.From, err = netip.ParseAddr(rest[0])
	case word == "at":
		g.At, err = time.Parse(time.RFC3339, rest[0])
	default:
		return fmt.Errorf("unknown line %q", word)
	}
	return err
}

func principal(words []string) (p Principal, err error) {
	p.Kind = words[0]
	switch {
	case p.Kind == "root" && len(words) == 1:
		return p, nil
	case p.Kind == "user" && len(words) > 1:
		p.Name = words[1]
	case p.Kind == "session" && len(words) > 1:
		var ok bool
		if p.Name, p.Session, ok = strings.Cut(words[1], "/"); !ok {
			return p, fmt.Errorf("a session is ROLE/NAME, not %q", words[1])
		}
	default:
		return p, fmt.Errorf("not a principal: %q", words)
	}
	p.Tags, err = pairs(words[2:])
	return p, err
}

func pairs(words []string) (map[string]string, error) {
	all := map[string]string{}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not KEY=VALUE", w)
		}
		all[k] = v
	}
	return all, nil
}

func (t *Table) call(words []string) (c Call, err error) {
	arrow := slices.Index(words, "->")
	if arrow < 2 || arrow == len(words)-1 || t.APIs[words[0]] == nil {
		return c, fmt.Errorf("a call is API RESOURCE ... -> ANSWER, not %q", words)
	}
	c.API = words[0]
	if c.On, err = t.resources(c.API, words[1:arrow]); err != nil {
		return c, err
	}
	switch answer := words[arrow+1:]; {
	case slices.Equal(answer, []string{"ok"}):
	case slices.Equal(answer, []string{"no", "login"}):
		c.NoLogin = true
	case answer[0] == "refused" && len(answer) > 1:
		if c.Refused, err = t.resources(c.API, answer[1:]); err != nil {
			return c, err
		}
		for _, o := range c.Refused {
			if !slices.Contains(c.On, o) {
				return c, fmt.Errorf("%v is refused, but not asked for", o)
			}
		}
	default:
		return c, fmt.Errorf("unknown answer %q", answer)
	}
	return c, nil
}

func (t *Table) resources(api string, words []string) (all []On, err error) {
	for _, w := range words {
		kind, name, _ := strings.Cut(w, "=")
		o := On{Kind: kindOf(kind), Name: name}
		if t.APIs[api][o.Kind] == "" || (name == "") != (o.Kind == action.OnCluster) {
			return nil, fmt.Errorf("%s has no resource %q", api, w)
		}
		all = append(all, o)
	}
	return all, nil
}
