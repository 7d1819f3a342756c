package mix

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/tape"
)

// anywhere returns a place for a consumer: the beginning of every key, its end, or the record of an offset that may be there.
func (m *Mix) anywhere() []kgo.Offset {
	places := make([]kgo.Offset, m.keys())
	for key := range places {
		places[key] = kgo.NewOffset().AtStart()
		if rand.IntN(2) == 0 {
			places[key] = kgo.NewOffset().AtEnd()
		}
	}
	return places
}

// places makes a client consume all keys.
func (m *Mix) places(offsets []kgo.Offset) kgo.Opt {
	places := make(map[string]map[int32]kgo.Offset)
	for key, offset := range offsets {
		topic := topics[key/m.config.Partitions]
		if places[topic] == nil {
			places[topic] = make(map[int32]kgo.Offset)
		}
		places[topic][int32(key%m.config.Partitions)] = offset
	}
	return kgo.ConsumePartitions(places)
}

// poll polls until work ends. Now and then it begins anew somewhere else, with another client, in the name of the same process.
func (m *Mix) poll(done *atomic.Int64) {
	const polls = 200
	process := m.tape.Process()
	for !m.isClosing() {
		process.Begin(tape.Assign).OK()
		client, err := m.client(m.places(m.anywhere()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepRetryableFetchErrors())
		if err != nil {
			m.fault(err)
			return
		}
		for n := 0; n < polls && !m.isClosing(); n++ {
			if err := m.pollOnce(m.noWork, client, process); err != nil {
				m.fault(fmt.Errorf("poll: %w", err))
				break
			}
			done.Add(1)
			m.pause()
		}
		client.Close()
	}
}

// pollOnce waits for records and notes them.
func (m *Mix) pollOnce(ctx context.Context, client *kgo.Client, process *tape.Process) error {
	const most = 100
	op := process.Begin(tape.Poll)
	fetches := client.PollRecords(ctx, most)
	m.given(fetches, op)
	op.OK()
	if ctx.Err() == nil {
		return readError(fetches)
	}
	return nil
}

// given notes what was polled.
func (m *Mix) given(fetches kgo.Fetches, op *tape.Doing) {
	fetches.EachRecord(func(r *kgo.Record) {
		op.Poll(tape.Record{Key: m.key(r), Offset: r.Offset, Value: value(r)})
	})
}

// readError returns an answer that no reader of existing offsets should be given. Lost connections and answers that ask for a retry are
// a restart's signs.
func readError(fetches kgo.Fetches) (wrong error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		var answer *kerr.Error
		var lost *kgo.ErrDataLoss
		if errors.As(err, &answer) && !answer.Retriable || errors.Is(err, kerr.OffsetOutOfRange) || errors.As(err, &lost) {
			wrong = fmt.Errorf("%s-%d: %w", topic, partition, err)
		}
	})
	return wrong
}

// ask asks for the ends of the plain topic until work ends.
func (m *Mix) ask(done *atomic.Int64) {
	client, err := m.client()
	if err != nil {
		m.fault(err)
		return
	}
	defer client.Close()
	admin, process := kadm.NewClient(client), m.tape.Process()
	for !m.isClosing() {
		m.pause()
		op := process.Begin(tape.Ends)
		ends, err := admin.ListEndOffsets(m.noWork, topics[0])
		if err != nil {
			op.Leave()
			continue
		}
		ends.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				op.End(int(o.Partition), o.Offset)
			}
		})
		op.OK()
		done.Add(1)
	}
}

// readAll reads every key from its beginning to its end, once no transaction is open any more.
func (m *Mix) readAll(ctx context.Context) error {
	ends, err := m.settle(ctx)
	if err != nil {
		return fmt.Errorf("wait until all transactions have ended: %w", err)
	}
	starts, left := make([]kgo.Offset, m.keys()), 0
	for key := range starts {
		starts[key] = kgo.NewOffset().At(0)
		if ends[key] > 0 {
			left++
		}
	}
	client, err := m.client(m.places(starts), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.KeepRetryableFetchErrors())
	if err != nil {
		return err
	}
	defer client.Close()
	process := m.tape.Process()
	process.Final = true
	for left > 0 {
		op := process.Begin(tape.Poll)
		fetches := client.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), readError(fetches)); err != nil {
			return fmt.Errorf("%d keys have not reached their ends %v: %w", left, ends, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := m.key(r)
			if !r.Attrs.IsControl() {
				op.Poll(tape.Record{Key: key, Offset: r.Offset, Value: value(r)})
			}
			if r.Offset+1 == ends[key] {
				left--
			}
		})
		op.OK()
	}
	return nil
}

// settle waits until no transaction is open in any key, and returns the keys' ends.
func (m *Mix) settle(ctx context.Context) (ends []int64, err error) {
	client, err := m.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ends, err = m.settled(ctx, admin); err == nil {
			return ends, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// settled returns the keys' ends; it is an error if a transaction is open, or a broker away.
func (m *Mix) settled(ctx context.Context, admin *kadm.Client) ([]int64, error) {
	stable, err := admin.ListCommittedOffsets(ctx, topics[:]...)
	if err = errors.Join(err, stable.Error()); err != nil {
		return nil, err
	}
	high, err := admin.ListEndOffsets(ctx, topics[:]...)
	if err = errors.Join(err, high.Error()); err != nil {
		return nil, err
	}
	ends := make([]int64, m.keys())
	for key := range ends {
		topic, partition := topics[key/m.config.Partitions], int32(key%m.config.Partitions)
		last, _ := stable.Lookup(topic, partition)
		mark, _ := high.Lookup(topic, partition)
		ends[key] = mark.Offset
		if last.Offset != mark.Offset {
			err = fmt.Errorf("%s-%d: last stable offset %d, high watermark %d", topic, partition, last.Offset, mark.Offset)
		}
	}
	return ends, err
}
