package producer

import "millrace/kafka/record"

// State is all that a log, or a part of one, says about its producers: their sequences and their transactions. The zero State
// is empty and ready. Not safe for concurrent use.
type State struct {
	Table
	Transactions Transactions
}

// Apply records b, whose offsets are given and which is durable. See Table.Apply and Transactions.Apply.
func (s *State) Apply(b record.Batch) {
	s.Table.Apply(b)
	s.Transactions.Apply(b)
}

// Merge adds the state of the next part of the log. later stays unchanged and shares nothing with s.
func (s *State) Merge(later *State) {
	s.Table.Merge(&later.Table)
	s.Transactions.Merge(&later.Transactions)
}
