// Package acl keeps Kafka's access control lists: who is allowed or denied which operation on which resources, from which
// host. It answers as Apache Kafka's StandardAuthorizer does.
//
// Flow of changes: CreateAcls, DeleteAcls -> Store.Create, Store.Delete -> etcd -> the watch of every broker (Store.Run) ->
// a new Snapshot. Flow of questions: a request -> authz.Authorizer -> Store.Snapshot -> Snapshot.Decide.
//
// In etcd each binding is a key of its own below the Store's prefix, named by the hash of what it says; beside them "turn"
// names the last change. Every change compares the turn and sets it, so that changes come one after the other.
//
//	L1  Decide is what a plain reading of the list says: of the bindings that match resource, principal and host, one that
//	    denies decides; then one that allows; where no binding of anybody matches the resource, the default decides (which
//	    allow.everyone.if.no.acl.found sets); otherwise the answer is no.
//	L2  What is allowed implies: READ, WRITE, DELETE and ALTER allow DESCRIBE, ALTER_CONFIGS allows DESCRIBE_CONFIGS. What
//	    is denied implies nothing.
//	L3  A Snapshot never changes. Decide takes no lock and makes no call, and its time does not grow with the
//	    number of bindings, but with that of different lengths of prefixes.
//	L4  A change is in the Snapshot of the Store that made it when Create or Delete returns, and in those of others soon.
//	    A Delete takes away exactly the bindings that match at one moment; nothing that was created before stays.
//	L5  A binding is kept once, however often it is created. None is kept that cannot be read: what is not understood
//	    ends Open and Run with an error, rather than being passed over, since it could be one that denies.
//	L6  There are at most MaxBindings, and each of them is bounded in size.
//
// Files: binding.go (what is said, and its check), filter.go (what is looked for), snapshot.go (the index), decide.go (the answer),
// somewhere.go (whether any resource of a type is allowed), store.go (etcd, followed), change.go (etcd, changed), record.go (how it is kept there).
package acl
