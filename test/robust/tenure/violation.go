package tenure

import "fmt"

// Kind is a way in which a group can be wrong; the package comment says which rule it breaks.
type Kind string

// The kinds of violations.
const (
	Shared     Kind = "shared"     // owned by two at once
	Evicted    Kind = "evicted"    // thrown out while it was heard
	Backwards  Kind = "backwards"  // a commit in the log below one before it
	Unsaid     Kind = "unsaid"     // a committed offset that was told, below one told before
	Behind     Kind = "behind"     // began below an acknowledged commit
	Ahead      Kind = "ahead"      // began above every commit
	Intruder   Kind = "intruder"   // a commit of one who had left was accepted
	Skipped    Kind = "skipped"    // consumed by nobody
	Unfinished Kind = "unfinished" // the last commit is not the end of the partition
)

// Violation is one thing that a correct coordinator could not have brought about.
type Violation struct {
	Kind      Kind
	Partition int32
	Text      string
}

// String gives the violation in one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s: partition %d: %s", v.Kind, v.Partition, v.Text)
}
