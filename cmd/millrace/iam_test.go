package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/cmd/door"
	"millrace/cmd/parts"
	"millrace/cmd/remote"
	"millrace/control"
	"millrace/secure/iam"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/trail"
)

type plainSealer struct{ cipher.AEAD }

func (s plainSealer) Seal(plain, context []byte) ([]byte, error) {
	return s.AEAD.Seal(nil, nil, plain, context), nil
}
func (s plainSealer) Open(sealed, context []byte) ([]byte, error) {
	return s.AEAD.Open(nil, nil, sealed, context)
}

// events remembers what was told to the trail.
type events struct {
	mu  sync.Mutex
	all []trail.Event
}

func (e *events) Record(one trail.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, one)
}

func (e *events) last() trail.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all[len(e.all)-1]
}

// iamWorld is an API with users, and the verbs.
type iamWorld struct {
	t      *testing.T
	data   string
	url    string
	routes []string // patterns
	events *events
	view   *iam.View
	store  *iam.Store
}

func newIAMWorld(t *testing.T) *iamWorld {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	store, log := kv.NewMemory(), slog.New(slog.DiscardHandler)
	t.Cleanup(func() { _ = store.Close() })
	w := &iamWorld{t: t, data: t.TempDir(), events: &events{}}
	w.view = iam.NewView(store, plainSealer{gcm}, clock.System{}, log, iam.ViewConfig{Cluster: control.Prefix(defaultCluster)})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.view.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-w.view.Ready()
	w.store = iam.NewStore(store, plainSealer{gcm}, clock.System{}, w.view)
	if err := remote.KeepRoot(t.Context(), w.data, "us-east-1", w.store, disk.OS("")); err != nil {
		t.Fatal(err)
	}
	requests, err := login.NewRequests(login.RequestsConfig{Region: "us-east-1", Services: apiServices()}, parts.AccessKeys{View: w.view}, w.events, clock.System{}, log)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	principals := &door.Principals{
		Store: w.store, View: w.view, Record: w.events,
		Caller: func(r *http.Request) *identity.Identity {
			who, err := requests.Verify(r)
			if err != nil {
				return nil
			}
			return &who
		},
		ClusterARN: func(_ context.Context, name string) (string, error) {
			if name != defaultCluster {
				return "", control.ErrNoCluster
			}
			return "arn:aws:kafka:us-east-1:" + w.view.Account() + ":cluster/default/u", nil
		},
	}
	principals.Routes(func(pattern string, h func(http.ResponseWriter, *http.Request)) {
		w.routes = append(w.routes, pattern)
		mux.HandleFunc(pattern, h)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.url = server.URL
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "MILLRACE_CA", "MILLRACE_API"} {
		t.Setenv(name, "")
	}
	t.Setenv("MILLRACE_DATA", w.data)
	return w
}

// as signs what follows with a key.
func (w *iamWorld) as(id, secret, token string) {
	w.t.Setenv("AWS_ACCESS_KEY_ID", id)
	w.t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	w.t.Setenv("AWS_SESSION_TOKEN", token)
}

// do runs a verb.
func (w *iamWorld) do(args ...string) (out, errOut string, exit int) {
	var o, e bytes.Buffer
	exit = run(w.t.Context(), append([]string{"iam", "--api", w.url}, args...), strings.NewReader(""), &o, &e)
	return o.String(), e.String(), exit
}

// must runs a verb that succeeds and says something.
func (w *iamWorld) must(want string, args ...string) string {
	w.t.Helper()
	out, errOut, exit := w.do(args...)
	if exit != exitOK || !strings.Contains(out, want) {
		w.t.Fatalf("iam %v: exit %d, want %q:\n%s%s", args, exit, want, out, errOut)
	}
	return out
}

// fails runs a verb that fails with a status and says why.
func (w *iamWorld) fails(status int, want string, args ...string) {
	w.t.Helper()
	out, errOut, exit := w.do(args...)
	if exit != status || !strings.Contains(errOut, want) {
		w.t.Fatalf("iam %v: exit %d, want %d and %q:\n%s%s", args, exit, status, want, out, errOut)
	}
}

func (w *iamWorld) file(text string) string {
	name := filepath.Join(w.t.TempDir(), "policy.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *iamWorld) json(v any, args ...string) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.must("", append(args, "--output", "json")...)), v); err != nil {
		w.t.Fatal(err)
	}
}

func TestIAMVerbs(t *testing.T) {
	w := newIAMWorld(t)
	info, err := os.Stat(remote.RootFile(w.data))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("root.json: %v, %v", info, err)
	}
	w.must(":root", "whoami")
	w.must("made", "user", "create", "alice", "--attach", "MillraceProducer", "--tag", "team=red")
	w.fails(exitFailed, "exists already", "user", "create", "alice")
	w.fails(exitFailed, "policy nothing: not found", "user", "attach", "alice", "nothing")
	w.fails(exitUsage, "usage", "user", "create")
	w.must("MillraceProducer", "user", "list")
	var key iam.NewKey
	w.json(&key, "key", "create", "alice")
	if e := w.events.last(); e.Action != "iam:CreateAccessKey" || e.Outcome != trail.Accepted || !strings.HasSuffix(e.Resource, ":user/alice") || strings.Contains(string(e.After), key.Secret) {
		t.Errorf("told to the trail: %+v %s", e, e.After)
	}
	w.must("explicitDeny", "simulate", "--user", "alice", "--action", "kafka-cluster:WriteData", "--resource", w.denied())
	w.must("allowed", "simulate", "--user", "alice", "--action", "kafka-cluster:WriteData", "--resource", "arn:aws:kafka:r:1:topic/c/u/orders")
	w.must("implicitDeny", "simulate", "--user", "alice", "--action", "kafka-cluster:ReadData", "--resource", "arn:aws:kafka:r:1:topic/c/u/orders")

	// Alice may write records and nothing here.
	w.as(key.ID, key.Secret, "")
	w.must(":user/alice", "whoami")
	w.fails(exitFailed, "not allowed to perform iam:CreateUser", "user", "create", "mallory")
	if e := w.events.last(); e.Kind != trail.Refusal || e.Action != "iam:CreateUser" || !strings.HasSuffix(e.Principal, ":user/alice") {
		t.Errorf("told to the trail: %+v", e)
	}
	w.fails(exitFailed, "not allowed", "key", "delete", key.ID)
	w.fails(exitFailed, "not allowed", "user", "show", "alice")
	w.fails(exitFailed, "not allowed", "cluster-policy", "show")
	w.as(key.ID, key.Secret[1:]+"x", "")
	w.fails(exitFailed, "not signed by an access key", "whoami")
	w.as("", "", "")

	w.must("disabled", "key", "disable", key.ID)
	w.as(key.ID, key.Secret, "")
	w.fails(exitFailed, "not signed by an access key", "whoami")
	w.as("", "", "")
	w.must("works on", "key", "rotate", key.ID)
	w.fails(exitFailed, "at most 2 access keys", "key", "create", "alice")
	w.must("alice", "key", "list")
	w.fails(exitFailed, "in use", "user", "delete", "alice")
	w.must("deleted", "user", "delete", "alice", "--force")
	w.fails(exitFailed, "not found", "user", "show", "alice")
}

