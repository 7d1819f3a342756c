package warden

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"millrace/engine"
)

// A node is connected to as Target.TLS says for its host, and not at all where that fails or the node shows nothing that is trusted.
func TestDial(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	address := server.Listener.Addr().String()
	trust := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	var asked []string
	s := &session{cfg: Config{Timeout: time.Minute}, target: engine.Target{TLS: func(_ context.Context, host string) (*tls.Config, error) {
		asked = append(asked, host)
		return &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}, nil
	}}}
	conn, err := s.dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(address); len(asked) != 1 || asked[0] != host {
		t.Errorf("asked for %q", asked)
	}
	if _, encrypted := conn.(*tls.Conn); !encrypted {
		t.Error("plain")
	}
	_ = conn.Close()
	trust = nil
	var unknown *tls.CertificateVerificationError
	if _, err := s.dial(t.Context(), "tcp", address); !errors.As(err, &unknown) {
		t.Errorf("a stranger: %v", err)
	}
	broken := errors.New("no certificate")
	s.target.TLS = func(context.Context, string) (*tls.Config, error) { return nil, broken }
	if _, err := s.dial(t.Context(), "tcp", address); !errors.Is(err, broken) {
		t.Error(err)
	}
	s.target.TLS = nil
	conn, err = s.dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, encrypted := conn.(*tls.Conn); encrypted {
		t.Error("encrypted")
	}
	_ = conn.Close()
}

// Who knows no addresses is told so, not nobody.
func TestNoAddresses(t *testing.T) {
	if _, err := New(Config{}).Settled(t.Context(), engine.Target{Cluster: "c"}); err == nil || errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// A node that takes connections and says nothing has its time, and no more, whatever the client below would wait for (W2).
func TestHungNode(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts: the kernel does
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	s := &session{cfg: Config{Timeout: 200 * time.Millisecond}, peers: map[int32]peer{}, addresses: map[int32]string{7: listener.Addr().String()}}
	defer s.close()
	broker, err := s.broker(7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := askDisk(t.Context(), 7, broker); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := s.broker(8); err == nil {
		t.Error("a broker that is not there")
	}
}
