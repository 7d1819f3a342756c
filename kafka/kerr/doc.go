// Package kerr holds the error codes of the Kafka protocol: number, name, whether a client may retry, and what it means.
//
// A Code is an error, so the rooms that decide on a code can return it, wrapped or not, and the API layer finds it again
// with errors.As or Of. Codes are plain numbers and compare with ==.
//
// KE1: the table has an entry for every code from -1 to the highest known one, without gaps.
//
// Everything here is constant and safe for concurrent use. Files: code.go, table.go (numbers and texts).
package kerr
