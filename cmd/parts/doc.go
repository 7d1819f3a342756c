// Package parts are what the processes of Millrace are built of, whichever they are: serve, agent, broker, gateway, and the verbs that work
// without them. Each opens one room for a process as its flags say.
//
// Flow: flags -> Etcd (where records are) -> OpenRing (keys that unseal them) -> OpenTrail, NewKeeper, OpenView (what the process records,
// shows, and knows of access keys); OpenObjects is the object store of one cluster, encrypted where RingOf gave it keys.
//
// What is opened belongs to the caller, who ends it in the reverse order. Everything is safe for concurrent use.
//
// Files: etcd.go, keys.go, trail.go (and certificates), principals.go, store.go, process.go (how a process ends and tells how it stands).
package parts
