// Package action is the vocabulary of kafka-cluster permissions: the 19 actions, the kind of resource that each is about, and the
// ARNs of clusters, topics, groups and transactional ids.
//
// It is data: secure/authz maps Kafka's operations to these actions, package policy decides about them. Names and meanings are those
// of Amazon MSK, so that a policy written for it works unchanged.
//
// A1: Table has each action once, with the one kind of resource that a policy must name for it.
// A2: An ARN made by Cluster is split again by ParseARN into what it was made of, whatever the name holds (a group id may hold colons and slashes).
//
// Everything is safe for concurrent use. Files: table.go, arn.go.
package action
