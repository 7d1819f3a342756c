// Package quota bounds the bytes per second of each user of a cluster, by the quotas that the cluster keeps for users and by rates for those
// that it has none for. A cluster behind a gateway cannot hold them itself: it sees one user only, the gateway.
//
// Flow: the cluster's quotas -> Follow; bytes of a request or an answer -> Throttle -> how long the client waits.
//
// Q1: which quota counts is decided in Kafka's order: user and client id, user, default user with client id, default user.
// Q2: memory is bounded: of more than ten thousand users at a time, debts are forgotten.
// Q3: nobody waits for longer than ten seconds at a time.
//
// Safe for concurrent use. Files: quota.go.
package quota
