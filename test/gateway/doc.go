// Package gateway tests the gateway in front of a real cluster: Apache Kafka with one and three brokers, and express. Clients that nobody
// here wrote go through it, with everything allowed and with some things refused, and what they see is compared with what Apache Kafka's
// own authorizer shows.
package gateway
