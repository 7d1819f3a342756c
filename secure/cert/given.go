package cert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"
)

// leastRSA is how many bits an RSA key must have.
const leastRSA = 2048

// Given is a certificate authority of the operator's. The zero value is none: the installation makes its own.
type Given struct {
	Chain []byte // PEM: the certificate that is to sign, then those that lead to its root; the last one is what is trusted
	Key   []byte // PEM, without a password: PKCS #8, SEC 1 or PKCS #1
}

// IsZero says that none was given.
func (g Given) IsZero() bool { return len(g.Chain) == 0 && len(g.Key) == 0 }

// String hides the key.
func (g Given) String() string {
	return fmt.Sprintf("given authority (chain of %d bytes)", len(g.Chain))
}

// GoString hides the key.
func (g Given) GoString() string { return g.String() }

// LogValue hides the key.
func (g Given) LogValue() slog.Value { return slog.StringValue(g.String()) }

// issuer is an authority that can sign.
type issuer struct {
	chain []*x509.Certificate // the signer first, the trust anchor last; at least one
	key   crypto.Signer
	given bool
}

func (i *issuer) cert() *x509.Certificate   { return i.chain[0] }
func (i *issuer) anchor() *x509.Certificate { return i.chain[len(i.chain)-1] }

// sent is what servers send behind their own certificate, so that who trusts the anchor (or what signed it) finds the way.
func (i *issuer) sent() []*x509.Certificate {
	if selfSigned(i.anchor()) {
		return i.chain[:len(i.chain)-1]
	}
	return i.chain
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil
}

// read checks what was given at the time now.
func (g Given) read(now time.Time) (*issuer, error) {
	if len(g.Chain) == 0 || len(g.Key) == 0 {
		return nil, fmt.Errorf("%w: certificate and key go together", ErrGiven)
	}
	chain, err := parsePEM(g.Chain)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate: %w", ErrGiven, err)
	}
	key, err := parseKeyPEM(g.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: key: %w", ErrGiven, err)
	}
	i := &issuer{chain: chain, key: key, given: true}
	return i, i.check(now)
}

// check says what is wrong with the authority, as seen at the time now.
func (i *issuer) check(now time.Time) error {
	for n, c := range i.chain {
		switch {
		case !c.BasicConstraintsValid || !c.IsCA:
			return fmt.Errorf("%w: %s is no certificate of an authority", ErrGiven, nameOf(c))
		case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
			return fmt.Errorf("%w: %s may not sign certificates", ErrGiven, nameOf(c))
		case now.After(c.NotAfter):
			return fmt.Errorf("%w: %s has ended on %s", ErrGiven, nameOf(c), c.NotAfter.Format(time.DateOnly))
		}
		if n > 0 {
			if err := i.chain[n-1].CheckSignatureFrom(c); err != nil {
				return fmt.Errorf("%w: %s was not signed by %s, which follows it: %w", ErrGiven, nameOf(i.chain[n-1]), nameOf(c), err)
			}
		}
	}
	if err := checkKey(i.cert().PublicKey); err != nil {
		return fmt.Errorf("%w: %w", ErrGiven, err)
	}
	public, ok := i.key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(i.cert().PublicKey) {
		return fmt.Errorf("%w: the key is not that of %s", ErrGiven, nameOf(i.cert()))
	}
	return nil
}

// checkKey refuses keys that are weak, or of kinds that some client of Kafka cannot check.
func checkKey(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return fmt.Errorf("curve %s; use P-256", k.Curve.Params().Name)
		}
		return nil
	case *rsa.PublicKey:
		const most = 8192 // above, checking one costs too much
		if bits := k.N.BitLen(); bits < leastRSA || bits > most {
			return fmt.Errorf("RSA key of %d bits; %d to %d are allowed", bits, leastRSA, most)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	default:
		return errors.New("unknown kind of key; use ECDSA, RSA or Ed25519")
	}
}

func parseKeyPEM(text []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("no private key in PEM")
		}
		switch block.Type {
		case "PRIVATE KEY":
			return parsePKCS8(block.Bytes)
		case "EC PRIVATE KEY":
			return hideFault(x509.ParseECPrivateKey(block.Bytes))
		case "RSA PRIVATE KEY":
			return hideFault(x509.ParsePKCS1PrivateKey(block.Bytes))
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key has a password; give it without")
		}
	}
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("not a private key in PKCS #8")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key that cannot sign")
	}
	return signer, nil
}

// hideFault keeps what a parser says of a key's bytes to itself.
func hideFault[K crypto.Signer](key K, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, errors.New("damaged private key")
	}
	return key, nil
}

func nameOf(c *x509.Certificate) string {
	if dn, err := DistinguishedName(c.RawSubject); err == nil {
		return clip(dn)
	}
	return "a certificate"
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cert: make a key: %w", err)
	}
	return key, nil
}

// newSerial is positive and never met twice.
func newSerial() (*big.Int, error) {
	const bits = 127
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	if err != nil {
		return nil, fmt.Errorf("cert: make a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

// makeIssuer makes an authority for an installation, which lives from now on.
func makeIssuer(name string, now time.Time, life time.Duration) (*issuer, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial number in the name tells authorities of one installation apart, for clients that look for them by name.
		Subject:   pkix.Name{CommonName: name + " " + serialText(serial)[:8], Organization: []string{"Millrace"}},
		NotBefore: now.Add(-backdate(life)), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("cert: make the authority: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cert: make the authority: %w", err)
	}
	return &issuer{chain: []*x509.Certificate{c}, key: key}, nil
}

// backdate is how long before now a certificate begins, for clocks that go behind.
func backdate(life time.Duration) time.Duration { return min(5*time.Minute, life/10) }

// bridge is next's trust anchor signed by the former authority, with what leads from that to its own anchor: with it, who trusts
// only the former accepts what next signs. It is empty where the former may not sign authorities.
func bridge(former, next *issuer) ([]*x509.Certificate, error) {
	if former.cert().MaxPathLenZero {
		return nil, nil
	}
	to := next.anchor()
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, RawSubject: to.RawSubject, SubjectKeyId: to.SubjectKeyId,
		NotBefore: later(to.NotBefore, former.cert().NotBefore), NotAfter: earlier(to.NotAfter, former.cert().NotAfter),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, former.cert(), to.PublicKey, former.key)
	if err != nil {
		return nil, fmt.Errorf("cert: sign the new authority by the former one: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cert: sign the new authority by the former one: %w", err)
	}
	return append([]*x509.Certificate{c}, former.sent()...), nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
