// Package comply checks the running state of an installation against the controls that standards ask for, as far as a streaming service can
// meet or miss them.
//
// Flow: State (facts, gathered by whoever can see them) -> Check -> Report (for each control of the standard: pass, fail or unknown, with what
// shows it and what to do) -> WriteHTML, or JSON, or a table of the caller's.
//
// A report says what was looked at, and nothing about what a machine cannot see: rooms with locks, contracts, training. Each control names the
// paragraphs of the standards that it is part of; that choice is ours and no auditor's.
//
// Invariants, each with a test:
//
//	CO1  Nothing passes by default: a fact that is not known makes its controls Unknown, never Pass.
//	CO2  Every control of a standard is in its report, once, and every control belongs to a standard.
//	CO3  Every failure names what failed and what to do; every pass names what showed it.
//	CO4  The same State gives the same Report.
//
// Concurrency: all functions are pure.
//
// Files: state.go, controls.go (what is checked), standards.go (who asks for it), report.go, page.go.
package comply
