package client

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// files is a ReadFile of what is in memory.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, fmt.Errorf("%s: no such file", name)
	}
	return []byte(text), nil
}

func TestSecurityOptions(t *testing.T) {
	f := files{"empty": "", "password": "secret\n"}
	aws := func(name string) string {
		return map[string]string{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}[name]
	}
	none := func(string) string { return "" }
	for _, c := range []struct {
		s     Security
		n     int    // options
		wrong string // part of the error; "": none
	}{
		{Security{}, 0, ""},
		{Security{TLS: true}, 1, ""},
		{Security{CAFile: "missing"}, 0, "missing"},
		{Security{CAFile: "empty"}, 0, "no certificate in empty"},
		{Security{CertFile: "empty"}, 0, "go together"},
		{Security{KeyFile: "empty"}, 0, "without a certificate"},
		{Security{CertFile: "empty", KeyFile: "empty"}, 0, "certificate empty"},
		{Security{SASL: SCRAM, User: "alice", PasswordFile: "password"}, 1, ""},
		{Security{TLS: true, SASL: SCRAM256, User: "alice", PasswordFile: "password"}, 2, ""},
		{Security{SASL: SCRAM, User: "alice"}, 0, "needs a user and a file"},
		{Security{SASL: SCRAM, User: "alice", PasswordFile: "missing"}, 0, "missing"},
		{Security{User: "alice"}, 0, "--sasl scram"},
		{Security{SASL: IAM, Getenv: aws}, 1, ""},
		{Security{SASL: IAM, Getenv: none}, 0, "AWS_ACCESS_KEY_ID"},
		{Security{SASL: "plain"}, 0, `"plain"`},
	} {
		c.s.ReadFile = f.read
		opts, err := c.s.options()
		if c.wrong == "" && (err != nil || len(opts) != c.n) || c.wrong != "" && (!errors.Is(err, ErrSecurity) || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%+v: %d options, %v", c.s, len(opts), err)
		}
	}
	if a, err := (Security{User: "alice", PasswordFile: "password", ReadFile: f.read}).password(); err != nil || a.Pass != "secret" {
		t.Errorf("password %q, %v", a.Pass, err)
	}
}

// A client trusts the authority that it was given, and no other.
func TestSecurityTrust(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	cfg, err := Security{CAFile: "ca", ReadFile: files{"ca": string(ca)}.read}.tls()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if cfg, err = (Security{TLS: true}).tls(); err != nil {
		t.Fatal(err)
	}
	if conn, err := tls.Dial("tcp", addr, cfg); err == nil {
		_ = conn.Close()
		t.Error("trusts an authority that it does not know")
	} else if Hint(err) == "" || !strings.Contains(Hint(err), "--tls-ca") {
		t.Errorf("%v: hint %q", err, Hint(err))
	}
}
