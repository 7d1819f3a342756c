// Package authz says who may do what: one answer from Kafka's ACLs and from IAM policies.
//
// Flow: a request -> Access -> Authorizer.Allowed: brokers and agents of the installation may do everything; super users too;
// who logged in by IAM is judged by the IAM policies alone (Policies), everybody else by the ACLs alone (acl.Snapshot).
//
//	Z1  An IAM principal is never judged by ACLs, not even by allow.everyone.if.no.acl.found, and nobody else by policies.
//	Z2  What cannot be decided is refused: an identity without a principal, an operation on a resource that no action of
//	    kafka-cluster stands for, an IAM principal where there are no Policies.
//	Z3  An action counts only together with those that it needs on the same resource, and with Connect (Needs).
//	Z4  A refusal is recorded, unless the Access says that it only looks. Nothing else is: not what is allowed.
//	Z5  The answer takes no lock and makes no call outside the process.
//
// Files: access.go (what is asked), authorizer.go (the answer), actions.go (Kafka's operations as actions of kafka-cluster).
package authz
