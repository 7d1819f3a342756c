// Package keys holds the keys that Millrace encrypts with: data keys, which live wrapped in etcd, and the doors to what wraps them.
//
// Flow: OpenKMS -> KMS (a local key ring, AWS KMS, or Vault Transit) -> OpenRing (unwraps every data key of one purpose once, makes the
// first one) -> Ring.Seal and Ring.Open for small secrets, Ring.Newest and Ring.Derive for files. A purpose is a name that keeps data keys
// apart, "secrets" or "clusters/<name>"; Ring follows etcd, so that a Rotate anywhere is known everywhere in moments.
//
// In etcd: security/datakeys/<purpose>/<id>, see docs/formats/keys.md.
//
// Invariants, each with a test:
//
// Y1: Seal, Open, Newest and Derive call neither KMS nor etcd: who has opened a Ring goes on when both are away.
// Y2: A data key is never changed, removed or replaced by another; ids ascend from 1. A new one comes only by a transaction that finds its id
// free, so of two at the same time both are kept, or one fails.
// Y3: OpenRing has every data key that etcd has, or fails. It writes nothing where one cannot be unwrapped: no first key is made beside others.
// A KMS that is away is waited for, and said; one that refuses is ErrWrongKMS.
// Y4: A key that this process has just learned is not yet used to seal: others get Settle to learn it too. To open it is used at once.
// Y5: No key shows in an error, a log line or a print of a type of this package.
// Y6: Seal never repeats a nonce under one key in practice: 96 random bits each, and the key is used for small secrets only. What is large or
// frequent derives keys of its own.
// Y7: Rewrap changes how data keys are wrapped, not what they are, and may be repeated after it broke off.
// Y8: Rotate makes no data key that a process which has a Ring could not unwrap because it has the KMS of before: after a Rewrap by another KMS it
// refuses until everybody who announced a Ring before that has ended. Who announces itself after it has read data keys by the new KMS, or failed.
//
// Every exported type is safe for concurrent use.
//
// Files: kms.go (KMS, OpenKMS), keyring.go, awskms.go, vault.go, ring.go (Ring), follow.go (what keeps it current), record.go (etcd), rewrap.go,
// holders.go (who has a Ring, and whether the KMS was changed).
package keys
