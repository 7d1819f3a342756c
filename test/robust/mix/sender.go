package mix

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/tape"
)

// send sends until work ends, with one client after the other.
func (m *Mix) send(done *atomic.Int64) {
	for !m.isClosing() {
		client, err := m.client(kgo.StopProducerOnDataLossDetected())
		if err != nil {
			m.fault(err)
			return
		}
		m.sendWith(client, done)
		client.Close()
	}
}

// sendWith sends with one client, until one operation is abandoned: its client goes while its records are on their way.
func (m *Mix) sendWith(client *kgo.Client, done *atomic.Int64) {
	const most, abandoned = 3, 100
	process := m.tape.Process()
	for !m.isClosing() {
		m.pause()
		op := process.Begin(tape.Send)
		keys := make([]int, 1+rand.IntN(most))
		for i := range keys {
			keys[i] = rand.IntN(m.keys())
		}
		outcomes := m.produce(client, op, keys)
		if rand.IntN(abandoned) == 0 {
			m.abandon()
			op.Leave()
			return
		}
		if err := m.await(outcomes, len(keys)); err != nil {
			if !errors.Is(err, context.Canceled) {
				m.fault(fmt.Errorf("send: %w", err))
			}
			op.Leave()
			return
		}
		op.OK()
		done.Add(1)
	}
}

// produce hands records for the keys to a client, and returns where their outcomes come.
func (m *Mix) produce(client *kgo.Client, op *tape.Doing, keys []int) <-chan error {
	outcomes := make(chan error, len(keys))
	for _, key := range keys {
		name := op.Send(key)
		client.Produce(m.gone, m.record(key, name), func(r *kgo.Record, err error) {
			if err == nil {
				op.Stands(name, r.Offset)
			}
			outcomes <- err
		})
	}
	return outcomes
}

// await waits for so many outcomes, and returns the first that is an error.
func (m *Mix) await(outcomes <-chan error, n int) (failed error) {
	for range n {
		select {
		case err := <-outcomes:
			if failed == nil {
				failed = err
			}
		case <-m.gone.Done():
			return m.gone.Err()
		}
	}
	return failed
}

// abandon lets a moment pass in which records may leave a client that is about to be closed.
func (m *Mix) abandon() {
	const most = 3 * time.Millisecond
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.gone.Done():
	}
}
