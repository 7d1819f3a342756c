// Package cert makes, renews, checks and revokes the certificates of an installation.
//
// Flow of a node (broker, agent, serve, gateway): Keeper makes a key that never leaves its host -> request in etcd -> Signer, in the control
// plane, checks the names asked for (Allow) -> Authority signs -> answer in etcd -> Keeper checks it, writes key and chain to one file,
// swaps them in. ServerTLS and ClientTLS read what the Keeper has at the moment of each handshake. Flow of a client: `millrace cert issue`
// makes a key -> Authority.IssueClient. Flow of a login: handshake -> Keeper.Identity -> Mapping -> identity.Identity.
//
// C1: the key of the authority lies in etcd sealed, and is opened by the control plane only. A node's key lies on its own host only, 0600.
// C2: an installation has one authority at a time: it is made, or replaced, by one compare-and-swap. What a former one has signed
// is trusted until that certificate ends or is distrusted, and clients that trust only the former one still accept the servers (a
// certificate of the new authority signed by the former one goes along).
// C3: a node gets the names that Allow gives it, and nobody else's; the subject is the Signer's, whatever the request says.
// C4: a node renews at two thirds of the certificate's life, and at once when its certificate is revoked, its names have changed or the
// authority is another. Until it has the new one it goes on with the old; who is away (control plane, etcd, disk) delays it and ends nothing.
// C5: a swap concerns handshakes that begin after it. No connection is closed by it, no listener is opened anew.
// C6: file and memory always hold a key and the certificate for it; a crash at any moment leaves the old pair or the new one.
// C7: a certificate that is revoked, has ended, or does not lead to an authority that is trusted now is refused in each handshake, resumed
// sessions included, and Keeper.Refused says so of connections that are open (Keeper.Watch tells when to ask).
// C8: a login is Internal only with a certificate that the Signer gave to a node and entered in etcd; what else a given
// authority may have signed, with whatever subject, is not. A gateway's is not either, nor does a node take a gateway for another node.
// C9: a Keeper that cannot read etcd decides by what it read last; it never begins without having read once.
// C10: bad requests, certificates, records and rules make an error, never a panic, and cost bounded memory.
// C11: a gateway gets certificates only while an administrator has it registered, and for the names of its registration only; what it had beyond
// those, or has when the registration ends, is revoked.
//
// In etcd, all versioned JSON: security/authority (sealed), security/certs/trust/{authority,nodes/SERIAL,revoked/SERIAL}, which each Keeper
// follows by one watch, security/certs/requests/NODE, security/certs/answers/NODE, security/certs/clients/SERIAL,
// security/certs/gateways/NAME.
//
// Everything exported is safe for concurrent use. Files: world.go (what it touches, errors), node.go (names), record.go (formats),
// authority.go and given.go (the authority), request.go (what may be asked), signer.go, clients.go (certificates of clients, revocation),
// gateways.go (registrations),
// trust.go (view of etcd), keeper.go, pair.go (key and chain on disk), tls.go, identity.go, rules.go and dn.go (principals).
package cert
