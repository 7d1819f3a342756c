// Package plan says by which steps an operation is done, and by which it is undone. It is pure: records come in, steps come out.
//
// Flow: package control calls Of when an operation begins, and Undo when a step of it has failed; its runner does the steps.
//
// Invariants:
//
//	L1  What brokers are told of comes before what is done to those that are there, and that before their number, so that those which
//	    are added begin as they shall be.
//	L2  What is undone is undone in the reverse order, each step by what brings back the Settings before.
//
//	L3  Of Apache Kafka, controllers are restarted before brokers, features are raised when every node runs the version that has them, and
//	    a broker leaves only after its replicas.
//
// Files: plan.go, standard.go.
package plan
