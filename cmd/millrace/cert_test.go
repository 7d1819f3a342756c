package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/cmd/door"
	"millrace/secure/cert"
	"millrace/secure/trail"
)

// openly seals nothing.
type openly struct{}

func (openly) Seal(plain, _ []byte) ([]byte, error) { return bytes.Clone(plain), nil }
func (openly) Open(sealed, _ []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, errors.New("nothing")
	}
	return bytes.Clone(sealed), nil
}

// certDesk is an API with certificates only.
type certDesk struct {
	t      *testing.T
	ca     *cert.Authority
	url    string
	events []trail.Event
}

func newCertDesk(t *testing.T) *certDesk {
	t.Helper()
	store := kv.NewMemory()
	t.Cleanup(func() { _ = store.Close() })
	log := slog.New(slog.DiscardHandler)
	ca, err := cert.OpenAuthority(t.Context(), cert.AuthorityConfig{}, openly{}, cert.World{KV: store, Clock: clock.System{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	d := &certDesk{t: t, ca: ca}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(*http.Request) (int, any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			status, answer, err := h(r)
			if err != nil {
				status, answer = http.StatusInternalServerError, map[string]string{"error": err.Error()}
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	door.HandleCerts(handle, ca, func(_ *http.Request, e trail.Event) { d.events = append(d.events, e) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

// run runs a verb and returns its exit status and what it printed.
func (d *certDesk) run(args ...string) (int, string) {
	d.t.Helper()
	var out, errOut bytes.Buffer
	status := run(d.t.Context(), append(append([]string{"cert"}, args...), "--api", d.url), strings.NewReader(""), &out, &errOut)
	return status, out.String() + errOut.String()
}

func (d *certDesk) must(args ...string) string {
	d.t.Helper()
	status, text := d.run(args...)
	if status != exitOK {
		d.t.Fatalf("cert %v: %d: %s", args, status, text)
	}
	return text
}

func TestCertIssue(t *testing.T) {
	d := newCertDesk(t)
	dir := filepath.Join(t.TempDir(), "alice")
	d.must("issue", "--name", "alice", "--unit", "ops", "--days", "3", "--out", dir)
	read := func(name string, mode os.FileMode) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	pair, err := tls.X509KeyPair(read("client.pem", 0o644), read("client.key", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(read("ca.pem", 0o644)) {
		t.Fatal("no authority")
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	properties := string(read("client.properties", 0o600))
	_, after, _ := strings.Cut(properties, "ssl.keystore.password=")
	password, _, _ := strings.Cut(after, "\n")
	if len(password) < 20 {
		t.Errorf("password %q", password)
	}
	key, leaf, _, err := pkcs12.DecodeChain(read("client.p12", 0o600), password)
	if err != nil || !leaf.Equal(pair.Leaf) || key == nil {
		t.Errorf("client.p12: %v", err)
	}
	if trusted, err := pkcs12.DecodeTrustStore(read("truststore.p12", 0o644), password); err != nil || len(trusted) != 1 {
		t.Errorf("truststore.p12: %v", err)
	}
	// A key that is there is not replaced, and what comes to nothing leaves nothing.
	if status, text := d.run("issue", "--name", "alice", "--out", dir); status != exitUsage || !strings.Contains(text, "already") {
		t.Errorf("again: %d: %s", status, text)
	}
	refused := filepath.Join(t.TempDir(), "refused")
	if status, text := d.run("issue", "--name", "x", "--unit", "millrace-node", "--out", refused); status != exitFailed || !strings.Contains(text, "nodes") {
		t.Errorf("a node's unit: %d: %s", status, text)
	}
	if _, err := os.Stat(refused); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if len(d.events) != 2 || d.events[0].Outcome != trail.Accepted || d.events[1].Outcome != trail.Failed || strings.Contains(string(d.events[0].After), "BEGIN") {
		t.Errorf("recorded: %+v", d.events)
	}
}

func TestCertListAndRevoke(t *testing.T) {
	d := newCertDesk(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("correct horse\nx"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice", "bob"} {
		d.must("issue", "--name", name, "--out", filepath.Join(t.TempDir(), name), "--password-file", password)
	}
	if text := d.must("list"); !strings.Contains(text, "alice") || !strings.Contains(text, "bob") {
		t.Errorf("list: %s", text)
	}
	d.must("revoke", "--name", "alice", "--reason", "laptop stolen")
	if text := d.must("list"); strings.Contains(text, "alice") || !strings.Contains(text, "bob") {
		t.Errorf("list: %s", text)
	}
	if text := d.must("list", "--all"); !strings.Contains(text, "revoked") || !strings.Contains(text, "laptop stolen") {
		t.Errorf("list: %s", text)
	}
	var shown []cert.Certificate
	if err := json.Unmarshal([]byte(d.must("show", "bob", "--output", "json")), &shown); err != nil || len(shown) != 1 || shown[0].Subject != "CN=bob" {
		t.Errorf("show: %+v, %v", shown, err)
	}
	d.must("revoke", strings.ToUpper(shown[0].Serial))
	for _, args := range [][]string{{"revoke", "--name", "nobody"}, {"revoke", "zz"}, {"revoke", "77"}, {"show", "nobody"}, {"ca", "distrust", "77"}} {
		if status, text := d.run(args...); status != exitFailed {
			t.Errorf("%v: %d: %s", args, status, text)
		}
	}
	for _, args := range [][]string{{"revoke"}, {"revoke", "77", "--name", "x"}, {"issue"}, {"issue", "--name", "x", "--days", "-1"}, {"show"}} {
		if status, text := d.run(args...); status != exitUsage {
			t.Errorf("%v: %d: %s", args, status, text)
		}
	}
	d.must("revoke", "77", "--foreign")
	first := d.ca.CA().Fingerprint
	if text := d.must("ca"); !strings.HasPrefix(text, "-----BEGIN CERTIFICATE") {
		t.Errorf("ca: %s", text)
	}
	d.must("ca", "replace")
	if d.ca.CA().Fingerprint == first {
		t.Error("not replaced")
	}
	if text := d.must("ca", "distrust", strings.ToUpper(first)); strings.Contains(text, first) {
		t.Errorf("still trusted: %s", text)
	}
}
