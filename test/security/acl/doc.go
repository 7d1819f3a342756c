// Package acl compares who may do what on Apache Kafka and on express, request by request, and walks over every key as somebody
// without rights.
//
// Flow: a case (bindings, and where somebody calls from) -> created on both sides by a super user -> every probe (probes_test.go) as
// that somebody to both -> what the answers show (digest_test.go) must be the same.
//
// Apache Kafka has a listener with SASL/PLAIN beside its own; express runs in the test's process and takes the client id for the
// user's name, so that what is compared is who may do what, not how they log in. Users call from several addresses of loopback.
//
// Files: sides_test.go (both servers), probes_test.go and requests_test.go (what is asked), digest_test.go (what of an answer is
// compared), cases_test.go (what is granted), differential_test.go, walk_test.go.
package acl
