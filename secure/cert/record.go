package cert

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// format of all records of this package.
const format = 1

// Where the records lie in etcd.
const (
	authorityKey   = "security/authority"
	trustPrefix    = "security/certs/trust/"
	trustAuthority = trustPrefix + "authority"
	trustNodes     = trustPrefix + "nodes/"
	trustRevoked   = trustPrefix + "revoked/"
	requestPrefix  = "security/certs/requests/"
	answerPrefix   = "security/certs/answers/"
	clientPrefix   = "security/certs/clients/"
	gatewayPrefix  = "security/certs/gateways/"
)

// maxRecordBytes bounds every record that is read.
const maxRecordBytes = 256 << 10

// authorityRecord is the authority with its key: for the control plane only.
type authorityRecord struct {
	Format int    `json:"format"`
	Given  bool   `json:"given"` // by the operator; otherwise the installation made it
	Chain  string `json:"chain"` // PEM: the authority's certificate, then those that lead to its root
	Key    []byte `json:"key"`   // PKCS #8, sealed
}

// trustRecord is what everybody may know of the authority.
type trustRecord struct {
	Format  int    `json:"format"`
	Issuer  string `json:"issuer"`            // fingerprint of the certificate that signs now
	Roots   string `json:"roots"`             // PEM: those that are trusted, the present one first
	Bridges string `json:"bridges,omitempty"` // PEM: roots of now signed by those of before
}

// requestRecord is what a node asks for.
type requestRecord struct {
	Format int       `json:"format"`
	Node   Node      `json:"node"`
	CSR    []byte    `json:"csr"` // DER
	Asked  time.Time `json:"asked"`
}

// answerRecord is what became of it.
type answerRecord struct {
	Format  int    `json:"format"`
	Request string `json:"request"` // digest of the request's CSR
	Serial  string `json:"serial,omitempty"`
	Chain   string `json:"chain,omitempty"`   // PEM: the node's certificate, then what leads to a root
	Refused string `json:"refused,omitempty"` // why there is none
}

// nodeRecord says that a certificate is a node's.
type nodeRecord struct {
	Format      int       `json:"format"`
	Node        Node      `json:"node"`
	Names       string    `json:"names"`
	Fingerprint string    `json:"fingerprint"`
	Issuer      string    `json:"issuer"` // fingerprint of the authority
	Issued      time.Time `json:"issued"`
	Ends        time.Time `json:"ends"`
}

// clientRecord is a certificate that was issued to a client.
type clientRecord struct {
	Format      int       `json:"format"`
	Name        string    `json:"name"`
	Subject     string    `json:"subject"`
	Fingerprint string    `json:"fingerprint"`
	Issuer      string    `json:"issuer"`
	Issued      time.Time `json:"issued"`
	Ends        time.Time `json:"ends"`
}

// revokedRecord says that a certificate counts no more.
type revokedRecord struct {
	Format int       `json:"format"`
	Reason string    `json:"reason,omitempty"`
	When   time.Time `json:"when"`
	Ends   time.Time `json:"ends"` // of the certificate: then the record may go
}

// gatewayRecord lets a gateway have certificates.
type gatewayRecord struct {
	Format int `json:"format"`
	Registration
}

type anyRecord interface {
	authorityRecord | trustRecord | requestRecord | answerRecord | nodeRecord | clientRecord | revokedRecord | gatewayRecord
}

// encode gives the stored form. Plain data of this package always has one.
func encode[T anyRecord](v T) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cert: encode: %w", err)
	}
	return b, nil
}

// decode reads what encode gave.
func decode[T anyRecord](key string, b []byte) (T, error) {
	var v T
	var head struct {
		Format int `json:"format"`
	}
	if len(b) > maxRecordBytes {
		return v, fmt.Errorf("%w: %s: %d bytes", ErrRecord, clip(key), len(b))
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return v, fmt.Errorf("%w: %s: %w", ErrRecord, clip(key), err)
	}
	if head.Format > format {
		return v, fmt.Errorf("%w: %s has format %d, this binary reads up to %d", ErrNewer, clip(key), head.Format, format)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%w: %s: %w", ErrRecord, clip(key), err)
	}
	return v, nil
}

const certificateBlock = "CERTIFICATE"

// maxChain is how many certificates a PEM text may hold.
const maxChain = 16

// parsePEM reads certificates, at least one; anything else in the text is a fault.
func parsePEM(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("%w: not PEM", ErrRecord)
		}
		if block.Type != certificateBlock || len(all) == maxChain {
			return nil, fmt.Errorf("%w: a block %q, or more than %d certificates", ErrRecord, clip(block.Type), maxChain)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no certificate", ErrRecord)
	}
	return all, nil
}

func encodePEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: certificateBlock, Bytes: c.Raw}) // a Builder does not fail
	}
	return b.String()
}

// fingerprint is the SHA-256 of a certificate, in hex.
func fingerprint(c *x509.Certificate) string { return digest(c.Raw) }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// serialText is a serial number in hex, in the form of the keys of etcd.
func serialText(n *big.Int) string { return fmt.Sprintf("%032x", n) }

// parseSerial accepts what people copy: upper case, colons, leading zeros or none.
func parseSerial(text string) (string, error) {
	const mostBytes = 20 // RFC 5280
	n, ok := new(big.Int).SetString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""), 16)
	if !ok || n.Sign() <= 0 || n.BitLen() > 8*mostBytes {
		return "", fmt.Errorf("%w: %q is no serial number; it is written in hex", ErrUnknown, clip(text))
	}
	return serialText(n), nil
}
