package comply

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func now() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

// good is an installation at which nothing is amiss.
func good() State {
	recent := now().Add(-24 * time.Hour)
	return State{
		Time: now(), Installation: "test",
		Listeners: []Listener{{Cluster: "default", Name: "CLIENT_IAM", Address: "10.0.0.1:9098", TLS: true, Mechanisms: []string{"AWS_MSK_IAM"}, Groups: []string{"apps"}}},
		AtRest:    []AtRest{{Cluster: "default", On: true}},
		Keys:      &Keys{KMS: "aws-kms", Rotated: recent},
		Authority: &Authority{Expires: now().AddDate(9, 0, 0), Leaves: 3, Soonest: now().AddDate(0, 2, 0)},
		Users:     []User{{Name: "app", Kind: "iam", Created: recent, Used: recent, Keys: []Key{{ID: "AKIA1", Active: true, Created: recent, Used: recent}}}},
		RootUsed:  &time.Time{},
		Everybody: []string{}, Unused: []Unused{}, Observed: 30 * 24 * time.Hour, OpenACL: []string{},
		Trail:      &Trail{Chains: 2, Oldest: recent, Shipped: true},
		Alerts:     []string{},
		Backups:    []Backup{{Cluster: "default", At: recent}},
		DataAudits: []DataAudit{{Cluster: "default", At: recent}},
		Retention:  []Topic{},
		API:        &API{TLS: true, Signed: true},
	}
}

// statuses by control, over all standards.
func statuses(t *testing.T, s State) map[string]Result {
	t.Helper()
	all := map[string]Result{}
	for _, name := range Standards() {
		r, err := Check(name, s)
		if err != nil {
			t.Fatal(err)
		}
		if r.Passed+r.Failed+r.Unknown != len(r.Results) {
			t.Error(name, "counts")
		}
		for _, result := range r.Results {
			all[result.Control] = result
			if len(result.Evidence) == 0 || slices.Contains(result.Evidence, "") || result.Status == Fail && result.Advice == "" { // CO3
				t.Errorf("%s: %+v", name, result)
			}
		}
	}
	return all
}

