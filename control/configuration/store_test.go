package configuration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control"
)

// rules are those of brokers, as far as the tests need them.
type rules struct{}

func (rules) Known(name string) bool { return name == "broker.id" || name == "min.insync.replicas" }

func (rules) Fault(name, value string) string {
	if name == "log.cleanup.policy" || name == "compression.type" {
		return ""
	}
	if strings.HasSuffix(name, ".enable") {
		if value != "true" && value != "false" {
			return "must be true or false"
		}
		return ""
	}
	n, err := strconv.Atoi(value)
	switch {
	case err != nil:
		return "not a number; must be between -1 and 1000000"
	case n < -1 || n > 1_000_000:
		return "must be between -1 and 1000000"
	}
	return ""
}

func (rules) Together(values map[string]string) string {
	if values["group.max.session.timeout.ms"] == "1" {
		return "group.min.session.timeout.ms must be at most group.max.session.timeout.ms"
	}
	return ""
}

// users are who use configurations; something may be made to happen between an answer and what is done with it.
type users struct {
	of   map[string][]string
	hook func()
}

func (u *users) UsersOf(_ context.Context, id string) ([]string, error) {
	answer := u.of[id]
	if h := u.hook; h != nil {
		u.hook = nil
		h()
	}
	return answer, nil
}

type fixture struct {
	*Store
	kv    *kv.Memory
	clock *clock.Manual
	users *users
}

func newFixture(t interface{ Cleanup(func()) }) *fixture {
	f := &fixture{kv: kv.NewMemory(), clock: clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), users: &users{of: map[string][]string{}}}
	t.Cleanup(func() { _ = f.kv.Close() })
	f.Store = NewStore(World{KV: f.kv, Clock: f.clock, Users: f.users, Rules: rules{}})
	return f
}

func TestWhatIsWritable(t *testing.T) {
	all := Writables()
	if len(all) != 34 || !slices.IsSortedFunc(all, func(a, b Writable) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d properties, or not in order", len(all))
	}
	for _, w := range all {
		if (w.fault != nil) != (w.Effect == Kept) {
			t.Errorf("%s is %s: what has an effect is checked by the brokers' rules, and what has none here", w.Name, w.Effect)
		}
	}
}

