// Package proxy stands between processes and the servers they use, and fails as networks and servers do.
//
// Flow: StartStore(URL of an S3 server) -> URL, which clients use in its place -> Set(rule), Strike -> Close.
//
//   - P1: without a rule everything passes unchanged, the Host header included, which S3's signatures cover.
//   - P2: a request meets at most one of a rule's faults; the choice follows from the proxy's seed and the order of requests.
//   - P3: what a rule holds up goes on, or breaks off, when the rule is taken away; Close waits for nothing but its own goroutines.
//
// The methods are safe for concurrent use.
package proxy
