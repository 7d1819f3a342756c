// Package differential sends one script of requests to Apache Kafka and to millrace and compares the answers field by field,
// error codes included.
//
// Flow: the scripts (a Go function each: single requests with edge values of every field, and sequences that build on earlier
// answers) run against both servers at the same time; what differs by nature (ids, ports, times) is made equal by the order in
// which it was first seen; each difference that is left must be a row of docs/compatibility.md, and each row must happen.
//
// A planted fault (mutate_test.go) shows that differences are found.
//
// Files: suite_test.go (the test), run_test.go (a script's run), peer_test.go (a connection), flatten_test.go (answers as fields),
// known_test.go (the table of differences), singles_test.go, sequences_test.go and the scripts by subject.
package differential
