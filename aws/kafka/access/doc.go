// Package access is the part of the door of Amazon MSK that is about who reaches clusters: users whose passwords are secrets, cluster
// policies, VPC connections, and tags.
//
// Flow: aws/door -> an operation here (its table is Service.Operations, for the table of aws/kafka) -> Associations (scram), secure/iam
// (policies, tags of clusters), Connections (VPC connections, over secure/network), or its own records (tags of the rest).
//
// Secrets: AmazonMSK_NAME with the JSON {"username":…,"password":…} -> an association of a cluster -> a SCRAM-SHA-512 credential of it.
//
//	added -> applied (the credential is that of the secret's current version) -> removing -> gone
//
// Two secrets that change their users for one another's at once are both refused, and the log says so, until one names a third. Of the codes
// of unprocessed secrets only InvalidSecretArn is known to be AWS's own; the others are in its manner.
//
// VPC connections, as told: CREATING -> AVAILABLE -> REJECTED (by the cluster's owner) -> DELETING -> gone; INACTIVE when its cluster is gone.
//
// Invariants, each with a test:
//
//	A1  A cluster has at most 1,000 associations, and no two of them are of one user.
//	A2  What was begun is finished after a crash at any write: an association is recorded before its credential is set, and forgotten
//	    after it is deleted; Associations.Sync brings everything to where the records say. The same holds for connections and Resume.
//	A3  In the end the credential is that of the current version of its secret, also where that changes while it is applied; of what is no
//	    longer associated there is none. A credential belongs to one association until it is deleted, and one change is made at a time.
//	    A secret that is marked for deletion leaves the credential as it is, one that is gone takes it along.
//	A4  No password stands in a record, an answer, an error, the trail or a log.
//	A5  A connection that is told to be AVAILABLE is ACTIVE in the cluster's network rules, and only such a one lets somebody in.
//	A6  A resource has at most 50 tags; changes of tags at the same time are both kept.
//
// In etcd, versioned JSON: clusters/CLUSTER/scram-secrets (all associations of a cluster), control/vpc-connections/UUID,
// control/configuration-tags/NAME. Security groups of a connection that do not exist here (secure/network) are kept to be read back; where
// none of them exists the connection takes all who have a login.
//
// Everything is safe for concurrent use. Files: service.go (the table), errors.go, record.go, associations.go and settle.go (secrets), scram.go,
// policy.go, connections.go, vpc.go, tags.go.
package access
