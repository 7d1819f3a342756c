package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/secure/trail"
	"millrace/secure/usage"
)

// feed numbers events as one chain and collects what they raise.
type feed struct {
	w      *Watcher
	n      uint64
	now    time.Time
	alerts []Alert
}

func newFeed(cfg Config) *feed { return &feed{w: New(cfg), now: time.Unix(1_000_000, 0)} }

func (f *feed) see(events ...trail.Event) *feed {
	for _, e := range events {
		f.n++
		e.Time = f.now
		f.alerts = append(f.alerts, f.w.Observe(trail.Entry{Writer: "default-1", N: f.n, Event: e})...)
	}
	return f
}

func (f *feed) rules() (rules []Rule) {
	for _, a := range f.alerts {
		rules = append(rules, a.Rule)
	}
	f.alerts = nil
	return rules
}

func (f *feed) expect(t *testing.T, what string, want ...Rule) {
	t.Helper()
	if got := f.rules(); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func login(principal, from string, outcome trail.Outcome) trail.Event {
	return trail.Event{Kind: trail.Login, Action: "kafka-cluster:Connect", Outcome: outcome, Principal: principal, From: from}
}

func times(n int, e trail.Event) []trail.Event { return slices.Repeat([]trail.Event{e}, n) }

func TestRepeatedRefusals(t *testing.T) {
	f := newFeed(Config{Refusals: 10})
	refusal := trail.Event{Kind: trail.Refusal, Action: "kafka-cluster:ReadData", Outcome: trail.Refused, Principal: "User:bob", From: "127.0.0.1", Resource: "topic/pay"}
	f.see(times(9, refusal)...).expect(t, "nine")
	f.see(refusal)
	if len(f.alerts) != 2 || len(f.alerts[0].Evidence) != mostEvidence || f.alerts[0].Evidence[0] != (Line{"default-1", 1}) || f.alerts[0].Evidence[9].N != 10 {
		t.Errorf("%+v", f.alerts) // A1
	}
	f.expect(t, "ten, by principal and by address", RepeatedRefusals, RepeatedRefusals)
	f.see(times(100, refusal)...).expect(t, "told already") // A2
	f.now = f.now.Add(time.Hour)
	f.see(times(9, refusal)...).expect(t, "long after, few")
	counted := refusal
	counted.Count = 5000
	f.see(counted).expect(t, "one line for many", RepeatedRefusals, RepeatedRefusals)
	slow := newFeed(Config{Refusals: 10})
	for range 50 {
		slow.now = slow.now.Add(time.Minute)
		slow.see(refusal)
	}
	slow.expect(t, "one a minute")
}

func TestGuessed(t *testing.T) {
	f := newFeed(Config{Refusals: 1000})
	f.see(times(4, login("User:a", "10.1.1.1", trail.Refused))...).see(login("User:a", "10.1.1.1", trail.Accepted)).expect(t, "four typing errors")
	f.see(times(5, login("User:a", "10.1.1.1", trail.Refused))...).see(login("User:a", "10.1.1.2", trail.Accepted)).expect(t, "another address")
	f.see(login("User:b", "10.1.1.1", trail.Accepted)).expect(t, "another principal")
	f.see(login("User:a", "10.1.1.1", trail.Accepted)).expect(t, "guessed", Guessed)
	f.now = f.now.Add(2 * time.Hour)
	f.see(login("User:a", "10.1.1.1", trail.Accepted)).expect(t, "the next day")
}

func TestNewNetwork(t *testing.T) {
	f := newFeed(Config{})
	f.see(login("User:a", "10.1.1.1", trail.Accepted), login("User:a", "10.1.1.200", trail.Accepted), login("User:a", "127.0.0.1", trail.Accepted)).expect(t, "learnt")
	f.see(login("User:b", "10.9.1.1", trail.Accepted)).expect(t, "somebody new")
	f.see(login("User:a", "10.1.2.1", trail.Accepted)).expect(t, "elsewhere", NewNetwork)
	f.now = f.now.Add(2 * time.Hour)
	f.see(login("User:a", "10.1.2.9", trail.Accepted)).expect(t, "known by now")
	f.see(login("User:a", "2001:db8:1:1::1", trail.Accepted)).expect(t, "IPv6", NewNetwork)
	f.now = f.now.Add(2 * time.Hour)
	f.see(login("User:a", "2001:db8:1:2::1", trail.Accepted)).expect(t, "the same site")
}

func TestUnusualReading(t *testing.T) {
	usage := func(bytes int64) trail.Event {
		return trail.Event{Kind: trail.System, Action: usage.Read, Outcome: trail.Accepted, Principal: "User:a", Bytes: bytes}
	}
	f := newFeed(Config{})
	f.see(usage(1<<40)).expect(t, "no habit yet")
	f = newFeed(Config{})
	for range 24 {
		f.now = f.now.Add(time.Hour)
		f.see(usage(100<<20), usage(100<<20))
	}
	f.expect(t, "a day like the next")
	f.now = f.now.Add(time.Hour)
	f.see(usage(1<<30-1)).expect(t, "five times the habit, and not much")
	f.see(usage(1<<30)).expect(t, "ten times the habit", UnusualReading)
	state, err := f.w.State()
	if err != nil {
		t.Fatal(err)
	}
	other := newFeed(Config{})
	other.n, other.now = f.n, f.now.Add(90*time.Minute)
	if err := other.w.Restore(state); err != nil {
		t.Fatal(err)
	}
	other.see(usage(100<<30)).expect(t, "after a restart", UnusualReading) // A4
}

func TestPolicies(t *testing.T) {
	change := func(action, before, after string) trail.Event {
		return trail.Event{Kind: trail.Admin, Action: action, Outcome: trail.Accepted, Principal: "User:root", Resource: "user/a", Before: json.RawMessage(before), After: json.RawMessage(after)}
	}
	wide := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kafka-cluster:*"],"Resource":"*"}]}`
	narrow := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kafka-cluster:ReadData","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*"},{"Effect":"Allow","Action":"kafka:List*","Resource":"*"}]}`
	quoted, _ := json.Marshal(map[string]string{"document": wide})
	for name, c := range map[string]struct {
		event trail.Event
		want  []Rule
	}{
		"wide":           {change("iam:PutUserPolicy", "", wide), []Rule{PolicyWidened}},
		"as text":        {change("iam:PutUserPolicy", narrow, string(quoted)), []Rule{PolicyWidened}},
		"narrow":         {change("iam:PutUserPolicy", "", narrow), nil},
		"was so":         {change("iam:PutUserPolicy", wide, wide), nil},
		"narrowed":       {change("iam:PutUserPolicy", wide, narrow), nil},
		"administrator":  {change("iam:AttachUserPolicy", "", `{"policy":"MillraceAdministrator"}`), []Rule{PolicyWidened}},
		"everybody":      {change("kafka:PutClusterPolicy", "", `{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kafka-cluster:Connect","Resource":"x"}}`), []Rule{PolicyWidened}},
		"acl for all":    {change("kafka:CreateAcls", "", `[{"principal":"User:*","permission":"ALLOW","operation":"READ","name":"pay"}]`), []Rule{PolicyWidened}},
		"acl for one":    {change("kafka:CreateAcls", "", `[{"principal":"User:a","permission":"ALLOW","operation":"READ","name":"*"}]`), nil},
		"acl denies all": {change("kafka:CreateAcls", "", `[{"principal":"User:*","permission":"DENY","operation":"ALL","name":"*"}]`), nil},
		"encryption off": {change("millrace:UpdateCluster", `{"encrypt":true}`, `{"encrypt":false}`), []Rule{ProtectionOff}},
		"anonymous":      {change("millrace:UpdateCluster", `{"l":{"anonymous":false}}`, `{"l":{"anonymous":true}}`), []Rule{ProtectionOff}},
		"encryption on":  {change("millrace:UpdateCluster", `{"encrypt":false}`, `{"encrypt":true}`), nil},
		"no json":        {change("x:y", `{`, `}`), nil},
	} {
		newFeed(Config{}).see(c.event).expect(t, name, c.want...)
		refused := c.event
		refused.Outcome = trail.Refused
		newFeed(Config{}).see(refused).expect(t, name+", refused")
	}
	newFeed(Config{}).see(trail.Event{Kind: trail.System, Action: "trail:Gap", Outcome: trail.Failed}).expect(t, "trail", TrailDamaged)
}

// What is told does not depend on how often the watcher is restarted (A4, A5), and memory is bounded (A3).
func TestRestartsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Refusals: 5, Subjects: 200, Least: 1, Known: 2}
		whole, parts := newFeed(cfg), newFeed(cfg)
		for range rapid.IntRange(1, 150).Draw(t, "events") {
			who := fmt.Sprint("User:", rapid.IntRange(0, 4).Draw(t, "who"))
			from := fmt.Sprintf("10.0.%d.1", rapid.IntRange(0, 2).Draw(t, "net"))
			e := login(who, from, rapid.SampledFrom([]trail.Outcome{trail.Accepted, trail.Refused, trail.Refused}).Draw(t, "outcome"))
			if rapid.Bool().Draw(t, "usage") {
				e = trail.Event{Kind: trail.System, Action: usage.Read, Principal: who, Bytes: rapid.Int64Range(1, 1000).Draw(t, "bytes")}
			}
			if rapid.IntRange(0, 3).Draw(t, "wait") == 0 {
				whole.now = whole.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(t, "minutes")) * time.Minute)
				parts.now = whole.now
			}
			whole.see(e)
			parts.see(e)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				state, err := parts.w.State()
				if err != nil {
					t.Fatal(err)
				}
				parts.w = New(cfg)
				if err := parts.w.Restore(state); err != nil {
					t.Fatal(err)
				}
				parts.n-- // the last line is read again
				parts.see(e)
			}
		}
		a, _ := json.Marshal(whole.alerts)
		b, _ := json.Marshal(parts.alerts)
		if string(a) != string(b) {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	f := newFeed(Config{Subjects: 100})
	for i := range 10_000 {
		f.see(login(fmt.Sprint("User:", i), fmt.Sprintf("10.%d.%d.1", i/250, i%250), trail.Refused))
	}
	state, err := f.w.State()
	if err != nil || len(f.w.memory.Subjects) > 100 || len(f.w.memory.at) > 100 || f.w.memory.order.Len() > 100 || len(state) > 100_000 {
		t.Error(len(f.w.memory.Subjects), len(state), err)
	}
	if err := New(Config{}).Restore([]byte(`{"format":99}`)); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
	for _, bad := range []string{"", "{", `{"format":1,"subjects":{"a":null}}`, `{"format":1}`} {
		w := New(Config{Subjects: 2})
		_ = w.Restore([]byte(bad))
		w.Observe(trail.Entry{Writer: "w", N: 1, Event: login("User:a", "10.0.0.1", trail.Refused)})
	}
}

