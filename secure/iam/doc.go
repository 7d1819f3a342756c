// Package iam keeps who may use the installation with access keys: the root key, users, roles, access keys, session tokens and the
// policies attached to them, in the words and shapes of AWS IAM.
//
// Flow: a verb or the API changes something -> Store (checks, one compare-and-swap in etcd) -> etcd -> View in every process (follows; a snapshot
// behind an atomic pointer) -> View.Key for a login, View.Allowed for a request. Neither asks etcd.
//
// Keys in etcd, all JSON with "format":1; a newer one is refused:
//
//	security/iam/account        the account number, 12 digits, drawn once
//	security/iam/users/NAME     a user: id, tags, attached and inline policies
//	security/iam/roles/NAME     a role: id, tags, trust policy, attached and inline policies
//	security/iam/policies/NAME  a policy of the installation
//	security/iam/keys/AKIA…     an access key: owner, state, sealed secret
//	security/used/AKIA…         when a key was used last (not below iam/, so that it does not wake the views)
//	clusters/C/policy           the resource policy of a cluster
//	clusters/C/tags             its tags
//
//	I1: A secret stands in etcd only sealed, with its etcd key as context; it is shown once, to who made it, and in root.json, which only
//	    its owner may read. No error, log line or printed struct has it.
//	I2: At most two access keys per user or root, so that one can be rotated without a gap. Limits are those of AWS IAM; those of one
//	    user or role hold under concurrent changes too: what is counted is compared when it is written.
//	I3: A session token is not kept anywhere: it is a sealed text that says who it is for. It counts while it has not expired and the
//	    user or role that it was made for exists with the same unique id. What it may do is what that user or role may do now.
//	I4: A role is assumed only where its trust policy allows it to the caller, and, if that names the account only, the caller's own policies too.
//	I5: A disabled or deleted key, user or role is refused by every View as soon as it has followed; a View that cannot reach etcd goes on
//	    with what it knows.
//	I6: A record that a View cannot read (newer format, broken policy) costs only that record: its owner may do nothing, never more.
//	I7: A user or role with keys or policies left is not deleted; a policy that is attached is not deleted.
//
// Store and View are safe for concurrent use. Files: record.go (what stands in etcd), check.go (names, tags, limits),
// store.go, user.go, role.go, managed.go (policies), key.go (access keys, root), cluster.go (resource policies, tags), session.go (tokens,
// AssumeRole), view.go, snapshot.go, used.go, credential.go, errors.go.
package iam
