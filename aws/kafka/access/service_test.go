package access

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/aws/door"
	"millrace/control"
)

var rewrite = flag.Bool("rewrite", false, "write the answers as they are into testdata")

// ask does what the door does with a request of an operation: "Operation label query body", "-" for none.
func (f *fixture) ask(ctx context.Context, name, label, query, body string) (string, error) {
	for _, o := range f.Operations() {
		if o.Name != name {
			continue
		}
		q, err := http.NewRequestWithContext(ctx, o.Method, "/", nil)
		if err != nil {
			return "", err
		}
		values, err := url.ParseQuery(strings.Trim(query, "-"))
		if err != nil {
			return "", err
		}
		c := &door.Call{Request: q, Query: values, Body: []byte(strings.Trim(body, "-")), Params: map[string]string{}}
		if _, rest, ok := strings.Cut(o.Path, "{"); ok {
			param, _, _ := strings.Cut(rest, "}")
			c.Params[param] = label
		}
		if o.Resource != nil {
			o.Resource(c)
		}
		if o.Needs != nil {
			o.Needs(c)
		}
		answer, err := o.Handle(ctx, c)
		if err != nil || answer == nil {
			return fmt.Sprint(o.Status), err
		}
		b, err := json.Marshal(answer)
		return fmt.Sprint(o.Status, " ", string(b)), err
	}
	return "", fmt.Errorf("no operation %s", name)
}

