package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"millrace/secure/identity"
)

// Names of listeners, as MSK has them. With _PUBLIC behind it, a name is that of the same listener at a public address.
const (
	Client          = "CLIENT"             // PLAINTEXT, no login
	ClientTLS       = "CLIENT_SECURE"      // TLS, with or without a client certificate
	ClientScram     = "CLIENT_SASL_SCRAM"  // TLS and SCRAM
	ClientIAM       = "CLIENT_IAM"         // TLS and IAM
	Internal        = "REPLICATION_SECURE" // brokers and agents among themselves, by their certificates
	InternalPlain   = "REPLICATION"        // likewise, where a cluster of Apache Kafka has no certificates
	PublicSuffix    = "_PUBLIC"
	PrivateSuffix   = "_VPCE" // of a private connection's listener, behind its name and the base name
	maxListeners    = 64
	maxListenerName = 128
)

// What a TLS listener asks of its clients.
const (
	CertNone = "none" // no certificate is asked for
	CertWant = "want" // one that is shown must be good
	CertNeed = "need" // one must be shown
)

// ErrListener: a listener cannot be so; the message says why.
var ErrListener = errors.New("invalid listener")

// Listener is one way into a broker. TLS and logins are fixed while it runs; who may connect is not part of it (secure/network).
type Listener struct {
	Name       string               `json:"name"`
	Address    string               `json:"address"`               // host:port that is listened at
	Advertise  string               `json:"advertise,omitempty"`   // host:port that clients are told; "": Address
	TLS        bool                 `json:"tls,omitempty"`         //
	ClientCert string               `json:"client_cert,omitempty"` // CertNone, CertWant or CertNeed; "": CertNone. Only with TLS
	Mechanisms []identity.Mechanism `json:"mechanisms,omitempty"`  // of SASL, of which one must be used; none: no SASL
}

// Anonymous says that somebody may come in without showing who they are.
func (l Listener) Anonymous() bool { return len(l.Mechanisms) == 0 && l.ClientCert != CertNeed }

// Protocol is Kafka's security.protocol for the listener's clients.
func (l Listener) Protocol() string {
	switch {
	case l.TLS && len(l.Mechanisms) > 0:
		return "SASL_SSL"
	case l.TLS:
		return "SSL"
	case len(l.Mechanisms) > 0:
		return "SASL_PLAINTEXT"
	}
	return "PLAINTEXT"
}

// Told is the host:port that clients are told.
func (l Listener) Told() string {
	if l.Advertise != "" {
		return l.Advertise
	}
	return l.Address
}

// Validate names what is wrong with the listener. Passwords and tokens never go over a connection that can be read.
func (l Listener) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w %s: %s", ErrListener, l.Name, fmt.Sprintf(format, args...)))
	}
	if l.Name == "" || len(l.Name) > maxListenerName {
		fault("a name of 1 to %d characters is needed", maxListenerName)
	}
	for _, a := range []string{l.Address, l.Advertise} {
		if a == "" && a == l.Advertise {
			continue
		}
		_, port, err := net.SplitHostPort(a)
		if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
			fault("address %q is not HOST:PORT", a)
		}
	}
	if !slices.Contains([]string{"", CertNone, CertWant, CertNeed}, l.ClientCert) {
		fault("client certificates %q; there are none, want and need", l.ClientCert)
	}
	if !l.TLS && (l.ClientCert == CertWant || l.ClientCert == CertNeed) {
		fault("client certificates need TLS")
	}
	for _, m := range l.Mechanisms {
		switch m {
		case identity.ScramSHA256, identity.ScramSHA512, identity.MSKIAM, identity.OAuthBearer:
		default:
			fault("login %q is not offered", m)
		}
	}
	if !l.TLS && len(l.Mechanisms) > 0 {
		fault("a login needs TLS")
	}
	return errors.Join(faults...)
}

// CheckListeners names every fault of a broker's listeners.
func CheckListeners(all []Listener) error {
	if len(all) == 0 || len(all) > maxListeners {
		return fmt.Errorf("%w: %d listeners, 1 to %d can be", ErrListener, len(all), maxListeners)
	}
	var faults []error
	for i, l := range all {
		faults = append(faults, l.Validate())
		for _, other := range all[:i] {
			if other.Name == l.Name {
				faults = append(faults, fmt.Errorf("%w %s: there are two of this name", ErrListener, l.Name))
			}
			if _, port, _ := net.SplitHostPort(l.Address); other.Address == l.Address && port != "0" {
				faults = append(faults, fmt.Errorf("%w %s: %s is the address of %s too", ErrListener, l.Name, l.Address, other.Name))
			}
		}
	}
	return errors.Join(faults...)
}

// FormatListeners writes listeners as ParseListeners reads them: JSON on one line.
func FormatListeners(all []Listener) (string, error) {
	b, err := json.Marshal(all)
	return string(b), err
}

// ParseListeners reads what FormatListeners wrote, strictly: a field that it does not know would be a rule that is not kept. It
// returns ErrListener for what cannot be.
func ParseListeners(text string) ([]Listener, error) {
	var all []Listener
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrListener, err)
	}
	if d.More() {
		return nil, fmt.Errorf("%w: more than one list", ErrListener)
	}
	return all, CheckListeners(all)
}

// Served are the listeners of the node: those of its spec, or where it names none the PLAINTEXT one at Listen.
func (s NodeSpec) Served() []Listener {
	if len(s.Listeners) > 0 {
		return s.Listeners
	}
	return []Listener{{Name: Client, Address: s.Listen}}
}

// Addresses are all that the node listens at.
func (s NodeSpec) Addresses() []string {
	var all []string
	for _, l := range s.Served() {
		all = append(all, l.Address)
	}
	if s.Metrics != "" {
		all = append(all, s.Metrics)
	}
	return all
}

// Inside is the listener by which brokers and agents reach the node: the internal one, or where there is none the first.
func (s NodeSpec) Inside() Listener {
	all := s.Served()
	i := slices.IndexFunc(all, func(l Listener) bool { return l.Name == Internal || l.Name == InternalPlain })
	return all[max(i, 0)]
}
