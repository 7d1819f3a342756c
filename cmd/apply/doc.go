// Package apply has the verb by which a file says what managed clusters there shall be: `millrace apply -f cluster.yaml`.
//
// Flow: Read (the file, decoded strictly: decode.go, file.go) -> look (what there is, by the MSK API: state.go) -> plan (the difference, as a
// list of changes: plan.go, clusters.go, topics.go) -> shown, confirmed -> carry (one call of the API for each change, and a wait for its end:
// carry.go). There is no file of state: what there is says how far an apply has come.
//
// Invariants, each with a test:
//
//	Y1  Everything in the file counts, or the file is refused as a whole: unknown fields, fields given twice and values of the wrong kind are
//	    faults, each with its line, and all of them are told at once.
//	Y2  Nothing is changed before the plan was shown and confirmed, and nothing but what the plan shows.
//	Y3  After an apply that succeeded a second one plans nothing.
//	Y4  An apply that was killed or failed anywhere is carried on by the next: what was done is not done again, what was begun is waited for.
//	Y5  What the file leaves out stays as it is; only --delete deletes, and only what the file names.
//	Y6  Each error names the file and the line of what it is about.
//
// Errors: ErrFile (the file is wrong), ErrPending (--plan, and there is something to do). The verb is for one caller at a time.
package apply
