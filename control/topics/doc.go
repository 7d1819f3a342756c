// Package topics does with the topics of clusters what the API of Amazon MSK offers, through Kafka's protocol.
//
// Flow: a door -> Topics -> Dial (a connection for one call) -> the cluster's brokers, which decide -> the answer, or Kafka's error.
//
// Invariants, each with a test:
//
//	T1  Every error of Topics holds one of Kafka's codes, as kerr.Of finds it: what brokers said, RequestTimedOut where the time was over,
//	    NetworkException where no broker answered. Their own words follow it.
//	T2  Nothing is kept here: what is told is what a broker told now. Every connection is closed with the call that opened it.
//	T3  Configure is one request: all that is set for a topic is what was asked for, or as it was.
//	T4  A topic is ACTIVE when each of its partitions has a leader, and CREATING until then.
//
// Topics is safe for concurrent use. Files: topics.go (calls), errors.go.
package topics