// denied makes a policy that denies something, gives it to alice, and returns what is denied.
func (w *iamWorld) denied() string {
	const arn = "arn:aws:kafka:r:1:topic/c/u/secret"
	doc := w.file(`{"Version":"2012-10-17","Statement":{"Sid":"No","Effect":"Deny","Action":"kafka-cluster:*","Resource":"` + arn + `"}}`)
	w.must("made", "policy", "create", "no-secret", doc)
	w.must("attached", "user", "attach", "alice", "no-secret")
	return arn
}

func TestIAMRolesAndSessions(t *testing.T) {
	w := newIAMWorld(t)
	w.must("made", "user", "create", "alice")
	w.must("made", "role", "create", "app", "--trust-user", "alice", "--attach", "MillraceConsumer", "--max-session", "2h")
	w.fails(exitFailed, "root assumes no roles", "session", "create", "--role", "app")
	var key iam.NewKey
	w.json(&key, "key", "create", "alice")
	w.as(key.ID, key.Secret, "")
	var s iam.Session
	w.json(&s, "session", "create", "--role", "app", "--name", "build", "--duration", "30m")
	w.fails(exitFailed, "use 15m0s to 2h0m0s", "session", "create", "--role", "app", "--duration", "3h")
	w.as(s.ID, s.Secret, s.Token)
	w.must("assumed-role/app/build", "whoami")
	w.fails(exitFailed, "not allowed", "role", "list")
	w.as(s.ID, s.Secret, "")
	w.fails(exitFailed, "not signed by an access key", "whoami")
	w.as("", "", "")
	w.json(&s, "session", "create")
	w.as(s.ID, s.Secret, s.Token)
	w.must(":root", "whoami")
	w.must("app", "role", "list")
}