func TestCheckNamesEveryFault(t *testing.T) {
	text := "# mine\n" +
		"num.partitions=many\n" +
		"auto.create.topics.enable=perhaps\n" +
		"min.insync.replicas=2\n" +
		"nonsense=1\n" +
		"log.retention.ms=9999999999\n" +
		"replica.fetch.max.bytes=-2\n" +
		"leader.imbalance.per.broker.percentage=x\n" +
		"max.connections.per.ip.overrides=here\n" +
		"advertised.listeners=REPLICATION://b:1\n" +
		"replica.selector.class=a b\n" +
		"compression.type=gzip\n"
	_, err := Check([]byte(text), rules{})
	var faults *Faults
	if !errors.As(err, &faults) || !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	want := []string{
		"line 2: num.partitions: not a number; must be between -1 and 1000000",
		"line 3: auto.create.topics.enable: must be true or false",
		"line 4: min.insync.replicas: it is not writable",
		"line 5: nonsense: there is no such property",
		"line 6: log.retention.ms: must be between -1 and 1000000",
		"line 7: replica.fetch.max.bytes: must be between 0 and 2147483647",
		"line 8: leader.imbalance.per.broker.percentage: not a number; must be between 0 and 2147483647",
		"line 9: max.connections.per.ip.overrides: must be a list such as host:100,127.0.0.1:200",
		"line 10: advertised.listeners: listener REPLICATION is the brokers' own",
		"line 11: replica.selector.class: must be the name of a class",
	}
	var got []string
	for _, f := range *faults {
		got = append(got, f.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := Check([]byte("group.max.session.timeout.ms=1"), rules{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("what does not fit together: %v", err)
	}
	if _, err := Check([]byte("a=\\u1"), rules{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("bad escape: %v", err)
	}
	if _, err := Check([]byte(strings.Repeat("k=\n", 1)+strings.Repeat("x", 300)), rules{}); err == nil || len(err.Error()) > 300 {
		t.Errorf("a hostile name fills the message: %v", err)
	}
	values, err := Check([]byte("num.partitions = 3 \nadvertised.listeners=CLIENT://a:1, CLIENT_IAM://b:2"), rules{})
	if err != nil || values["num.partitions"] != "3" {
		t.Errorf("%v, %v", values, err)
	}
	if err := Takes(control.Settings{Type: control.Serverless, Configuration: control.Revision{ID: "a/b", Number: 1}}); !errors.Is(err, ErrServerless) {
		t.Error(err)
	}
	if err := errors.Join(Takes(control.Settings{Type: control.Serverless}), Takes(control.Settings{Configuration: control.Revision{ID: "a/b"}})); err != nil {
		t.Error(err)
	}
}

func TestBadSpecs(t *testing.T) {
	f := newFixture(t)
	for _, s := range []Spec{
		{}, {Name: "-a"}, {Name: "a/b"}, {Name: "a b"}, {Name: "é"}, {Name: strings.Repeat("a", 65)}, {Name: "a", Description: strings.Repeat("x", 1025)},
		{Name: "a", KafkaVersions: make([]string, 1)}, {Name: "a", KafkaVersions: make([]string, 33)}, {Name: "a", Properties: []byte("x=1")},
		{Name: "a", Properties: make([]byte, MaxText+1)}, {Name: "a", Description: "\xff"},
	} {
		if _, err := f.Create(t.Context(), s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.40v: %v", s, err)
		}
	}
	if items, _, _ := f.kv.List(t.Context(), ""); len(items) != 0 {
		t.Errorf("something was written: %v", items)
	}
	for _, id := range []string{"", "a", "/", "a/b/c", "../x", strings.Repeat("a", 5000)} {
		if _, err := f.Describe(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%.20q: %v", id, err)
		}
	}
}

// model is what a Store should be.
type model struct {
	*fixture
	now map[string]*modelled // by name
	ids []string             // ever given
}

type modelled struct {
	id    string
	texts []string
}

func (m *model) draw(t *rapid.T) (string, *modelled) {
	if len(m.ids) == 0 {
		return "a/none", nil
	}
	id := rapid.SampledFrom(m.ids).Draw(t, "id")
	if c := m.now[nameOf(id)]; c != nil && c.id == id {
		return id, c
	}
	return id, nil
}

// text is one that is right, or one that is not.
func (m *model) text(t *rapid.T) (text string, good bool) {
	n := rapid.IntRange(-3, 50).Draw(t, "n")
	return fmt.Sprintf("num.partitions=%d", n), n >= -1
}

func (m *model) create(t *rapid.T) {
	n := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	x, good := m.text(t)
	c, err := m.Create(context.Background(), Spec{Name: n, Properties: []byte(x)})
	switch {
	case !good:
		wants(t, err, ErrInvalid)
	case m.now[n] != nil:
		wants(t, err, ErrExists)
	default:
		wants(t, err, nil)
		if slices.Contains(m.ids, c.ID) || c.Latest.Number != 1 || c.State != Active {
			t.Fatalf("%+v", c)
		}
		m.now[n] = &modelled{c.ID, []string{x}}
		m.ids = append(m.ids, c.ID)
	}
}

func (m *model) update(t *rapid.T) {
	id, c := m.draw(t)
	x, good := m.text(t)
	got, err := m.Update(context.Background(), id, "d", []byte(x))
	switch {
	case !good:
		wants(t, err, ErrInvalid)
	case c == nil:
		wants(t, err, ErrNotFound)
	case len(c.texts) == MaxRevisions:
		wants(t, err, ErrLimit)
	default:
		wants(t, err, nil)
		if c.texts = append(c.texts, x); got.Latest.Number != int64(len(c.texts)) {
			t.Fatalf("%+v, want revision %d", got, len(c.texts))
		}
	}
}

func (m *model) use(t *rapid.T) {
	id, c := m.draw(t)
	n := rapid.Int64Range(0, 3).Draw(t, "revision")
	_, err := m.Holds(context.Background(), control.Revision{ID: id, Number: n})
	if c == nil || n < 1 || n > int64(len(c.texts)) {
		wants(t, err, ErrNotFound)
		return
	}
	wants(t, err, nil)
	m.users.of[id] = []string{"main"}
}

func (m *model) remove(t *rapid.T) {
	id, c := m.draw(t)
	_, err := m.Delete(context.Background(), id)
	switch {
	case len(m.users.of[id]) > 0:
		wants(t, err, ErrInUse)
	case c == nil:
		wants(t, err, ErrNotFound)
	default:
		wants(t, err, nil)
		delete(m.now, nameOf(id))
	}
}

func (m *model) compare(t *rapid.T) {
	ctx := context.Background()
	all, err := m.List(ctx)
	if wants(t, err, nil); len(all) != len(m.now) {
		t.Fatalf("%d configurations, want %d", len(all), len(m.now))
	}
	for _, c := range all {
		want := m.now[c.Name]
		revisions, err := m.Revisions(ctx, c.ID)
		wants(t, err, nil)
		if want == nil || want.id != c.ID || len(revisions) != len(want.texts) || c.Latest.Number != int64(len(want.texts)) {
			t.Fatalf("%+v with %d revisions, want %+v", c, len(revisions), want)
		}
		for i, x := range want.texts {
			r, err := m.Revision(ctx, c.ID, int64(i+1))
			if wants(t, err, nil); string(r.Properties) != x || revisions[i].Number != int64(i+1) || revisions[i].Properties != nil {
				t.Fatalf("revision %d is %+v, want %s", i+1, r, x)
			}
		}
	}
}

// TestStoreFollowsAModel drives a Store and a plain model by the same calls (F1, F2, F3, F7).
func TestStoreFollowsAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{fixture: newFixture(t), now: map[string]*modelled{}}
		t.Repeat(map[string]func(*rapid.T){
			"create": m.create, "update": m.update, "use": m.use, "delete": m.remove, "": m.compare,
			"leave": func(t *rapid.T) {
				id, _ := m.draw(t)
				delete(m.users.of, id)
			},
		})
	})
}

func wants(t interface {
	Helper()
	Fatalf(string, ...any)
}, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// TestTwoCreatesAtOnce: of two that see room for one, one is made (F7).
func TestTwoCreatesAtOnce(t *testing.T) {
	f := newFixture(t)
	for i := range MaxConfigurations - 1 {
		_, err := f.Create(t.Context(), Spec{Name: fmt.Sprint("c", i)})
		wants(t, err, nil)
	}
	w := f.world
	w.KV = &listener{KV: f.kv, hook: func() {
		_, err := f.Create(t.Context(), Spec{Name: "first"})
		wants(t, err, nil)
	}}
	_, err := NewStore(w).Create(t.Context(), Spec{Name: "second"})
	wants(t, err, ErrLimit)
}

// listener has something happen after the first List.
type listener struct {
	kv.KV
	hook func()
}

func (l *listener) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	items, rev, err := l.KV.List(ctx, prefix)
	if h := l.hook; h != nil {
		l.hook = nil
		h()
	}
	return items, rev, err
}

func TestLimits(t *testing.T) {
	f := newFixture(t)
	for i := range MaxConfigurations {
		if _, err := f.Create(t.Context(), Spec{Name: fmt.Sprint("c", i)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.Create(t.Context(), Spec{Name: "more"})
	wants(t, err, ErrLimit)
	c, err := f.List(t.Context())
	wants(t, err, nil)
	for range MaxRevisions - 1 {
		if _, err := f.Update(t.Context(), c[0].ID, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err = f.Update(t.Context(), c[0].ID, "", nil)
	wants(t, err, ErrLimit)
}

// TestDeleteAndUseAtOnce has somebody begin to use a configuration at each moment of its delete (F3).
func TestDeleteAndUseAtOnce(t *testing.T) {
	ctx := t.Context()
	for ask := range 2 { // between the first look and the mark, and after the mark
		f := newFixture(t)
		c, err := f.Create(ctx, Spec{Name: "a"})
		wants(t, err, nil)
		used := false
		use := func() {
			cond, err := f.Holds(ctx, control.Revision{ID: c.ID, Number: 1})
			if err != nil {
				return
			}
			if _, err := f.kv.Txn(ctx, cond, []kv.Op{kv.Put("control/clusters/main", []byte("x"))}); err == nil {
				used, f.users.of[c.ID] = true, []string{"main"}
			}
		}
		f.users.hook = use
		if ask == 1 {
			f.users.hook = func() { f.users.hook = use }
		}
		_, err = f.Delete(ctx, c.ID)
		now, gone := f.Describe(ctx, c.ID)
		switch {
		case used && (!errors.Is(err, ErrInUse) || gone != nil || now.State != Active):
			t.Errorf("ask %d: it is used, and %v, %+v, %v", ask, err, now, gone)
		case !used && (err != nil || !errors.Is(gone, ErrNotFound)):
			t.Errorf("ask %d: it is not used, and %v, %+v, %v", ask, err, now, gone)
		}
	}
	// Conditions that were taken before the delete do not hold after it, nor after it came back.
	f := newFixture(t)
	c, err := f.Create(ctx, Spec{Name: "a"})
	wants(t, err, nil)
	cond, err := f.Holds(ctx, control.Revision{ID: c.ID, Number: 1})
	wants(t, err, nil)
	_, err = f.Delete(ctx, c.ID)
	wants(t, err, nil)
	_, err = f.kv.Txn(ctx, cond, []kv.Op{kv.Put("control/clusters/main", nil)})
	wants(t, err, kv.ErrConflict)
}

// TestResume finishes a delete that was broken off, one way or the other (F4).
func TestResume(t *testing.T) {
	ctx := t.Context()
	f := newFixture(t)
	var made []Configuration
	for _, name := range []string{"free", "used"} {
		c, err := f.Create(ctx, Spec{Name: name})
		wants(t, err, nil)
		_, err = f.mark(ctx, c.ID, Deleting)
		wants(t, err, nil)
		made = append(made, c)
	}
	_, err := f.Update(ctx, made[0].ID, "", nil)
	wants(t, err, ErrState)
	_, err = f.Holds(ctx, control.Revision{ID: made[0].ID, Number: 1})
	wants(t, err, ErrState)
	f.users.of[made[1].ID] = []string{"main"}
	wants(t, f.Resume(ctx), nil)
	all, err := f.List(ctx)
	if wants(t, err, nil); len(all) != 1 || all[0].Name != "used" || all[0].State != Active {
		t.Errorf("%+v", all)
	}
	items, _, err := f.kv.List(ctx, dirRevisions)
	if wants(t, err, nil); len(items) != 1 {
		t.Errorf("revisions stay behind: %v", items)
	}
}

func TestNewerRecords(t *testing.T) {
	f := newFixture(t)
	c, err := f.Create(t.Context(), Spec{Name: "a"})
	wants(t, err, nil)
	_, err = f.kv.Txn(t.Context(), nil, []kv.Op{kv.Put(configurationKey("a"), []byte(`{"format":2}`))})
	wants(t, err, nil)
	_, err = f.Describe(t.Context(), c.ID)
	wants(t, err, ErrNewer)
	_, err = f.Update(t.Context(), c.ID, "", nil)
	wants(t, err, ErrNewer)
}
