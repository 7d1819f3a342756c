// Package managed drives the MSK API of a running `millrace serve` as its users do: with boto3, the AWS CLI and the AWS SDK for Go, each of
// which goes through every operation, produces to what it has made and consumes from it.
//
// The verbs for people, apply and the examples are driven by the real program likewise (verbs_test.go, apply_test.go, example_test.go).
//
// Flow: a test starts serve, and gives a tour (testdata) the variables that `millrace env` prints; the tour says which operations it has
// called, and the test wants all that are not refused on purpose.
package managed
