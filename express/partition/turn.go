package partition

// turn is a lock that is held over IO. A mutex would do, but those who wait for one look busy to testing/synctest, so that the
// IO that they wait for would never end there. Make one with newTurn.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// Lock implements sync.Locker.
func (t turn) Lock() { t <- struct{}{} }

// Unlock implements sync.Locker.
func (t turn) Unlock() { <-t }
