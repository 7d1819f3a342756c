// Package managed drives the MSK API of a running `millrace serve` as its users do: with boto3, the AWS CLI and the AWS SDK for Go, each of
// which goes through every operation, produces to what it has made and consumes from it.
//
// The verbs for people, apply and the examples are driven by the real program likewise (verbs_test.go, apply_test.go, example_test.go).
//
// Flow: a test starts serve, and gives a tour (testdata) the variables that `millrace env` prints; the tour says which operations it has
// called, and the test wants all that are not refused on purpose.
//
// What is done to an installation meanwhile: serve is killed when an operation is saved (kills_test.go, victim_test.go), a host is taken away
// (hosts_test.go), the load of a serverless cluster rises and falls (serverless_test.go; wire_test.go counts what goes over the wire, to compare
// it with what was metered), secrets let clients in and keep them out (scram_test.go). A run with MILLRACE_TEST_REQUIRE=all takes a few
// moments, of which it says the seed, and small loads; `make managed` takes all, by MILLRACE_KILLS=all and MILLRACE_SERVERLESS=full.
package managed
