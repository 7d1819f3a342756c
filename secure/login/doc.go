// Package login is the way in: it takes a connection of the Kafka protocol from its first byte to an identity, for brokers and gateways
// alike, and verifies signed HTTP requests.
//
// Flow: Handler.Connected -> Door.Connected(conn, Listener) -> *Session, which the handler keeps with the connection.
// Handler.Handle -> Session.Handle(ctx, request), which answers SaslHandshake, SaslAuthenticate and all that may not come before a login, and
// returns false for what is the handler's. Session.Identity() is who is logged in. Requests.Verify is the same for HTTP.
//
// A Session goes: arrived -> exchange -> in -> (exchange -> in)*; any refusal ends in closed. A Listener without Mechanisms is in at
// once, as its client certificate or as nobody. A handler has to serve SaslHandshake in versions 0 to 1 and SaslAuthenticate in 0 to 2.
//
// LG1: before a login nothing is handled but ApiVersions, SaslHandshake and SaslAuthenticate; anything else closes the connection.
// LG2: the principal of a connection never changes: a re-authentication with another principal or mechanism closes it (KIP-368).
// LG3: once a session has expired nothing of its connection is handled but a new login.
// LG4: a refusal says nothing about its reason beyond Kafka's and MSK's words; the reason is in the trail. Neither has a secret in it, nor
// a name that nobody has: people type passwords there.
// LG5: a login by AWS_MSK_IAM is bound to a name of this listener, and a signature that has been used from one address is refused
// from another, but for the moment in which two clients with the same key may have made the same one.
// LG6: memory for refused addresses and seen signatures is bounded whatever comes; what was not touched for the longest goes first.
// LG7: who fails waits: a refusal is answered after a delay that grows with the refusals of its address, and guesses at one name from
// one address are not evaluated faster than a few a second. Who logs in rightly is never delayed by refusals of other names.
// LG8: every login accepted or refused is told to the trail, once.
//
// A Door is safe for concurrent use; a Session's Handle is called by its connection's reader only, its Identity by anybody.
// Files: door.go (Door, Listener, Keys), session.go (the steps), scram.go, iam.go (AWS_MSK_IAM), oauth.go (mechanisms), verify.go (signatures
// of both doors), refusals.go (delays and limits), replay.go (seen signatures), requests.go (HTTP).
package login
