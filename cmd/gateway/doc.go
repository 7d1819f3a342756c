// Package gateway is `millrace gateway`: its flags, and the process that they make of the room of the same name.
//
// Flow: Command -> config (every fault named, nothing started) -> guards (with --etcd: keys, trail, ACLs, users, access keys, certificate) ->
// gateway.Open -> /healthz and /readyz until the process is told to end -> what is in flight is answered.
//
// Files: gateway.go (flags and life), ways.go (listeners), secure.go (logins and permissions), cert.go (certificate of the installation's).
package gateway
