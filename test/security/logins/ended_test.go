package logins

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"millrace/base/clock"
	"millrace/secure/cert"
	"millrace/test/harness"
)

// disable takes from somebody what can be taken: the access key is disabled and the certificate revoked. It makes those other credentials,
// too, that were good once, or are good elsewhere.
func (s *site) disable(p person) {
	key, err := s.store.CreateKey(s.deadline(), p.name)
	must(s.t, err)
	s.gone = key
	must(s.t, s.store.DeleteKey(s.deadline(), key.ID))
	must(s.t, s.store.SetKey(s.deadline(), p.key.ID, false))
	s.ended = s.issueInThePast("ended")
	s.foreign = s.issueElsewhere("everybody")
	s.verb("cert", "revoke", "--name", p.name)
	pair, err := tls.LoadX509KeyPair(p.cert, p.certKey)
	must(s.t, err)
	config := s.trust()
	config.Certificates = []tls.Certificate{pair}
	harness.Eventually(s.t, patience, "the revoked certificate is refused", func(ctx context.Context) error {
		dialer := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.addresses.next())}}, Config: config}
		nc, err := dialer.DialContext(ctx, "tcp", s.targets()[0].tls)
		if err != nil {
			return nil // it is refused, as it is to be
		}
		defer nc.Close()
		const soon = time.Second // a broker that accepts a certificate says nothing by itself
		if err := nc.SetReadDeadline(time.Now().Add(soon)); err != nil {
			return err
		}
		var timeout net.Error
		if _, err := nc.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			return nil
		}
		return errors.New("it is let in")
	})
}

// issueInThePast has the installation's authority issue a certificate as it would have two hours ago, for an hour.
func (s *site) issueInThePast(name string) harness.Cert {
	ctx := s.deadline()
	world := cert.World{KV: s.kv, Clock: clock.NewManual(time.Now().Add(-2 * time.Hour)), Log: slog.New(slog.NewTextHandler(s.t.Output(), nil))}
	authority, err := cert.OpenAuthority(ctx, cert.AuthorityConfig{}, s.ring, world)
	must(s.t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(s.t, err)
	issued, err := authority.IssueClient(ctx, cert.ClientRequest{Name: name, CSR: csr, Life: time.Hour})
	must(s.t, err)
	return s.write([]byte(issued.Chain), key)
}

// issueElsewhere has an authority that nobody here trusts issue a certificate.
func (s *site) issueElsewhere(name string) harness.Cert {
	c := harness.NewCA(s.t).Issue(s.t, name)
	text, err := os.ReadFile(c.Key)
	must(s.t, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	must(s.t, err)
	chain, err := os.ReadFile(c.Cert)
	must(s.t, err)
	return s.write(chain, key)
}

// write writes a certificate and its key, in PKCS #8, which all clients read.
func (s *site) write(chain []byte, key *ecdsa.PrivateKey) harness.Cert {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(s.t, err)
	dir := s.t.TempDir()
	c := harness.Cert{Cert: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client.key")}
	must(s.t, os.WriteFile(c.Cert, chain, 0o600))
	must(s.t, os.WriteFile(c.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return c
}
