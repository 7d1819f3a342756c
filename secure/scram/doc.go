// Package scram keeps the SCRAM credentials of a cluster's users and is the server's side of a SCRAM login (RFC 5802, SHA-256 and SHA-512).
//
// Flow: AlterUserScramCredentials or an associated secret -> Store.Alter -> etcd -> Store.Run follows -> Store.Begin -> Exchange.Step twice.
//
//	OpenStore(ctx, Config, World) (*Store, error)         reads what is there
//	(*Store).Run(ctx) error                               follows etcd until ctx ends
//	(*Store).Alter(ctx, []Change) ([]error, error)        an error for each change, in order
//	(*Store).Describe(user) []Info, (*Store).Users()      what may be told of credentials: mechanism and iterations
//	(*Store).Begin(identity.Mechanism) (*Exchange, error) one login
//	(*Exchange).Step([]byte) (reply []byte, done bool, err error), (*Exchange).User()
//	FromPassword, FromSalted                              make a Credential
//
// States of an Exchange: first -> final -> over. It is over after the second Step, and after any error.
//
// SC1: no password is kept, nor anything that a login could be made of: only salt, iterations, stored key and server key, and with a
// Sealer the last two sealed, bound to cluster, user and mechanism. A salted password, which is as good as the password, is never stored.
// SC2: who asks cannot tell an unknown user from a known one: both get a salt and the same one each time, of the length and with the
// iterations that most credentials have, and fail at the same step with the same error and after the same work.
// SC3: a change is in force here when Alter returns, and in every other Store when its Run has seen it. Changes of one user are applied together
// or not at all.
// SC4: a record that cannot be read or opened lets nobody in, and its error is told once; the records of others are not touched by it.
// SC5: iterations are 4096 to 16384, as in Apache Kafka; a credential with fewer is not used even if it is stored.
//
// A Store is safe for concurrent use, an Exchange is not. Format: docs/formats/scram.md.
// Files: credential.go, store.go (etcd), record.go (format), exchange.go (login).
package scram
