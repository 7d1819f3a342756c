// Package handshake compares logins with Apache Kafka's, message by message: the same frames go to a broker of Apache Kafka with a
// listener for SCRAM and to a server behind a login.Door, and what comes back has to be the same, error codes, texts and closed
// connections included. What differs on purpose stands in departures, with its reason; one that does not happen any more is a failure.
package handshake