func TestIAMOnlyRootTouchesRootsKeys(t *testing.T) {
	w := newIAMWorld(t)
	w.must("made", "user", "create", "admin", "--attach", "MillraceAdministrator")
	var key iam.NewKey
	w.json(&key, "key", "create", "admin")
	root, err := remote.ReadRoot(w.data)
	if err != nil {
		t.Fatal(err)
	}
	w.as(key.ID, key.Secret, "")
	w.fails(exitFailed, "only root", "key", "create", "--root")
	w.fails(exitFailed, "only root", "key", "delete", root.ID)
	w.fails(exitFailed, "only root", "key", "disable", root.ID)
	w.as("", "", "")
	w.fails(exitFailed, "only enabled one of root", "key", "delete", root.ID)
	w.must("Access key ID", "key", "create", "--root")
}

func TestIAMPolicyFiles(t *testing.T) {
	w := newIAMWorld(t)
	bad := w.file("{\"Version\":\"2012-10-17\",\n \"Statement\":{\"Effect\":\"Alow\",\"Action\":\"*\",\"Resource\":\"*\"}}")
	w.fails(exitFailed, `line 2, column 24: Statement.Effect: it must be "Allow" or "Deny"`, "policy", "check", bad)
	odd := w.file(`{"Statement":{"Effect":"Allow","Action":"kafka-cluster:ReadDate","Resource":"*"}}`)
	if _, errOut, exit := w.do("policy", "check", odd); exit != exitOK || !strings.Contains(errOut, "none of the actions") {
		t.Errorf("exit %d: %s", exit, errOut)
	}
	w.must("made", "policy", "create", "odd", odd)
	w.must("ReadDate", "policy", "show", "odd")
	w.must("changed", "policy", "set", "odd", w.file(`{"Statement":{"Effect":"Allow","Action":"kafka-cluster:ReadData","Resource":"*"}}`))
	w.must("ReadData", "policy", "show", "odd")
	w.fails(exitFailed, "cannot be changed", "policy", "set", "MillraceConsumer", odd)
	w.must("deleted", "policy", "delete", "odd")
	resource := w.file(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"kafka-cluster:Connect","Resource":"*"}}`)
	w.must("set", "cluster-policy", "set", resource)
	w.must("kafka-cluster:Connect", "cluster-policy", "show")
	w.must("set", "cluster-policy", "tags", "env=prod")
	w.must(`"env": "prod"`, "cluster-policy", "tags")
	w.must("deleted", "cluster-policy", "delete")
	w.fails(exitFailed, "not found", "cluster-policy", "show")
}

// TestEveryRouteAsks walks all routes without a signature, and with a key that may nothing: nobody gets in, nothing changes.
func TestEveryRouteAsks(t *testing.T) {
	w := newIAMWorld(t)
	w.must("made", "user", "create", "alice")
	var key iam.NewKey
	w.json(&key, "key", "create", "alice")
	before, err := w.store.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{"GET /millrace/v1/security/whoami": true, "POST /millrace/v1/security/session": true, "POST /millrace/v1/security/assume-role": true}
	if len(w.routes) < 30 {
		t.Fatalf("only %d routes", len(w.routes))
	}
	for _, pattern := range w.routes {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{name}", "alice", "{policy}", "MillraceAdministrator", "{id}", key.ID).Replace(path)
		body := []byte(`{}`)
		req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s without a signature: %s", pattern, resp.Status)
		}
		w.as(key.ID, key.Secret, "")
		if req, err = http.NewRequestWithContext(t.Context(), method, w.url+path, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if resp, err = remote.Send(req, body, w.data, ""); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden && !open[pattern] {
			t.Errorf("%s with a key that may nothing: %s", pattern, resp.Status)
		}
		w.as("", "", "")
	}
	after, err := w.store.Users(t.Context())
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("changed: %v, %v", after, err)
	}
}

func TestEnv(t *testing.T) {
	w := newIAMWorld(t)
	root, err := remote.ReadRoot(w.data)
	if err != nil {
		t.Fatal(err)
	}
	e := remote.Endpoints{API: w.url, Region: "us-east-1", CA: "/it's/ca.pem", Bootstrap: map[string]string{"CLIENT_IAM": "h:9098,h:9198", "CLIENT_SECURE": "h:9094"}}
	if err := e.Keep(w.data); err != nil {
		t.Fatal(err)
	}
	env := func(args ...string) (string, int) {
		var out, errOut bytes.Buffer
		exit := run(t.Context(), append([]string{"env", "--data", w.data}, args...), strings.NewReader(""), &out, &errOut)
		return out.String() + errOut.String(), exit
	}
	for shell, want := range map[string][]string{
		"sh":         {"export AWS_ACCESS_KEY_ID='" + root.ID + "'\n", "export AWS_SECRET_ACCESS_KEY='" + root.Secret + "'\n", "unset AWS_SESSION_TOKEN\n", `export MILLRACE_CA='/it'\''s/ca.pem'`, "export MILLRACE_BOOTSTRAP='h:9098,h:9198'\n", "export MILLRACE_SASL='iam'\n", "export AWS_ENDPOINT_URL_KAFKA='" + w.url + "'\n"},
		"fish":       {"set -gx AWS_ACCESS_KEY_ID '" + root.ID + "';\n", "set -e AWS_PROFILE;\n", `set -gx MILLRACE_CA '/it\'s/ca.pem';`},
		"powershell": {"$Env:AWS_ACCESS_KEY_ID = '" + root.ID + "'\n", "Remove-Item Env:AWS_SESSION_TOKEN", "$Env:MILLRACE_CA = '/it''s/ca.pem'"},
	} {
		out, exit := env("--shell", shell)
		for _, text := range want {
			if exit != exitOK || !strings.Contains(out, text) {
				t.Errorf("%s: exit %d, no %q in:\n%s", shell, exit, text, out)
			}
		}
	}
	if out, exit := env("--shell", "cmd"); exit != exitUsage {
		t.Errorf("an unknown shell: %d %s", exit, out)
	}
	if out, _ := env("--listener", "CLIENT_SECURE"); !strings.Contains(out, "MILLRACE_BOOTSTRAP='h:9094'") || !strings.Contains(out, "unset MILLRACE_SASL") {
		t.Errorf("another listener: %s", out)
	}
	t.Setenv("MILLRACE_CA", "")
	if err := (remote.Endpoints{API: w.url, Region: "us-east-1"}).Keep(w.data); err != nil {
		t.Fatal(err)
	}
	out, exit := env("--session")
	if exit != exitOK || !strings.Contains(out, "export AWS_ACCESS_KEY_ID='ASIA") || strings.Contains(out, root.Secret) || !strings.Contains(out, "export AWS_SESSION_TOKEN=") {
		t.Errorf("a session: %d\n%s", exit, out)
	}
}
