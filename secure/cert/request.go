package cert

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strings"
)

// maxRequestDER bounds a certificate signing request.
const maxRequestDER = 16 << 10

// makeRequest asks for a certificate with the names, for the key.
func makeRequest(key crypto.Signer, names Names) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names.DNS, IPAddresses: names.netIPs()}, key)
	if err != nil {
		return nil, fmt.Errorf("cert: make a request: %w", err)
	}
	return der, nil
}

// readRequest checks a request: that who asks has the key, that the key is strong, and which names it is for. Whatever else it says
// (subject, usages, other kinds of names) counts for nothing.
func readRequest(der []byte) (crypto.PublicKey, Names, error) {
	if len(der) > maxRequestDER {
		return nil, Names{}, fmt.Errorf("%w: %d bytes, at most %d", ErrRequest, len(der), maxRequestDER)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, Names{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := checkKey(csr.PublicKey); err != nil { // first: checking a signature of a huge key costs much
		return nil, Names{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, Names{}, fmt.Errorf("%w: the signature is not that of its key: %w", ErrRequest, err)
	}
	if n := len(csr.DNSNames) + len(csr.IPAddresses); n > maxNames {
		return nil, Names{}, fmt.Errorf("%w: %d names, at most %d", ErrRequest, n, maxNames)
	}
	var dns []string
	for _, d := range csr.DNSNames {
		d = strings.ToLower(d)
		if !isDNS(d) {
			return nil, Names{}, fmt.Errorf("%w: %q is no host name", ErrRequest, clip(d))
		}
		dns = append(dns, d)
	}
	return csr.PublicKey, Names{DNS: dns, IPs: fromNetIPs(csr.IPAddresses)}.Add(Names{}), nil
}

// sameKey says whether a certificate is for this key.
func sameKey(c *x509.Certificate, public crypto.PublicKey) bool {
	a, err1 := x509.MarshalPKIXPublicKey(c.PublicKey)
	b, err2 := x509.MarshalPKIXPublicKey(public)
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}
