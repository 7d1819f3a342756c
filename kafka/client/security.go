package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// The ways to log in that Security.SASL names.
const (
	SCRAM    = "scram"     // SCRAM-SHA-512, with User and PasswordFile
	SCRAM256 = "scram-256" // SCRAM-SHA-256
	IAM      = "iam"       // AWS_MSK_IAM, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION
)

// ErrSecurity: what Security says does not fit together, or a file of it cannot be used.
var ErrSecurity = errors.New("kafka client: security")

// Security says how a client knows whom it talks to, and how it logs in. The zero value is plain text without a login. Names of
// files are read when a client is made, the password and AWS's variables again at each login.
type Security struct {
	TLS          bool   // encrypted; so it is where a file of certificates is given
	CAFile       string // PEM; "": the authorities that the system trusts
	CertFile     string // PEM, of the client; "": none
	KeyFile      string // PEM, of CertFile
	SASL         string // SCRAM, SCRAM256 or IAM; "": no login
	User         string // of SCRAM
	PasswordFile string // of SCRAM; a line end at its end does not count

	// ReadFile reads files; needed where one is named.
	ReadFile func(name string) ([]byte, error)
	// Getenv gives AWS's variables; nil: os.Getenv.
	Getenv func(name string) string
}

// options are those of franz-go. The error matches ErrSecurity.
func (s Security) options() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if s.TLS || s.CAFile != "" || s.CertFile != "" {
		cfg, err := s.tls()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(cfg))
	} else if s.KeyFile != "" {
		return nil, fmt.Errorf("%w: a key without a certificate", ErrSecurity)
	}
	m, err := s.mechanism()
	if err != nil {
		return nil, err
	}
	if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

func (s Security) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		pem, err := s.read("authority", s.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: no certificate in %s", ErrSecurity, s.CAFile)
		}
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		return nil, fmt.Errorf("%w: a certificate and its key go together", ErrSecurity)
	}
	if s.CertFile == "" {
		return cfg, nil
	}
	cert, err := s.read("certificate", s.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := s.read("key", s.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate %s with key %s: %w", ErrSecurity, s.CertFile, s.KeyFile, err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

func (s Security) read(what, name string) ([]byte, error) {
	b, err := s.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSecurity, what, err)
	}
	return b, nil
}

// mechanism returns nil if there is no login.
func (s Security) mechanism() (sasl.Mechanism, error) {
	switch s.SASL {
	case "":
		if s.User != "" || s.PasswordFile != "" {
			return nil, fmt.Errorf("%w: a user and a password are for --sasl %s", ErrSecurity, SCRAM)
		}
		return nil, nil
	case SCRAM, SCRAM256:
		if s.User == "" || s.PasswordFile == "" {
			return nil, fmt.Errorf("%w: SCRAM needs a user and a file with the password", ErrSecurity)
		}
		if _, err := s.password(); err != nil {
			return nil, err
		}
		auth := func(context.Context) (scram.Auth, error) { return s.password() }
		if s.SASL == SCRAM256 {
			return scram.Sha256(auth), nil
		}
		return scram.Sha512(auth), nil
	case IAM:
		if _, err := s.keys(); err != nil {
			return nil, err
		}
		return aws.ManagedStreamingIAM(func(context.Context) (aws.Auth, error) { return s.keys() }), nil
	default:
		return nil, fmt.Errorf("%w: no login is called %q; use %s, %s or %s", ErrSecurity, s.SASL, SCRAM, SCRAM256, IAM)
	}
}

func (s Security) keys() (aws.Auth, error) {
	getenv := s.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	a := aws.Auth{AccessKey: getenv("AWS_ACCESS_KEY_ID"), SecretKey: getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: getenv("AWS_SESSION_TOKEN")}
	if a.AccessKey == "" || a.SecretKey == "" {
		return aws.Auth{}, fmt.Errorf("%w: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set", ErrSecurity)
	}
	return a, nil
}

func (s Security) password() (scram.Auth, error) {
	b, err := s.read("password", s.PasswordFile)
	if err != nil {
		return scram.Auth{}, err
	}
	return scram.Auth{User: s.User, Pass: strings.TrimRight(string(b), "\r\n")}, nil
}
