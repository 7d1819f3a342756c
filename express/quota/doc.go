// Package quota holds clients to the rates that they are given: bytes produced, bytes consumed, time of the broker,
// changes of the cluster, and new connections, each as Apache Kafka measures it.
//
// Flow: the catalog keeps a Table of quotas by Entity -> a connection's Client asks the Manager once which of them are
// its own -> each request records what it used -> the answer is for how long the connection is to be left alone. Who
// calls tells the client first (throttle_time_ms) and leaves it alone then.
//
// A client is who it logged in as and the client id that it states. Of the quotas that fit, the first of these counts,
// for each Kind by itself: <user, client id>, <user, default>, <user>, <default, client id>, <default, default>,
// <default user>, <client id>, <default client id>. All clients that a quota of a user, or of a client id, stands for
// share one account; a default gives each its own. An empty client id is nobody's: only quotas of users fit it.
//
// A rate is the sum over 10 whole windows of a second and the running one, divided by the time that they cover, so 10
// seconds' worth may be used at once by who used nothing before. Who is above its rate waits until the sum, spread over
// the wait too, is back at the rate. Changes of the cluster are taken from a bucket that holds 11 seconds' worth and may be overdrawn
// once. Connections are counted by rate too, but one that comes too early is turned away.
//
// Q1: A client that waits as told and records a second's worth at a time or less keeps, over any stretch of time, to its
// rate times that stretch, and 11 seconds' worth. (What is recorded at once is forgotten at once, 11 seconds later, so large recordings
// may get up to twice the rate through, as in Kafka.)
// Q2: Recording takes no lock but that of the client's own account and allocates nothing; without quotas it is one load.
// Q3: Accounts are bounded in number. One that holds nothing (its windows are empty, its bucket is full) may be dropped
// at any time without a difference that could be measured; when all that there may be are in use, newcomers share one.
// Q4: A Table never changes. A change of quotas is seen by every client with its next recording.
//
// All clients together are held to the limits of the broker (Whole), beside the quotas of each: in the long run to the sustained rates,
// at any time to the maximal ones. A broker that was idle goes at its maximum for a minute. The wait that a client is told is until
// nothing is overdrawn, so each waits for what all have used.
//
// Q5: Clients that wait as told use together no more than Max in any second, nor, over any stretch of time, more than Sustained times
// that stretch and what a minute at Max has beyond Sustained; and in both cases one request of each.
// Q6: What nodes of the installation do among themselves is not counted, so limits never keep a cluster from running. Who calls sees to it.
// Q7: Taking from a limit takes no lock and allocates nothing.
//
// A Manager and a Whole are safe for concurrent use; a Client is its connection's own. Files: entity.go (who a quota is for), table.go
// (which quota fits, DescribeClientQuotas), alter.go (AlterClientQuotas), manager.go (accounts), rate.go, bucket.go, whole.go (limits of the broker), pace.go.
package quota
