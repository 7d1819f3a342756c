// Package logins has real clients log in by every method, with right, wrong, expired, replayed and stolen credentials, and with each permission
// present or absent: at express by serve --secure, and through a gateway with the same users, keys and ACLs in front of a plain Apache
// Kafka.
//
// TestLogins: each client of clients/ by certificate, SCRAM, AWS_MSK_IAM and OAUTHBEARER, as far as it has them. What must work gets its
// record back; what must not says that the login or the permission is refused: what is wrong, of elsewhere, expired, or was stolen and then
// revoked, disabled, changed or deleted. Good logins are heard on their way, and in the end sent again from another address: none gets in
// twice but a bearer token, and that only until its key is disabled.
// TestStolen: messages of AWS_MSK_IAM that were captured, or are for another time, host, region or installation.
// TestPolicyTable: each call of secure/iam/testdata/policies.txt as a request, but those that are marked offline.
//
// Files: site_test.go (the installation), clients_test.go (the programs), logins_test.go, between_test.go (relays and taps), ended_test.go
// (credentials that are good no more), stolen_test.go, policies_test.go, calls*_test.go (requests, and where their answers tell of each
// resource).
package logins
