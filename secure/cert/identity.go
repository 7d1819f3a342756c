package cert

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"

	"millrace/secure/identity"
)

// Identity is who has made a connection, by its certificate: nobody without one, a node of the installation (Internal, but for gateways), or a client, whose
// principal is "User:" and the name in the certificate as the rules map it. It returns ErrRefused where the certificate counts no more (it
// may have been revoked since the handshake), or says it is a node's and is not, and ErrNoRule where no rule fits.
func (k *Keeper) Identity(cs tls.ConnectionState) (identity.Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return identity.Nobody(), nil
	}
	if err := k.checkPeer(cs); err != nil {
		return identity.Identity{}, err
	}
	return k.state.Load().view.identify(cs.PeerCertificates[0], k.cfg.Mapping)
}

// identify names the holder of a certificate that was checked.
func (v *view) identify(leaf *x509.Certificate, mapping Rules) (identity.Identity, error) {
	name, err := DistinguishedName(leaf.RawSubject)
	if err != nil {
		return identity.Identity{}, err
	}
	if r, ok := v.node(leaf); ok {
		return identity.Identity{Mechanism: identity.TLS, Principal: "User:" + name, Internal: r.Node.internal()}, nil
	}
	if slices.Contains(leaf.Subject.OrganizationalUnit, nodeUnit) {
		return identity.Identity{}, fmt.Errorf("%w: %q was not given to a node of this installation", ErrRefused, clip(name))
	}
	principal, err := mapping.Principal(name)
	if err != nil {
		return identity.Identity{}, err
	}
	return identity.Identity{Mechanism: identity.TLS, Principal: "User:" + principal}, nil
}