// TestScript holds a session to the answers in testdata. What is made up anew each time is $1, $2, … in the order in which it comes, and may
// be said so in requests.
func TestScript(t *testing.T) {
	const file = "testdata/session.txt"
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	f.say(t, "AmazonMSK_alice", value("alice", "hidden"))
	f.say(t, "other", value("bob", "hidden"))
	var made []string
	random := regexp.MustCompile(`(AmazonMSK_[a-z]+-|other-)[0-9A-Za-z]{6}|vpc-connection/123456789012/main/[0-9a-f-]{36}|K[0-9A-Z]{13}`)
	hide := func(text string) string {
		for _, m := range random.FindAllString(text, -1) {
			at := len(made)
			for i, one := range made {
				if one == m {
					at = i
				}
			}
			if at == len(made) {
				made = append(made, m)
			}
			text = strings.ReplaceAll(text, m, fmt.Sprintf("$%d", at+1))
		}
		return text
	}
	for _, name := range []string{"AmazonMSK_alice", "other"} { // $1 and $2
		all, err := f.secrets.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if x.Name == name {
				hide(x.Name + "-" + x.Tail)
			}
		}
	}
	var out strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(string(script), "\n"), "\n") {
		if line == "" || line[0] == '#' {
			out.WriteString(line + "\n")
			continue
		}
		if !strings.HasPrefix(line, "> ") {
			continue
		}
		asked := line[2:]
		for i := len(made); i > 0; i-- {
			asked = strings.ReplaceAll(asked, fmt.Sprintf("$%d", i), made[i-1])
		}
		asked = strings.ReplaceAll(asked, "MAIN", home.Cluster("main", mainID))
		parts := strings.SplitN(asked, " ", 4)
		f.clock.Advance(time.Second)
		answer, err := f.ask(t.Context(), parts[0], parts[1], parts[2], parts[3])
		var e *door.Error
		switch {
		case errors.As(err, &e):
			answer = fmt.Sprintf("! %d %s %s: %s", e.Status, e.Code, e.InvalidParameter, e.Message)
		case err != nil:
			t.Fatalf("%s: %v", line, err)
		default:
			answer = "< " + answer
		}
		out.WriteString(line + "\n" + hide(answer) + "\n")
	}
	if strings.Contains(out.String(), "hidden") {
		t.Error("an answer has a password")
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

func TestPolicyVersions(t *testing.T) {
	for _, n := range []int64{1, 35, 36, 1 << 40, 1<<63 - 1} {
		text := policyVersion(n)
		if got, ok := readVersion(text); !ok || got != n || len(text) != 14 {
			t.Errorf("%d is %s, and %d again", n, text, got)
		}
	}
	for _, bad := range []string{"", "K", "K0000000000000", "k0000000000001", "K000000000000a", "K00000000000001", "KZZZZZZZZZZZZZ", "K-000000000001"} {
		if _, ok := readVersion(bad); ok {
			t.Errorf("%q is read", bad)
		}
	}
}

// TestConnectionsAfterACrash breaks Create and Delete off at any write; Resume finishes them, and what is told is what brokers go by (A2, A5).
func TestConnectionsAfterACrash(t *testing.T) {
	asked := Connection{Authentication: authIAM, VPC: "vpc-1", Subnets: []string{"s"}, Groups: []string{"none"}, Owner: home.Account}
	for writes := range 4 {
		for _, late := range []bool{false, true} {
			f, ctx := newFixture(t), t.Context()
			broken := NewConnections(&flaky{f.kv, writes, late}, f.clock, f.plane)
			_, err := broken.Create(ctx, f.plane["main"], asked)
			wants(t, f.world.Connections.Resume(ctx), nil)
			all, lerr := f.world.Connections.List(ctx, "main", mainID)
			wants(t, lerr, nil)
			n, nerr := f.world.Connections.network("main").Network(ctx)
			wants(t, nerr, nil)
			if len(all) > 1 || len(n.Connections) != len(all) || err == nil && len(all) != 1 || len(all) == 1 && all[0].State != Available {
				t.Fatalf("after %d writes (late: %v): %v, told %+v, rules %+v", writes, late, err, all, n.Connections)
			}
			if len(all) == 0 {
				continue
			}
			broken = NewConnections(&flaky{f.kv, writes, late}, f.clock, f.plane)
			_, err = broken.Delete(ctx, all[0].ID)
			wants(t, f.world.Connections.Resume(ctx), nil)
			left, lerr := f.world.Connections.List(ctx, "", "")
			wants(t, lerr, nil)
			n, nerr = f.world.Connections.network("main").Network(ctx)
			wants(t, nerr, nil)
			if len(n.Connections) != len(left) || err == nil && len(left) != 0 {
				t.Fatalf("after %d writes (late: %v): %v, left are %+v, rules %+v", writes, late, err, left, n.Connections)
			}
		}
	}
}

func TestConnectionOfAClusterThatIsGone(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	c, err := f.world.Connections.Create(ctx, f.plane["main"], Connection{Authentication: authScram, VPC: "v"})
	wants(t, err, nil)
	again := f.plane["main"]
	again.ID = "00000000-0000-0000-0000-00000000000b-1"
	f.plane["main"] = again
	now, err := f.world.Connections.Describe(ctx, c.ID)
	if wants(t, err, nil); now.State != Inactive {
		t.Errorf("it is %s, and another cluster has the name", now.State)
	}
	_, err = f.world.Connections.Delete(ctx, c.ID)
	wants(t, err, nil)
	_, err = f.world.Connections.Create(ctx, f.plane["main"], Connection{Authentication: authTLS})
	wants(t, err, ErrAuthentication)
}

// TestTagsAtTheSameTime: of two changes that cross, both are kept (A6).
func TestTagsAtTheSameTime(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	c, err := f.world.Connections.Create(ctx, f.plane["main"], Connection{Authentication: authScram, VPC: "v"})
	wants(t, err, nil)
	for _, name := range []string{home.Cluster("main", mainID), home.Configuration("conf", configurationID[5:]), f.connectionARN(c)} {
		first := true
		wants(t, f.editTags(ctx, name, func(now map[string]string) (map[string]string, error) {
			if first {
				first = false
				_, err := f.ask(ctx, "TagResource", name, "-", `{"tags":{"other":"1"}}`)
				wants(t, err, nil)
			}
			next := map[string]string{"mine": "2"}
			for k, v := range now {
				next[k] = v
			}
			return next, nil
		}), nil)
		got, err := f.Tags(ctx, name)
		if wants(t, err, nil); got["mine"] != "2" || got["other"] != "1" {
			t.Errorf("%s: %v", name, got)
		}
	}
	var tags []string
	for i := range maxTags {
		tags = append(tags, fmt.Sprintf(`"k%d":""`, i))
	}
	_, err = f.ask(ctx, "TagResource", home.Cluster("main", mainID), "-", `{"tags":{`+strings.Join(tags, ",")+`}}`)
	var e *door.Error
	if !errors.As(err, &e) || e.Code != "BadRequestException" {
		t.Errorf("more than 50 together: %v", err)
	}
}

// TestWhoMayWhat: every operation names what policies are asked for.
func TestWhoMayWhat(t *testing.T) {
	f := newFixture(t)
	for _, o := range f.Operations() {
		if o.Action != "kafka:"+o.Name || o.Reads != (o.Method == http.MethodGet) || (o.Resource == nil) != (o.Name == "CreateVpcConnection" || o.Name == "ListVpcConnections") {
			t.Errorf("%+v", o)
		}
	}
	c := &door.Call{Body: []byte(`{"targetClusterArn":"x","authentication":"TLS","vpcId":"v","clientSubnets":["s"],"securityGroups":["g"],"tags":{"a":"b"}}`)}
	if needs := f.connecting(c); len(needs) != 2 || needs[0].Resource != "x" || needs[1].Action != "kafka:TagResource" {
		t.Errorf("%+v", needs)
	}
	if c.Body = []byte("{"); f.connecting(c) != nil {
		t.Error("a request that cannot be read needs something")
	}
	if _, ok := f.plane["main"]; !ok || told(control.ErrNoCluster).Status != http.StatusNotFound || told(errors.New("x")) != nil {
		t.Error("errors")
	}
}
