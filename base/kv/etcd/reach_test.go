package etcd

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// secure is an HTTP/2 server with TLS, as etcd's; want says whether clients must show a certificate.
func secure(t *testing.T, want tls.ClientAuthType) (endpoint string, trusting *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: want}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

func TestReachSaysWhatIsWrong(t *testing.T) {
	open, trusting := secure(t, tls.NoClientCert)
	closed, _ := secure(t, tls.RequireAnyClientCert)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + quiet.Addr().String()
	if err := quiet.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, endpoint string
		cfg            *tls.Config
		refused        bool
		word           string
	}{
		{"a CA that is not theirs", open, &tls.Config{}, true, "not one that the CA vouches for"},
		{"no certificate of ours", closed, trusting, true, "does not take this side's certificate"},
		{"https to a plain server", "https" + strings.TrimPrefix(plain.URL, "http"), trusting, true, "http:// rather than https://"},
		{"http to a server with TLS", "http" + strings.TrimPrefix(open, "https"), nil, false, "https:// rather than http://"},
		{"nobody", gone, nil, false, "refused"},
	} {
		err := Reach(t.Context(), []string{f.endpoint}, f.cfg)
		if err == nil || errors.Is(err, ErrRefused) != f.refused || !strings.Contains(err.Error(), f.word) || !strings.Contains(err.Error(), f.endpoint) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	if err := Reach(t.Context(), []string{gone, open}, trusting); err != nil {
		t.Errorf("one of two answers: %v", err)
	}
	e := startMember(t, t.TempDir())
	if err := Reach(t.Context(), []string{e.Endpoint()}, nil); err != nil {
		t.Errorf("an embedded member: %v", err)
	}
}

// A server that says nothing is not waited for without end, nor one that sends what nobody asked for.
func TestReachGivesUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	if err := Reach(t.Context(), []string{"http://" + silent.Addr().String()}, nil); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("a silent server: %v", err)
	}
}
