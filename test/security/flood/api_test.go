package flood

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/secure/sigv4"
	"millrace/test/harness"
)

func now() time.Time { return time.Now() }

// routes are all of the API that asks who comes. guards counts those of the source, so that none is forgotten.
func routes() []string {
	const cluster = "/millrace/v1/clusters/default"
	all := []string{"GET /metrics", "GET /millrace/v1/backup", "GET " + cluster}
	below := func(base string, routes ...string) {
		for _, r := range routes {
			method, path, _ := strings.Cut(r, " ")
			all = append(all, method+" "+base+path)
		}
	}
	below(cluster, "GET /hosts", "GET /operations", "GET /operations/1", "POST /operations", "GET /audit", "POST /audit", "POST /audit/pace",
		"GET /network", "PUT /network/guards/CLIENT_IAM", "PUT /network/limits", "POST /network/connections", "POST /network/connections/c/accept",
		"POST /network/connections/c/reject", "DELETE /network/connections/c", "GET /usage", "GET /drift")
	below("/millrace/v1/security", "GET /groups", "POST /groups", "PUT /groups/office", "DELETE /groups/office", "GET /certs", "GET /certs/ca", "POST /certs",
		"POST /certs/revoke", "POST /certs/ca/replace", "POST /certs/ca/distrust", "GET /certs/gateways", "POST /certs/gateways",
		"DELETE /certs/gateways/g", "GET /compliance", "GET /keys", "POST /root/keys", "PUT /keys/K", "DELETE /keys/K",
		"POST /assume-role", "POST /simulate", "GET /clusters/default/policy", "PUT /clusters/default/policy", "DELETE /clusters/default/policy",
		"GET /clusters/default/tags", "PUT /clusters/default/tags", "GET /whoami", "POST /session")
	for _, kind := range []string{"users", "roles"} {
		below("/millrace/v1/security/"+kind, "GET ", "POST ", "GET /kept", "DELETE /kept", "POST /kept/tags", "PUT /kept/attached/MillraceAdministrator",
			"DELETE /kept/attached/MillraceReadOnly", "PUT /kept/inline/p", "DELETE /kept/inline/p")
	}
	below("/millrace/v1/security/users/kept", "GET /keys", "POST /keys")
	below("/millrace/v1/security", "PUT /roles/kept/trust", "GET /policies", "POST /policies", "GET /policies/kept", "PUT /policies/kept", "DELETE /policies/kept")
	below("/millrace/v1/security/datakeys", "GET ", "POST /rotate", "POST /rewrap")
	return all
}

// TestNoRouteIsForgotten counts the patterns in the source of serve.
func TestNoRouteIsForgotten(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	files, err := filepath.Glob(filepath.Join(root, "cmd", "*", "*.go"))
	must(t, err)
	pattern, found := regexp.MustCompile(`^"(GET|HEAD|POST|PUT|PATCH|DELETE) `), 0
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasSuffix(name, "_test.go") || name == "agent.go" || name == "gateway.go" {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && pattern.MatchString(l.Value) {
				found++
			}
			return true
		})
	}
	const known = 70 // patterns; those of users and roles have some in common, and two are of health
	if found != known {
		t.Errorf("the source has %d patterns of routes, %d are known here: add the new ones to routes", found, known)
	}
}

// call is a request to the API, and how it is signed.
type call struct {
	method, path string
	body, signs  string // what is sent, and what is signed
	as           string // signed as if it were for this method and path; "": it is
	id, secret   string // "": not signed
	when         time.Time
	change       func(*http.Request) // after it was signed
}

// send sends it from an address that nobody else uses, so that no refusal weighs on the next.
func (f *fortress) send(n int, c call) (int, string) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), c.method, "https://"+f.API+c.path, strings.NewReader(c.body))
	must(f.t, err)
	if c.id != "" {
		method, path := r.Method, r.URL.Path
		if c.as != "" {
			r.Method, r.URL.Path, _ = strings.Cut(c.as, " ")
		}
		must(f.t, sigv4.Sign(r, []byte(c.signs), c.id, c.secret, "", region, "kafka", c.when))
		r.Method, r.URL.Path = method, path
	}
	if c.change != nil {
		c.change(r)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(stranger(n))}}
	transport := &http.Transport{TLSClientConfig: f.tls.Clone(), DisableKeepAlives: true, DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, to)
	}}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(f.t, err)
	return resp.StatusCode, string(answer)
}