func TestGoodPasses(t *testing.T) {
	for id, r := range statuses(t, good()) {
		if r.Status != Pass {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

// CO1: without facts nothing passes; and without any one of them the others do not change.
func TestNothingPassesByDefault(t *testing.T) {
	for id, r := range statuses(t, State{Time: now()}) {
		if r.Status != Unknown {
			t.Errorf("%s: %+v", id, r)
		}
	}
	kind := reflect.TypeFor[State]()
	for i := range kind.NumField() {
		f := kind.Field(i)
		if k := f.Type.Kind(); k != reflect.Slice && k != reflect.Pointer {
			continue
		}
		s := good()
		reflect.ValueOf(&s).Elem().Field(i).SetZero()
		unknown := 0
		for id, r := range statuses(t, s) {
			if r.Status == Unknown {
				unknown++
			} else if r.Status != Pass {
				t.Errorf("without %s: %s %+v", f.Name, id, r)
			}
		}
		if unknown == 0 {
			t.Errorf("nobody misses %s", f.Name)
		}
	}
}

func TestFailures(t *testing.T) {
	old := now().AddDate(-2, 0, 0)
	for name, c := range map[string]struct {
		change func(*State)
		fails  []string
	}{
		"plaintext":        {func(s *State) { s.Listeners[0].TLS = false }, []string{"transit"}},
		"loopback":         {func(s *State) { s.Listeners[0].Loopback, s.Listeners[0].TLS = true, false }, []string{"transit"}},
		"anonymous":        {func(s *State) { s.Listeners[0].Mechanisms = []string{"SCRAM-SHA-512", "NONE"} }, []string{"login"}},
		"any address":      {func(s *State) { s.Listeners[0].Groups = nil }, []string{"networks"}},
		"unsigned":         {func(s *State) { s.API.Signed = false }, []string{"api"}},
		"open api":         {func(s *State) { s.API.TLS = false }, []string{"api"}},
		"plain data":       {func(s *State) { s.AtRest[0].On = false }, []string{"at-rest"}},
		"old plain data":   {func(s *State) { s.AtRest[0].Plain = 3 }, []string{"at-rest"}},
		"old data key":     {func(s *State) { s.Keys.Rotated = old }, []string{"data-keys"}},
		"certificate ends": {func(s *State) { s.Authority.Soonest = now().Add(time.Hour) }, []string{"certificates"}},
		"ca ends":          {func(s *State) { s.Authority.Expires = now().Add(time.Hour) }, []string{"certificates"}},
		"old key":          {func(s *State) { s.Users[0].Keys[0].Created = old }, []string{"access-keys"}},
		"disabled old key": {func(s *State) { s.Users[0].Keys[0].Created, s.Users[0].Keys[0].Active = old, false }, nil},
		"idle user":        {func(s *State) { s.Users[0].Created, s.Users[0].Used = old, old }, []string{"idle-logins"}},
		"idle key":         {func(s *State) { s.Users[0].Keys[0].Created, s.Users[0].Keys[0].Used = old, old }, []string{"access-keys", "idle-logins"}},
		"root":             {func(s *State) { yesterday := now().AddDate(0, 0, -1); s.RootUsed = &yesterday }, []string{"root-key"}},
		"wide":             {func(s *State) { s.Everybody = []string{"a policy allows *"} }, []string{"wide-grants"}},
		"unused":           {func(s *State) { s.Unused = []Unused{{"User:a", "kafka-cluster:DeleteTopic"}} }, []string{"unused-rights"}},
		"open":             {func(s *State) { s.OpenACL = []string{"default"} }, []string{"open-acls"}},
		"tampered":         {func(s *State) { s.Trail.Findings = []string{"line 7"} }, []string{"trail"}},
		"no trail":         {func(s *State) { s.Trail.Chains = 0 }, []string{"trail"}},
		"lost":             {func(s *State) { s.Trail.Lost = 7 }, []string{"trail"}},
		"one copy":         {func(s *State) { s.Trail.Shipped = false }, []string{"trail-copies"}},
		"alert":            {func(s *State) { s.Alerts = []string{"guessed"} }, []string{"alerts"}},
		"no backup":        {func(s *State) { s.Backups[0].At = time.Time{} }, []string{"backups"}},
		"old backup":       {func(s *State) { s.Backups[0].At = old }, []string{"backups"}},
		"no audit":         {func(s *State) { s.DataAudits[0].At = time.Time{} }, []string{"data-audits"}},
		"old audit":        {func(s *State) { s.DataAudits[0].At = old }, []string{"data-audits"}},
		"bad data":         {func(s *State) { s.DataAudits[0].Findings = 1 }, []string{"data-audits"}},
		"for ever":         {func(s *State) { s.Retention = []Topic{{"default", "orders"}} }, []string{"retention"}},
	} {
		s := good()
		c.change(&s)
		var fails []string
		for id, r := range statuses(t, s) {
			if r.Status == Fail {
				fails = append(fails, id)
			}
		}
		slices.Sort(fails)
		if !slices.Equal(fails, c.fails) {
			t.Errorf("%s: %v fail, want %v", name, fails, c.fails)
		}
	}
}

// CO2: controls and standards name each other.
func TestStandards(t *testing.T) {
	known, used := map[string]bool{}, map[string]bool{}
	for _, c := range controls() {
		if known[c.id] {
			t.Error("twice:", c.id)
		}
		known[c.id] = true
	}
	for name, s := range standards() {
		for id, asked := range s.asks {
			used[id] = true
			if !known[id] || asked == "" {
				t.Errorf("%s asks for %q by %q", name, id, asked)
			}
		}
		r, err := Check(strings.ToUpper(name), good())
		if err != nil || len(r.Results) != len(s.asks) {
			t.Errorf("%s: %d results, %v", name, len(r.Results), err)
		}
	}
	for id := range known {
		if !used[id] {
			t.Error("nobody asks for", id)
		}
	}
	if _, err := Check("iso", good()); !errors.Is(err, ErrStandard) {
		t.Error(err)
	}
}

func TestPage(t *testing.T) {
	s := good()
	s.Retention = []Topic{{"default", "<script>alert(1)</script>"}}
	r, err := Check("gdpr", s)
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(r.WriteHTML(&a), r.WriteHTML(&b)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GDPR", "Art. 17", "&lt;script&gt;", fmt.Sprintf("%d passed, 1 failed", r.Passed), "What to do"} {
		if !strings.Contains(a.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(a.String(), "<script>") || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("page")
	}
}
