package record

import (
	"errors"
	"fmt"
)

// maxBadRecords bounds BadRecords.Records, so that a batch of nothing but bad records does not make an answer that is many
// times its size.
const maxBadRecords = 100

// BadRecord is one record that Check refuses.
type BadRecord struct {
	Index int32 // of the record in its batch, from 0 on
	Err   error // ErrNoKey or ErrTimestamp, and what is wrong
}

// BadRecords refuses a batch for some of its records. errors.Is finds ErrTimestamp where one of them has a time that is not
// allowed, else ErrNoKey.
type BadRecords struct {
	Records []BadRecord // ascending, the first hundred at most
	Total   int32       // of all bad records

	kind error
}

// add notes one more; a nil BadRecords is none so far.
func (e *BadRecords) add(index int32, err error) *BadRecords {
	if e == nil {
		e = &BadRecords{kind: ErrNoKey}
	}
	if errors.Is(err, ErrTimestamp) {
		e.kind = ErrTimestamp
	}
	e.Total++
	if len(e.Records) < maxBadRecords {
		e.Records = append(e.Records, BadRecord{Index: index, Err: err})
	}
	return e
}

// Error tells how many there are, and the first.
func (e *BadRecords) Error() string {
	return fmt.Sprintf("%v: %d records are refused, the first is record %d: %v", e.kind, e.Total, e.Records[0].Index, e.Records[0].Err)
}

// Unwrap gives ErrTimestamp or ErrNoKey.
func (e *BadRecords) Unwrap() error { return e.kind }
