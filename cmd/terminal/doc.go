// Package terminal is what the verbs have in common towards those who type them: tables and JSON, figures for people, flags and
// arguments that many verbs have, and the error for what is wrong in a command line.
package terminal
