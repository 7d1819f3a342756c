package cert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// ClientAuth says whether a listener asks clients for a certificate.
type ClientAuth string

// What a listener may ask for, as ssl.client.auth of Apache Kafka: none, requested, required.
const (
	NoClientCert   ClientAuth = "none" // also the zero value
	WantClientCert ClientAuth = "want" // a client may come without; a bad certificate is refused
	NeedClientCert ClientAuth = "need"
)

func (a ClientAuth) mode() tls.ClientAuthType {
	switch a {
	case WantClientCert:
		return tls.VerifyClientCertIfGiven
	case NeedClientCert:
		return tls.RequireAndVerifyClientCert
	case NoClientCert, "":
		return tls.NoClientCert
	}
	return tls.RequireAndVerifyClientCert // what is unknown is not let pass
}

var errNotReady = errors.New("cert: no certificate yet")

// base is what servers and clients have in common. Of TLS 1.3 all suites are good; of 1.2 only those with forward secrecy and
// authenticated encryption are left. The key exchange that quantum computers cannot undo comes first.
func base(k *Keeper) *tls.Config {
	return &tls.Config{
		Time: k.world.Clock.Now,
		// Small first records are for browsers; here they would cost a write each.
		DynamicRecordSizingDisabled: true,
		MinVersion:                  tls.VersionTLS12,
		CurvePreferences:            []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// ServerTLS is the configuration of a listener. Each handshake takes the certificate and the trusted authorities that the Keeper has at
// that moment. protocols are offered by ALPN: none for Kafka, "h2" and "http/1.1" for HTTP. The caller must not change the result.
func ServerTLS(k *Keeper, auth ClientAuth, protocols ...string) *tls.Config {
	var made atomic.Pointer[serverConfig]
	outer := base(k)
	outer.NextProtos = protocols
	outer.ClientAuth = auth.mode()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		s := k.state.Load()
		if s.pair == nil || s.view == nil {
			return nil, errNotReady
		}
		if c := made.Load(); c != nil && c.of == s {
			return c.cfg, nil
		}
		// The tickets of resumed sessions are made with keys of outer, which package tls changes by itself.
		cfg := base(k)
		cfg.NextProtos = protocols
		cfg.ClientAuth = auth.mode()
		cfg.ClientCAs = s.view.pool
		cfg.Certificates = []tls.Certificate{s.pair.cert}
		cfg.VerifyConnection = k.checkPeer
		made.Store(&serverConfig{of: s, cfg: cfg})
		return cfg, nil
	}
	return outer
}

// serverConfig is the configuration that belongs to a state.
type serverConfig struct {
	of  *state
	cfg *tls.Config
}

// checkPeer refuses a client's certificate that does not count now. It is asked in resumed sessions too, unlike the checks of package tls.
func (k *Keeper) checkPeer(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	if now := k.world.Clock.Now(); !now.Before(cs.PeerCertificates[0].NotAfter) {
		return fmt.Errorf("%w: it has ended", ErrRefused)
	}
	return k.Refused(cs)
}

// Refused says why the certificate of the client of an open connection counts no more; nil where it does, or there is none. That it
// has ended since the handshake is no reason.
func (k *Keeper) Refused(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	s := k.state.Load()
	if s.view == nil {
		return errNotReady
	}
	return s.view.anyCounts(cs.VerifiedChains)
}

// RefusedClient says whether a TLS handshake of a server failed because of the client's certificate, or the lack of one.
func RefusedClient(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.Is(err, ErrRefused) || errors.As(err, &verification) ||
		err != nil && strings.Contains(err.Error(), "client didn't provide a certificate") // package tls has no type for it
}

// ClientTLS is the configuration for connections to another node of the installation, which host names (an IP or a DNS name, without
// port). It shows the own certificate, and accepts a certificate that the Signer has given to a node, gateways apart, with that name, and nothing else. It
// is for one connection or several to that host; make another for another.
func ClientTLS(k *Keeper, host string) *tls.Config {
	cfg := base(k)
	cfg.ServerName = host
	// The roots are those at the moment of the handshake, so the check is verifyNode's, which leaves nothing of the usual one out.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return k.verifyNode(cs, host) }
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if p := k.state.Load().pair; p != nil {
			return &p.cert, nil
		}
		return nil, errNotReady
	}
	return cfg
}

func (k *Keeper) verifyNode(cs tls.ConnectionState, host string) error {
	s := k.state.Load()
	if s.view == nil || len(cs.PeerCertificates) == 0 || host == "" {
		return fmt.Errorf("%w: nothing to check it by", ErrRefused)
	}
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	leaf := cs.PeerCertificates[0]
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: s.view.pool, Intermediates: between, CurrentTime: k.world.Clock.Now(), DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := s.view.anyCounts(chains); err != nil {
		return err
	}
	if r, ok := s.view.node(leaf); !ok || !r.Node.internal() {
		return fmt.Errorf("%w: it was not given to a broker, an agent or the control plane", ErrRefused)
	}
	return nil
}
