package security

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"software.sslmate.com/src/go-pkcs12"

	"millrace/cmd/terminal"
	"millrace/secure/cert"
)

// bundle is a folder with a client's key and certificate.
type bundle struct {
	dir string
	key *ecdsa.PrivateKey
}

// folderName is the name of a client as far as it can be that of a folder.
func folderName(client string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@+-", r) {
			return r
		}
		return '-'
	}, strings.TrimLeft(client, "."))
}

// newBundle makes the folder and a key in it. It replaces none that is there.
func newBundle(dir string) (*bundle, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	b := &bundle{dir: dir}
	if b.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(b.key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(b.path("client.key"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %s is there already; choose another folder with --out", terminal.ErrUsage, b.path("client.key"))
	}
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return b, errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Close())
}

func (b *bundle) path(name string) string { return filepath.Join(b.dir, name) }

// abandon takes the key away that came to nothing.
func (b *bundle) abandon() error {
	err := os.Remove(b.path("client.key"))
	_ = os.Remove(b.dir) // stays where there is something else in it
	return err
}

func (b *bundle) request() ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, b.key)
}

// bundlePassword is the first line of a file, or one that is made up.
func bundlePassword(file string) (string, error) {
	if file == "" {
		return rand.Text(), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	const least = 6 // Java's keytool refuses shorter ones
	if line = strings.TrimSuffix(line, "\r"); len(line) < least {
		return "", fmt.Errorf("%w: --password-file: a password of at least %d characters is needed", terminal.ErrUsage, least)
	}
	return line, nil
}

// write keeps what was issued in all forms.
func (b *bundle) write(issued cert.Issued, password string) error {
	chain, err := readCerts(issued.Chain)
	if err != nil {
		return err
	}
	roots, err := readCerts(issued.CA)
	if err != nil {
		return err
	}
	if public, ok := chain[0].PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(b.key.Public()) {
		return errors.New("the answer is for another key")
	}
	store, err := pkcs12.Modern.Encode(b.key, chain[0], chain[1:], password)
	if err != nil {
		return fmt.Errorf("client.p12: %w", err)
	}
	trust, err := pkcs12.Modern.EncodeTrustStore(roots, password)
	if err != nil {
		return fmt.Errorf("truststore.p12: %w", err)
	}
	return errors.Join(
		os.WriteFile(b.path("client.pem"), []byte(issued.Chain), 0o644),
		os.WriteFile(b.path("ca.pem"), []byte(issued.CA), 0o644),
		os.WriteFile(b.path("client.p12"), store, 0o600),
		os.WriteFile(b.path("truststore.p12"), trust, 0o644),
		os.WriteFile(b.path("client.properties"), b.properties(password), 0o600),
	)
}

func (b *bundle) properties(password string) []byte {
	var text bytes.Buffer
	text.WriteString("security.protocol=SSL\n")
	for _, store := range []struct{ kind, file string }{{"truststore", "truststore.p12"}, {"keystore", "client.p12"}} {
		fmt.Fprintf(&text, "ssl.%s.type=PKCS12\nssl.%s.location=%s\nssl.%s.password=%s\n",
			store.kind, store.kind, escape(b.path(store.file)), store.kind, escape(password))
	}
	fmt.Fprintf(&text, "ssl.key.password=%s\n", escape(password))
	return text.Bytes()
}

// escape writes a value for java.util.Properties, which takes a file for Latin-1.
func escape(value string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(value)) {
		switch {
		case u == '\\':
			b.WriteString(`\\`)
		case u < ' ' || u > '~' || u == ' ' && b.Len() == 0:
			fmt.Fprintf(&b, `\u%04x`, u)
		default:
			b.WriteByte(byte(u))
		}
	}
	return b.String()
}

func readCerts(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate in the answer: %w", err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in the answer")
	}
	return all, nil
}
