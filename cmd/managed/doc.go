// Package managed asks the MSK API of an installation for the verbs, with the requests that the AWS CLI makes: clusters, operations on them,
// configurations, topics, policies and tags.
//
// Flow: a verb -> Client (one method for each operation of the API) -> cmd/remote, which finds the address and the key and signs -> the answer
// in the API's own shapes, or a *Fault. Wait and its like ask again until something has ended, and tell a Progress of its steps.
//
// Invariants, each with a test:
//
//	M1  A request that changes something is sent again only where the API said that it did nothing: throttled, or not available.
//	M2  A name stands for one cluster: the one that has exactly this name. An ARN stands for itself.
//	M3  Waiting ends with what was waited for, with a failure that the API tells, or with the context. A control plane that is away for a
//	    while (it is started anew) does not end it.
//
// A Client is safe for concurrent use and keeps nothing. Files: client.go (requests and faults), shapes.go, clusters.go, updates.go,
// configurations.go, topics.go, wait.go, progress.go.
package managed
