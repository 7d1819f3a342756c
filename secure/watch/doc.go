// Package watch looks for trouble in the audit trail, and tells of it with the events that show it.
//
// Flow: the lines of secure/trail, in the order of time -> Watcher.Observe -> Alerts -> Run writes each into the trail itself, as an event of
// the action "watch:RULE" with the alert in After, and into the log.
//
// The rules, each with its bounds in Config:
//
//	repeated-refusals    one principal, or one address, was refused many times within a while
//	guessed              a login succeeded after many refusals of the same principal from the same address
//	new-network          a principal that is known logs in from a network that is not known of it
//	unusual-reading      a principal reads far more in an hour than it is used to
//	policy-widened       a policy or an ACL came to allow everything, or everybody
//	protection-off       encryption, the trail, a login or an allow-list was turned off
//	trail-damaged        the trail lost lines, or an anchor does not fit
//
// Invariants, each with a test:
//
//	A1  An alert names the events that it goes by, by writer and number, so that it can be looked up and verified.
//	A2  One cause, one alert: the same rule tells of the same subject once in Config.Quiet.
//	A3  Memory is bounded whatever the trail holds: Config.Subjects principals and addresses are remembered, those seen last.
//	A4  A restart neither forgets what a principal is used to, nor tells of the same lines again (state is saved with the place in the trail).
//	A5  Only time that the trail tells counts: the same lines give the same alerts, whenever they are read.
//
// Concurrency: a Watcher is for one goroutine.
//
// Files: watch.go (Watcher), rules.go, habits.go (what is remembered), widened.go (policies), run.go.
package watch
