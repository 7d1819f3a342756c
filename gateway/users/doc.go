// Package users answers DescribeUserScramCredentials and AlterUserScramCredentials at a gateway: those who log in there are the installation's
// users, not the cluster's behind it.
//
// Flow: gateway (which has authorized the request) -> Own -> scram.Store.
//
// U1: no answer and no error holds a key or a salt. U2: a user that a request names twice is not changed, as in Apache Kafka.
//
// Safe for concurrent use. Files: users.go.
package users
