// Package churn has members join and leave a consumer group at random under a steady stream of records, and writes what they
// own, consume and commit into a tenure.Registry.
//
// Flow: Start makes the topic, a producer, the monitors and the members -> each member lives for a random time and ends in
// one of three ways: it leaves, it crashes (its connections are cut, nothing is told to anyone) or it freezes for longer
// than its session (nothing comes through its connections in either direction) and then commits what it had handled before
// -> another takes its place -> Drain ends the churn: the last members consume and commit everything, and leave.
//
// One monitor reads __consumer_offsets, which holds every commit in its order; another asks for the committed offsets over
// and over. Each member that has left tries one more commit, at offset 0, which has to be refused.
//
//   - M1: a member polls, handles and commits under kgo.BlockRebalanceOnPoll, so that no record is in its hands when a
//     callback ends a tenure, and that callback commits what it handled before it says so.
//   - M2: a tenure is noted to begin before the member can be given a record, and to end before the coordinator can know.
//   - M3: Start's goroutines have all ended when Drain or Stop returns.
//
// A Churn's methods are called by one goroutine. Files: churn.go (life), member.go, gate.go (crashes and freezes), stream.go
// (producer), monitor.go.
package churn
