package kafka

import (
	"slices"
	"strings"

	"millrace/aws/door"
	"millrace/control"
)

// What clients and brokers speak, in the words of the API.
const (
	transitTLS   = "TLS"
	transitBoth  = "TLS_PLAINTEXT"
	transitPlain = "PLAINTEXT"
)

// ways are how clients come in and what protects them on the way: clientAuthentication and encryptionInfo of the API on one side,
// Settings.Auth, InTransit, InCluster, Authorities and KMSKey on the other.
type ways struct {
	anonymous, mtls, scram, iam bool

	authorities []string
	transit     string // "": not said
	inCluster   bool
	key         string
}

// waysOf are those of a cluster. One that was never told listens for PLAINTEXT without a login.
func waysOf(s control.Settings) ways {
	offered := strings.Split(s.Auth, ",")
	has := func(login string) bool { return slices.Contains(offered, login) }
	w := ways{
		anonymous: s.Auth == "" || has(control.LoginPlaintext) || has(control.LoginTLS),
		mtls:      has(control.LoginMTLS), scram: has(control.LoginScram), iam: has(control.LoginIAM),
		authorities: s.Authorities, transit: s.InTransit, inCluster: s.InCluster, key: s.KMSKey,
	}
	plain, encrypted := s.Auth == "" || has(control.LoginPlaintext), has(control.LoginTLS) || w.mtls || w.scram || w.iam
	switch {
	case w.transit != "":
	case plain && encrypted:
		w.transit = transitBoth
	case plain:
		w.transit = transitPlain
	default:
		w.transit = transitTLS
	}
	return w
}

// changed are the ways after a request named what it did: what it leaves out stays.
func (w ways) changed(a *clientAuthentication, e *encryptionInfo) ways {
	set := func(to *bool, f *flag) {
		if f != nil && f.Enabled != nil {
			*to = *f.Enabled
		}
	}
	if a != nil {
		set(&w.anonymous, a.Unauthenticated)
		if a.SASL != nil {
			set(&w.scram, a.SASL.Scram)
			set(&w.iam, a.SASL.IAM)
		}
		if a.TLS != nil {
			if w.authorities = a.TLS.Authorities; len(w.authorities) == 0 {
				w.authorities = nil
			}
			w.mtls = len(w.authorities) > 0
			set(&w.mtls, &flag{a.TLS.Enabled})
		}
	}
	if e != nil && e.AtRest != nil {
		w.key = e.AtRest.Key
	}
	if e != nil && e.InTransit != nil {
		if e.InTransit.ClientBroker != "" {
			w.transit = e.InTransit.ClientBroker
		}
		set(&w.inCluster, &flag{e.InTransit.InCluster})
	}
	return w
}

// first are the ways of a new cluster: without a word of logins anybody may come in, and then by both protocols.
func first(a *clientAuthentication, e *encryptionInfo, key string) ways {
	w := ways{inCluster: true, key: key}.changed(a, e)
	asked := a != nil && a.Unauthenticated != nil && a.Unauthenticated.Enabled != nil
	if !asked && !w.logins() {
		w.anonymous = true
	}
	switch {
	case w.transit != "":
	case w.anonymous:
		w.transit = transitBoth
	default:
		w.transit = transitTLS
	}
	return w
}

func (w ways) logins() bool { return w.mtls || w.scram || w.iam }

// fault says why there can be no such ways; nil: there can.
func (w ways) fault() error {
	const param = "clientAuthentication"
	switch {
	case !w.anonymous && !w.logins():
		return door.BadRequest(param, "No client authentication is turned on. Turn on at least one of unauthenticated, sasl and tls.")
	case w.logins() && w.transit == transitPlain:
		return door.BadRequest("clientBroker", "To turn on SASL or TLS client authentication, you must set clientBroker to either TLS or TLS_PLAINTEXT.")
	case w.logins() && !w.inCluster:
		return door.BadRequest("inCluster", "To turn on SASL or TLS client authentication, you must also set inCluster to true.")
	case !w.anonymous && w.transit == transitBoth:
		return door.BadRequest("clientBroker", "If you choose TLS_PLAINTEXT for clientBroker, then you must also set unauthenticated to true.")
	case len(w.authorities) > 0 && !w.mtls:
		return door.BadRequest("certificateAuthorityArnList", "A list of certificate authorities goes with TLS client authentication, which is turned off.")
	}
	return names("certificateAuthorityArnList", w.authorities)
}

// into writes the ways into settings.
func (w ways) into(s *control.Settings) {
	var all []string
	add := func(on bool, login string) {
		if on {
			all = append(all, login)
		}
	}
	add(w.anonymous && w.transit != transitTLS, control.LoginPlaintext)
	add(w.anonymous && w.transit != transitPlain, control.LoginTLS)
	add(w.mtls, control.LoginMTLS)
	add(w.scram, control.LoginScram)
	add(w.iam, control.LoginIAM)
	s.Auth, s.InTransit, s.InCluster = strings.Join(all, ","), w.transit, w.inCluster
	s.Authorities, s.KMSKey = w.authorities, w.key
}

// authentication is how the API shows the logins.
func (w ways) authentication() *clientAuthentication {
	return &clientAuthentication{
		SASL:            &sasl{Scram: toggle(w.scram), IAM: toggle(w.iam)},
		TLS:             &tlsLogin{Authorities: w.authorities, Enabled: ptr(w.mtls)},
		Unauthenticated: toggle(w.anonymous),
	}
}

// encryption is how the API shows the protection.
func (w ways) encryption() *encryptionInfo {
	e := &encryptionInfo{InTransit: &encryptionInTransit{ClientBroker: w.transit, InCluster: ptr(w.inCluster)}}
	if w.key != "" {
		e.AtRest = &encryptionAtRest{Key: w.key}
	}
	return e
}

// private are the logins of VPC connections, as Settings.PrivateAuth has them, after a request: what it leaves out stays.
func private(before string, a *vpcAuthentication) string {
	w := waysOf(control.Settings{Auth: before})
	w.anonymous = false
	if a != nil {
		shape := &clientAuthentication{SASL: a.SASL}
		if a.TLS != nil {
			shape.TLS = &tlsLogin{Enabled: a.TLS.Enabled}
		}
		w = w.changed(shape, nil)
	}
	var s control.Settings
	w.into(&s)
	return s.Auth
}

// vpcAuthenticationOf is how the API shows Settings.PrivateAuth.
func vpcAuthenticationOf(auth string) *vpcAuthentication {
	w := waysOf(control.Settings{Auth: auth})
	return &vpcAuthentication{SASL: &sasl{Scram: toggle(w.scram), IAM: toggle(w.iam)}, TLS: toggle(w.mtls)}
}
