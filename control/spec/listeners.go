package spec

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"millrace/engine"
	"millrace/secure/identity"
)

// Logins are the ways into a cluster, in the order in which Auth names them. MTLS without TLS asks every client of CLIENT_SECURE for its
// certificate; with it, only those that have one.
const (
	LoginPlaintext = "plaintext" // PLAINTEXT, without a login
	LoginTLS       = "tls"       // TLS, without a login
	LoginMTLS      = "mtls"      // TLS with a client certificate
	LoginScram     = "scram"     // SASL/SCRAM over TLS
	LoginIAM       = "iam"       // SASL/AWS_MSK_IAM and OAUTHBEARER with MSK IAM tokens, over TLS
)

// SecureLogins are those that show who somebody is.
const SecureLogins = LoginMTLS + "," + LoginScram + "," + LoginIAM

func logins() []string {
	return []string{LoginPlaintext, LoginTLS, LoginMTLS, LoginScram, LoginIAM}
}

// Ports of a broker's listeners, above that of PLAINTEXT. A public listener is at another address, publicStep above.
const (
	PortMetrics  = 1 // not a listener of Kafka's; of clusters whose ports are of a host's range
	portTLS      = 2
	portInternal = 3
	portScram    = 4
	portIAM      = 6
	publicStep   = 100
)

// ParseAuth brings a list of logins, with commas between, into its one form: each once, in order. It returns ErrSpec for what is none.
func ParseAuth(text string) (string, error) {
	var asked []string
	for word := range strings.SplitSeq(text, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		if !slices.Contains(logins(), word) {
			return "", fmt.Errorf("%w: login %q; there are %s", ErrSpec, word, strings.Join(logins(), ", "))
		}
		asked = append(asked, word)
	}
	return joinLogins(asked), nil
}

func joinLogins(asked []string) string {
	return strings.Join(slices.DeleteFunc(logins(), func(l string) bool { return !slices.Contains(asked, l) }), ",")
}

// Union is every login of either.
func Union(a, b string) string {
	return joinLogins(append(strings.Split(a, ","), strings.Split(b, ",")...))
}

// Offers says whether a form of ParseAuth, or "" for a cluster that was never told, has a login.
func Offers(auth, login string) bool {
	return slices.Contains(strings.Split(auth, ","), login) || auth == "" && login == LoginPlaintext
}

// Anonymous says whether somebody may come in without showing who they are.
func Anonymous(auth string) bool { return Offers(auth, LoginPlaintext) || Offers(auth, LoginTLS) }

// Authorizes says whether a cluster with these logins asks what somebody may do: where nobody can show who they are there is
// nothing to ask.
func Authorizes(auth string) bool {
	return Offers(auth, LoginMTLS) || Offers(auth, LoginScram) || Offers(auth, LoginIAM)
}

// Listeners are those of a broker whose numbering begins at base, host:port; none for a cluster that was never told. public is the
// host of the public ones, which all ask for a login; "": there are none. The first one is what a broker that knows of one only is told.
func Listeners(auth, base, public string) ([]engine.Listener, error) {
	if auth == "" {
		return nil, nil
	}
	var all []engine.Listener
	add := func(name string, step int, l engine.Listener) error {
		var err error
		l.Name = name
		if l.Address, err = Above(base, step); err != nil {
			return err
		}
		all = append(all, l)
		if public == "" || l.Anonymous() || name == engine.Internal {
			return nil
		}
		at, err := Above(base, publicStep+step)
		if err != nil {
			return err
		}
		_, port, err := net.SplitHostPort(at)
		l.Name, l.Address = name+engine.PublicSuffix, net.JoinHostPort(public, port)
		all = append(all, l)
		return err
	}
	var faults []error
	if Offers(auth, LoginPlaintext) {
		faults = append(faults, add(engine.Client, 0, engine.Listener{}))
	}
	if Offers(auth, LoginTLS) || Offers(auth, LoginMTLS) {
		faults = append(faults, add(engine.ClientTLS, portTLS, engine.Listener{TLS: true, ClientCert: clientCert(auth)}))
	}
	if Offers(auth, LoginScram) {
		l := engine.Listener{TLS: true, Mechanisms: []identity.Mechanism{identity.ScramSHA512, identity.ScramSHA256}}
		faults = append(faults, add(engine.ClientScram, portScram, l))
	}
	if Offers(auth, LoginIAM) {
		l := engine.Listener{TLS: true, Mechanisms: []identity.Mechanism{identity.MSKIAM, identity.OAuthBearer}}
		faults = append(faults, add(engine.ClientIAM, portIAM, l))
	}
	faults = append(faults, add(engine.Internal, portInternal, engine.Listener{TLS: true, ClientCert: engine.CertNeed}))
	for _, err := range faults {
		if err != nil {
			return nil, err
		}
	}
	return all, engine.CheckListeners(all)
}

func clientCert(auth string) string {
	switch {
	case !Offers(auth, LoginMTLS):
		return engine.CertNone
	case Offers(auth, LoginTLS):
		return engine.CertWant
	}
	return engine.CertNeed
}

// Above is a host:port some ports above another.
func Above(base string, step int) (string, error) {
	host, text, err := net.SplitHostPort(base)
	if err != nil {
		return "", fmt.Errorf("%w: listen address %q is not HOST:PORT", ErrSpec, base)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port+step > 65535 {
		return "", fmt.Errorf("%w: port %q does not leave room for a broker's listeners, up to %d above it", ErrSpec, text, step)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+step)), nil
}

// SecureOf is what a broker with these logins keeps to.
func (c Cluster) SecureOf(auth string) engine.Secure {
	s := engine.Secure{Authorize: Authorizes(auth), Encrypt: c.Encrypt}
	if auth != "" {
		s.Region, s.Super, s.Mapping = c.Region, c.Super, c.Mapping
	}
	return s
}
