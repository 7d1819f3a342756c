// Package e2e drives the millrace binary as its user would: `millrace serve` with its
// flags, exit codes, health endpoints and clean stop, and the verbs against it.
package e2e
