// Package share has share groups as Apache Kafka's own client sees them: KafkaShareConsumer and the admin client of the pinned
// version, on express and, with the same script, on Apache Kafka.
//
// java/Share.java obeys one command a line; a test is a list of commands and what they answer. What needs no minutes runs by
// default; the rest is for `make share`.
//
// Files: driver_test.go (Share.java and what tests ask of it), share_test.go (the script), kill_test.go.
package share