// root asks as root, and wants an answer.
func (f *fortress) root(method, path, body string) string {
	f.t.Helper()
	code, answer := f.send(0, call{method: method, path: path, body: body, signs: body, id: f.id, secret: f.secret, when: now()})
	if code != http.StatusOK {
		f.t.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
	return answer
}

// nobody makes a user with a key and no right, beside one who has some.
func (f *fortress) nobody() (id, secret string) {
	f.t.Helper()
	f.root("POST", "/millrace/v1/security/users", `{"name":"kept"}`)
	f.root("PUT", "/millrace/v1/security/users/kept/attached/MillraceReadOnly", "")
	f.root("POST", "/millrace/v1/security/users", `{"name":"nobody"}`)
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	must(f.t, json.Unmarshal([]byte(f.root("POST", "/millrace/v1/security/users/nobody/keys", "")), &key))
	return key.ID, key.Secret
}

// apiState is what root is shown, but for when keys were last used and when what is shown was made up.
func (f *fortress) apiState() map[string]string {
	f.t.Helper()
	volatile := regexp.MustCompile(`"(last_used|last_seen|[a-z_]*(used|seen|at|since|time|heartbeat)[a-z_]*)":("[^"]*"|\{[^}]*\}|[0-9.]+),?`)
	all := map[string]string{}
	for _, path := range []string{
		"/millrace/v1/clusters/default", "/millrace/v1/clusters/default/operations", "/millrace/v1/clusters/default/network", "/millrace/v1/security/groups", "/millrace/v1/security/certs/ca",
		"/millrace/v1/security/keys", "/millrace/v1/security/users", "/millrace/v1/security/roles", "/millrace/v1/security/policies", "/millrace/v1/security/users/kept", "/millrace/v1/security/users/kept/keys",
		"/millrace/v1/security/clusters/default/tags",
	} {
		all[path] = volatile.ReplaceAllString(f.root("GET", path, ""), "")
	}
	return all
}

// bodyOf is what is sent to a route: what would do harm if it were let through.
func bodyOf(route string) string {
	method, path, _ := strings.Cut(route, " ")
	const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	switch {
	case strings.HasSuffix(path, "/assume-role"):
		return `{"role":"kept","session_name":"intruder"}`
	case method == http.MethodGet || method == http.MethodDelete:
		return ""
	case strings.HasSuffix(path, "/operations"):
		return `{"kind":"roll"}`
	case strings.HasSuffix(path, "/users"), strings.HasSuffix(path, "/certs"):
		return `{"name":"intruder"}`
	case strings.HasSuffix(path, "/policies"):
		return `{"name":"intruder","document":` + policy + `}`
	case strings.Contains(path, "/inline/"), strings.HasSuffix(path, "/policy"), strings.HasSuffix(path, "/policies/kept"):
		return `{"document":` + policy + `}`
	case strings.HasSuffix(path, "/tags"):
		return `{"set":{"owned":"yes"}}`
	case strings.HasSuffix(path, "/limits"):
		return `{"per_listener":1}`
	case strings.Contains(path, "/guards/"):
		return `{"groups":["office"]}`
	case strings.Contains(path, "/groups"):
		return `{"name":"office","allow":["127.0.0.0/8"]}`
	default:
		return `{}`
	}
}

// TestEveryRoute of the API refuses who does not sign, signs wrongly, comes too late, sends another body or asks for something else than was
// signed, and who may not.
func TestEveryRoute(t *testing.T) {
	f := start(t)
	id, secret := f.nobody()
	before := f.apiState()
	f.root("POST", "/millrace/v1/security/session", `{}`) // works if it is signed
	n := 0
	for _, route := range routes() {
		method, path, _ := strings.Cut(route, " ")
		body := bodyOf(route)
		right := call{method: method, path: path, body: body, signs: body, id: f.id, secret: f.secret, when: now()}
		wrong, late, early, other, elsewhere, noRight, bare := right, right, right, right, right, right, right
		wrong.secret = secret
		late.when, early.when = now().Add(-20*time.Minute), now().Add(20*time.Minute)
		other.signs = body + " "
		elsewhere.as = "GET /millrace/v1/security/whoami"
		noRight.id, noRight.secret = id, secret
		bare.id = ""
		all := map[string]call{"without a signature": bare, "with another's secret": wrong, "replayed": late, "ahead of time": early, "with another body": other, "without the right": noRight}
		if route != elsewhere.as {
			all["signed for another route"] = elsewhere
		}
		for how, c := range all {
			n++
			code, answer := f.send(n, c)
			free := how == "without the right" && (path == "/millrace/v1/security/whoami" || path == "/millrace/v1/security/session")
			switch {
			case free:
			case code != http.StatusForbidden:
				t.Errorf("%s %s: %d %.200s", route, how, code, answer)
			case how != "without the right" && strings.Contains(answer, "kept"):
				t.Errorf("%s %s tells %.200s", route, how, answer)
			}
		}
	}
	f.unchanged(before, f.apiState())
	t.Logf("%d requests to %d routes", n, len(routes()))
}

// TestRequestsChanged sends what another key has signed, changed in places: nothing but a refusal comes, and nobody falls over.
func TestRequestsChanged(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/flood")
	const many, atATime = 1500, 16
	f := start(t)
	_, secret := f.nobody()
	before := f.apiState()
	all := routes()
	paths := []string{"//", "/../", "/%2e%2e/", "/./", "/%2f", ";", "?a=b", "/%00"}
	f.besieged(func() {
		attackers(many, atATime, func(n int) {
			random := rand.New(rand.NewPCG(uint64(n), 2))
			route := all[random.IntN(len(all))]
			method, path, _ := strings.Cut(route, " ")
			body := bodyOf(route)
			c := call{method: method, path: path, body: body, signs: body, id: f.id, secret: secret, when: now()}
			c.change = func(r *http.Request) {
				switch random.IntN(6) {
				case 0:
					for name := range r.Header {
						r.Header.Set(name, printable(damaged([]byte(r.Header.Get(name)+" "), random)))
					}
				case 1:
					r.Header.Set("Authorization", strings.Repeat(r.Header.Get("Authorization")+",", 1+random.IntN(2000)))
				case 2:
					r.URL.Opaque = "//" + f.API + "/millrace/v1" + paths[random.IntN(len(paths))] + strings.TrimPrefix(path, "/millrace/v1/")
				case 3:
					r.Header.Add("Authorization", "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=")
				case 4:
					huge := bytes.Repeat([]byte("x"), 1<<20+random.IntN(1<<20))
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(huge)), int64(len(huge))
				default:
					r.Header.Del("Authorization")
					r.Host = fmt.Sprintf("host-%d", n)
				}
			}
			if code, answer := f.send(n, c); code/100 == 2 || code/100 == 5 {
				t.Errorf("%s: %d %.200s", route, code, answer)
			}
		})
	})
	f.unchanged(before, f.apiState())
}

// printable is a header's value that a client can send.
func printable(b []byte) string {
	for i := range b {
		b[i] = ' ' + b[i]%95
	}
	return string(b)
}
