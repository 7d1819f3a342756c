// Package secret keeps secrets as AWS Secrets Manager does: named values in versions, sealed in etcd.
//
// Flow: a door (aws/secretsmanager) -> Store -> etcd; who uses secrets (aws/kafka/access) reads them with Get and follows changes with Follow.
//
// A version has stages, each of which belongs to one version of a secret at most. AWSCURRENT is what one gets who names no version; when it
// moves, the version that it leaves becomes AWSPREVIOUS. A version without a stage is deprecated: it is kept until maxVersions are there.
//
// A secret that is deleted with a recovery window can be restored until its date; then it is gone, whether or not Sweep has come by.
//
// Invariants, each with a test:
//
//	SE1  No value stands in etcd, in an error or in a print of a type of this package but sealed, bound to its secret and its version.
//	SE2  A version never changes. The same token with the same value is the same version; with another value it is ErrExists.
//	SE3  If a secret has versions, exactly one is AWSCURRENT; it never has two versions with one stage.
//	SE4  Every change is one transaction: the record, and the values that come and go with it.
//	SE5  Memory and etcd are bounded: maxSecrets, maxVersions of each, maxValue bytes of each version.
//
// In etcd, versioned JSON: security/secrets/NAME (what may be told, stages included), security/secret-values/NAME-TAIL/VERSION (a sealed
// value; NAME escaped as in a URL), security/secret-count. Store is safe for concurrent use.
// Files: record.go, check.go, store.go (reading, retries), create.go, value.go (versions and stages), delete.go, follow.go.
package secret
