// Package certs looks at certificates and TLS with the eyes of others: sslscan scans a listener, Java and Apache Kafka's own code say what the
// names in certificates are and how rules map them, and Java's keytool reads the key stores that clients get.
//
// T1: a scan finds TLS 1.2 and 1.3 and nothing older, suites with forward secrecy and authenticated encryption and no others, no
// compression, no renegotiation, and no known hole.
// T2: the principal of a certificate is, letter by letter, the one that Apache Kafka makes of it.
//
// What is not there (sslscan, a JDK) skips the test, unless MILLRACE_TEST_REQUIRE=all.
package certs
