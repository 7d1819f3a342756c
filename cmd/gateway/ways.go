package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"millrace/control"
	"millrace/gateway"
	"millrace/secure/cert"
	ident "millrace/secure/identity"
	"millrace/secure/login"
)

// way is one listener of a gateway.
type way struct {
	name   string
	listen string
	logins []string // words of control: mtls alone, or scram and iam
}

// ways are --listen with --login, and each --also.
func (c *config) ways() []way {
	all := []way{{name: "CLIENT", listen: c.listen, logins: splitWords(c.secure.login)}}
	for i, text := range c.also {
		logins, address, _ := strings.Cut(text, "@")
		all = append(all, way{name: fmt.Sprintf("CLIENT_%d", i+2), listen: address, logins: splitWords(logins)})
	}
	return all
}

// validate names every fault of a way; flag is what it was told with.
func (w way) validate(flag string, overTLS, clientCA bool) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(flag+": "+format, args...)) }
	if _, _, err := net.SplitHostPort(w.listen); err != nil {
		fault("%q: use HOST:PORT", w.listen)
	}
	for _, word := range w.logins {
		switch word {
		case control.LoginScram:
		case control.LoginIAM:
			if !overTLS {
				fault("iam needs --tls, or --tls-cert and --tls-key: its clients connect over TLS only")
			}
		case control.LoginMTLS:
			if !overTLS || !clientCA {
				fault("mtls needs --tls, or --tls-cert, --tls-key and --client-ca")
			}
			if len(w.logins) > 1 {
				fault("mtls stands alone: a listener that asks for certificates asks for nothing else")
			}
		default:
			fault("login %q: use %s, %s or both, or %s", word, control.LoginScram, control.LoginIAM, control.LoginMTLS)
		}
	}
	return faults
}

// mechanisms are those of SASL that a way offers.
func (w way) mechanisms() (all []ident.Mechanism) {
	for _, word := range w.logins {
		switch word {
		case control.LoginScram:
			all = append(all, ident.ScramSHA512, ident.ScramSHA256)
		case control.LoginIAM:
			all = append(all, ident.MSKIAM, ident.OAuthBearer)
		}
	}
	return all
}

// listener is the way as the gateway is told it.
func (c *config) listener(w way) (l gateway.Listener, err error) {
	l = gateway.Listener{Name: w.name, Address: w.listen, Advertise: c.advertise, Login: login.Listener{Mechanisms: w.mechanisms()}}
	if l.Allow, err = c.networks(); err != nil {
		return l, err
	}
	if l.TLS, err = c.serverTLS(); err != nil {
		return l, err
	}
	if slices.Contains(w.logins, control.LoginMTLS) && l.TLS != nil { // without files the installation's authority gives all of it, see certify
		if l.TLS.ClientCAs, err = clientCAs(c.outer.CA); err != nil {
			return l, err
		}
		l.TLS.ClientAuth, l.Login.Certificate = tls.RequireAndVerifyClientCert, ownerOf
	}
	if host, _, err := net.SplitHostPort(w.listen); err == nil {
		l.Login.Hosts = append(l.Login.Hosts, host)
	}
	if c.advertise != "" {
		l.Login.Hosts = append(l.Login.Hosts, c.advertise)
	}
	return l, nil
}

// clientCAs are those of --client-ca.
func clientCAs(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--client-ca: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

var errNoCertificate = errors.New("no client certificate that was verified")

// ownerOf names who shows a certificate as Apache Kafka does by default: by its distinguished name.
func ownerOf(state tls.ConnectionState) (ident.Identity, error) {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return ident.Identity{}, errNoCertificate
	}
	name, err := cert.DistinguishedName(state.PeerCertificates[0].RawSubject)
	if err != nil {
		return ident.Identity{}, err
	}
	return ident.Identity{Mechanism: ident.TLS, Principal: "User:" + name}, nil
}
