// Package share has share groups as Apache Kafka's own client sees them: KafkaShareConsumer and the admin client of the pinned
// version, on express and, with the same script, on Apache Kafka.
//
// java/Share.java obeys one command a line; a test is a list of commands and what they answer.
package share
