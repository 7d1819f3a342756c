package cert

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"millrace/base/disk"
)

// pair is a node's certificate with what leads to a root, and its key. It is not changed.
type pair struct {
	key  crypto.Signer
	cert tls.Certificate // with Leaf
}

func newPair(key crypto.Signer, chain []*x509.Certificate) (*pair, error) {
	if len(chain) == 0 || !sameKey(chain[0], key.Public()) {
		return nil, fmt.Errorf("%w: the certificate is not for the key", ErrRecord)
	}
	p := &pair{key: key, cert: tls.Certificate{PrivateKey: key, Leaf: chain[0]}}
	for _, c := range chain {
		p.cert.Certificate = append(p.cert.Certificate, c.Raw)
	}
	return p, nil
}

func (p *pair) leaf() *x509.Certificate { return p.cert.Leaf }
func (p *pair) serial() string          { return serialText(p.leaf().SerialNumber) }

// renewAt is when two thirds of the certificate's life are over.
func (p *pair) renewAt() time.Time {
	return p.leaf().NotBefore.Add(p.leaf().NotAfter.Sub(p.leaf().NotBefore) * 2 / 3)
}

// covers says that the certificate has all the names.
func (p *pair) covers(names Names) bool { return names.Without(namesIn(p.leaf())).IsEmpty() }

func namesIn(c *x509.Certificate) Names {
	return Names{DNS: c.DNSNames, IPs: fromNetIPs(c.IPAddresses)}.Add(Names{})
}

// verify checks the certificate as others will, but for its names.
func (p *pair) verify(roots *x509.CertPool, now time.Time) error {
	between := x509.NewCertPool()
	for _, der := range p.cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err := p.leaf().Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

const keyBlock = "PRIVATE KEY"

// maxPairBytes bounds the file that is read.
const maxPairBytes = 256 << 10

func (p *pair) encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("cert: encode the key: %w", err)
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: keyBlock, Bytes: der}) // a Buffer does not fail
	for _, c := range p.cert.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: certificateBlock, Bytes: c})
	}
	return b.Bytes(), nil
}

func decodePair(text []byte) (*pair, error) {
	if len(text) > maxPairBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrRecord, len(text))
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("%w: it does not begin with a key", ErrRecord)
	}
	key, err := parsePKCS8(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	chain, err := parsePEM(rest)
	if err != nil {
		return nil, err
	}
	return newPair(key, chain)
}

// loadPair returns nil where there is no file. A file that others could read is a fault: its key may be known to them.
func loadPair(fsys disk.FS, name string) (*pair, error) {
	info, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cert: key and certificate: %w", err)
	}
	const others = 0o077
	if info.Mode()&others != 0 {
		return nil, fmt.Errorf("%w: %s may be read by others (mode %v)", ErrRecord, name, info.Mode().Perm())
	}
	text, err := fsys.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cert: key and certificate: %w", err)
	}
	p, err := decodePair(text)
	clear(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// store writes key and certificates as one file, in one step.
func (p *pair) store(fsys disk.FS, name string) error {
	text, err := p.encode()
	if err != nil {
		return err
	}
	defer clear(text)
	if err := fsys.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("cert: keep key and certificate: %w", err)
	}
	if err := fsys.WriteFileAtomic(name, text); err != nil {
		return fmt.Errorf("cert: keep key and certificate: %w", err)
	}
	return nil
}

// same says that two pairs have the same certificate.
func (p *pair) same(q *pair) bool {
	return p != nil && q != nil && slices.Equal(p.leaf().Raw, q.leaf().Raw)
}