// recorder keeps what is recorded.
type recorder struct {
	mu     sync.Mutex
	events []trail.Event
	came   chan struct{}
}

func (r *recorder) Record(e trail.Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	r.came <- struct{}{}
}

// Run reads the trail itself, tells of an alert once, and again not after a restart.
func TestRun(t *testing.T) {
	fs, discard := disk.NewMem(), slog.New(slog.DiscardHandler)
	log, err := trail.Open(t.Context(), trail.Config{Writer: "default-1", Root: "audit"}, trail.World{FS: fs, Clock: clock.System{}, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _ = log.Run(ctx) })
	defer wait.Wait()
	defer stop()
	log.Record(trail.Event{Kind: trail.Admin, Action: "iam:AttachUserPolicy", Outcome: trail.Accepted, After: []byte(`{"policy":"MillraceAdministrator"}`)})
	r := &recorder{came: make(chan struct{}, 100)}
	for i := range 2 {
		running, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- Run(running, Config{}, World{FS: fs, Root: "audit", Trail: r, Log: discard, Every: time.Millisecond})
		}()
		if i == 1 {
			log.Record(trail.Event{Kind: trail.System, Action: "trail:Lost", Outcome: trail.Failed})
		}
		<-r.came
		end()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	for _, e := range r.events {
		a, ok := FromEvent(e)
		if !ok || a.What == "" || len(a.Evidence) == 0 {
			t.Error(e)
		}
		told = append(told, strings.TrimPrefix(e.Action, prefix))
	}
	if want := []string{"policy-widened", "trail-damaged"}; !slices.Equal(told, want) {
		t.Error(told)
	}
}
