package mix

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/tape"
)

// move makes transactions until work ends, with one client after the other.
func (m *Mix) move(id string, done *atomic.Int64) {
	for !m.isClosing() {
		client, err := m.client(kgo.TransactionalID(id), kgo.TransactionTimeout(m.config.Timeout), m.places(m.anywhere()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		if err != nil {
			m.fault(err)
			return
		}
		process := m.tape.Process()
		for !m.isClosing() {
			m.pause()
			if !m.transact(client, process) {
				break
			}
			done.Add(1)
		}
		client.Close() // an open transaction is aborted by the next client's beginning
	}
}

// transact makes one transaction: records, polls, and more records; then it is committed, or aborted, or left where it is. It is false
// when the client is done with.
func (m *Mix) transact(client *kgo.Client, process *tape.Process) bool {
	const most, aborted, abandoned = 3, 6, 60 // one in so many
	if err := client.BeginTransaction(); err != nil {
		return false
	}
	op := process.Begin(tape.Txn)
	for range 1 + rand.IntN(most) {
		if rand.IntN(2) == 0 {
			if !m.take(client, op) {
				op.Fail()
				return false
			}
			continue
		}
		keys := make([]int, 1+rand.IntN(most))
		for i := range keys {
			keys[i] = m.config.Partitions + rand.IntN(m.config.Partitions) // of the mixed topic
		}
		if err := m.await(m.produce(client, op, keys), len(keys)); err != nil {
			op.Fail()
			return false
		}
	}
	switch chance := rand.IntN(abandoned); {
	case chance == 0:
		op.Fail()
		return false
	case chance%aborted == 1:
		err := client.EndTransaction(m.gone, kgo.TryAbort)
		op.Fail()
		return err == nil
	}
	op.Ask()
	if err := client.EndTransaction(m.gone, kgo.TryCommit); err != nil {
		op.Leave()
		return false
	}
	op.OK()
	return true
}

// take polls for a moment; false: the client cannot go on.
func (m *Mix) take(client *kgo.Client, op *tape.Doing) bool {
	const patience, most = 50 * time.Millisecond, 100
	ctx, cancel := context.WithTimeout(m.gone, patience)
	defer cancel()
	fetches := client.PollRecords(ctx, most)
	m.given(fetches, op)
	return m.gone.Err() == nil && readError(fetches) == nil
}
