package secretsmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/secure/secret"
)

var rewrite = flag.Bool("rewrite", false, "write the answers as they are into testdata")

type sealer struct{}

func (sealer) Seal(plain, _ []byte) ([]byte, error)  { return bytes.Clone(plain), nil }
func (sealer) Open(sealed, _ []byte) ([]byte, error) { return bytes.Clone(sealed), nil }

type fixture struct {
	*Service
	clock *clock.Manual
}

func newFixture(t *testing.T) *fixture {
	store, now := kv.NewMemory(), clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	t.Cleanup(func() { _ = store.Close() })
	n := byte(0)
	random := func(b []byte) {
		for i := range b {
			n++
			b[i] = n
		}
	}
	s := secret.NewStore(secret.World{KV: store, Sealer: sealer{}, Clock: now, Random: random})
	return &fixture{New(arn.Home{Region: "eu-west-1", Account: "123456789012"}, s), now}
}

// ask does what the door does with a request of an operation.
func (f *fixture) ask(ctx context.Context, name, body string) (string, error) {
	for _, o := range f.operations() {
		if o.Name != name {
			continue
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
		if err != nil {
			return "", err
		}
		c := &door.Call{Request: q, Body: []byte(body)}
		if o.Resource != nil {
			o.Resource(c)
		}
		o.Tags(c)
		answer, err := o.Handle(ctx, c)
		if err != nil || answer == nil {
			return "", err
		}
		b, err := json.Marshal(answer)
		return string(b), err
	}
	return "", fmt.Errorf("no operation %s", name)
}

// TestScript holds a session to the answers in testdata: "> Operation input", "+ days" that pass, and what was answered.
func TestScript(t *testing.T) {
	const file = "testdata/session.txt"
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	var out strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(string(script), "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "+ "):
			var days int
			if _, err := fmt.Sscanf(line, "+ %d", &days); err != nil {
				t.Fatal(err)
			}
			f.clock.Advance(time.Duration(days) * 24 * time.Hour)
		case strings.HasPrefix(line, "> "):
			name, body, _ := strings.Cut(line[2:], " ")
			f.clock.Advance(time.Second)
			answer, err := f.ask(t.Context(), name, body)
			var e *door.Error
			switch {
			case errors.As(err, &e):
			case err != nil:
				if e = told(err); e == nil {
					t.Fatalf("%s: %v has no code", line, err)
				}
			default:
				out.WriteString(line + "\n" + strings.TrimSuffix("< "+answer, " ") + "\n")
				continue
			}
			fmt.Fprintf(&out, "%s\n! %d %s: %s\n", line, e.Status, e.Code, e.Message)
			continue
		case line != "" && line[0] != '#':
			continue
		}
		out.WriteString(line + "\n")
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, want := strings.Split(out.String(), "\n"), strings.Split(string(script), "\n")
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("line %d is\n%s\nwant\n%s", i+1, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
}

// TestResources: policies are asked for the whole ARN, whatever a client names the secret by.
func TestResources(t *testing.T) {
	f := newFixture(t)
	if _, err := f.ask(t.Context(), "CreateSecret", `{"Name":"a/b","Tags":[{"Key":"k","Value":"v"}]}`); err != nil {
		t.Fatal(err)
	}
	x, err := f.secrets.Describe(t.Context(), secret.Ref{Name: "a/b"})
	if err != nil {
		t.Fatal(err)
	}
	whole := "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a/b-" + x.Tail
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"a/b": whole, whole: whole, strings.TrimSuffix(whole, "-"+x.Tail): whole, "c": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:c-??????",
		"arn:aws:kafka:x": "arn:aws:kafka:x", "": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:-??????",
	} {
		body, _ := json.Marshal(which{id})
		if got := f.named(&door.Call{Request: q, Body: body}); got != want {
			t.Errorf("%q is %q, want %q", id, got, want)
		}
	}
	if got := f.tags(t.Context(), whole); got["k"] != "v" {
		t.Errorf("%v", got)
	}
	set, removed := requestTags(&door.Call{Body: []byte(`{"Tags":[{"Key":"a","Value":"b"}],"TagKeys":["c"]}`)})
	if set["a"] != "b" || len(removed) != 1 {
		t.Errorf("%v, %v", set, removed)
	}
}

// TestPages: pages of one list follow each other in each order.
func TestPages(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"b", "a", "ab", "c"} {
		f.clock.Advance(time.Second)
		if _, err := f.ask(t.Context(), "CreateSecret", fmt.Sprintf(`{"Name":%q}`, name)); err != nil {
			t.Fatal(err)
		}
	}
	for asked, want := range map[string]string{
		`"SortBy":"name","SortOrder":"asc"`: "a ab b c", `"SortBy":"name"`: "c b ab a", `"SortOrder":"asc"`: "b a ab c", `"SortBy":"created-date"`: "c ab a b",
	} {
		var got []string
		for next := ""; ; {
			body := "{" + asked + `,"MaxResults":1}`
			if next != "" {
				body = "{" + asked + `,"MaxResults":1,"NextToken":"` + next + `"}`
			}
			text, err := f.ask(t.Context(), "ListSecrets", body)
			if err != nil {
				t.Fatal(err)
			}
			var out struct {
				SecretList []struct{ Name string }
				NextToken  string
			}
			if err := json.Unmarshal([]byte(text), &out); err != nil || len(out.SecretList) != 1 {
				t.Fatalf("%s: %v", text, err)
			}
			got = append(got, out.SecretList[0].Name)
			if next = out.NextToken; next == "" {
				break
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", asked, s, want)
		}
	}
}
