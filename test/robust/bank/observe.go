package bank

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/ledger"
)

// browse reads in passes until the load ends, each with a new client from a random place near the end of what was seen.
func (b *Bank) browse() {
	const near, most = 300, 600 // records of a lane
	for b.gone.Err() == nil {
		starts := make([]int64, b.book.Lanes())
		for lane := range starts {
			seen := b.book.Seen(lane)
			starts[lane] = seen - rand.Int64N(min(seen, near)+1)
		}
		b.read(starts, most)
	}
}

// follow reads with one client from the beginning, until the load ends.
func (b *Bank) follow() {
	const most = 1 << 60
	b.read(make([]int64, b.book.Lanes()), most)
}

// read reads at read_committed from the starts until so many records were given, or the load ends.
func (b *Bank) read(starts []int64, most int) {
	client, err := kgo.NewClient(b.options(b.from(starts), kgo.WithContext(b.gone), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepRetryableFetchErrors())...)
	if err != nil {
		b.fault(err)
		return
	}
	defer client.Close()
	reader := b.book.NewReader(starts)
	for given := 0; given < most && b.gone.Err() == nil; {
		fetches := client.PollFetches(b.gone)
		if b.gone.Err() != nil {
			return
		}
		if err := readError(fetches); err != nil {
			b.fault(fmt.Errorf("read: %w", err))
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			given++
			reader.See(b.lane(r), r.Offset, r.Value)
		})
	}
}

// from makes a client consume all lanes from the given offsets.
func (b *Bank) from(starts []int64) kgo.Opt {
	places := make(map[string]map[int32]kgo.Offset)
	for lane, start := range starts {
		topic, partition := b.book.Place(lane)
		if places[legTopics[topic]] == nil {
			places[legTopics[topic]] = make(map[int32]kgo.Offset)
		}
		places[legTopics[topic]][partition] = kgo.NewOffset().At(start)
	}
	return kgo.ConsumePartitions(places)
}

// lane returns the lane in which a record stands.
func (b *Bank) lane(r *kgo.Record) int {
	for topic, name := range legTopics {
		if name == r.Topic {
			return b.book.Lane(ledger.Leg(topic), r.Partition)
		}
	}
	return 0 // not reached: readers read no other topic
}

// readError returns an answer that no reader of existing offsets should be given. Lost connections and answers that
// ask for a retry are a restart's signs.
func readError(fetches kgo.Fetches) (wrong error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		var answer *kerr.Error
		if errors.As(err, &answer) && !answer.Retriable || errors.Is(err, kerr.OffsetOutOfRange) {
			wrong = fmt.Errorf("%s-%d: %w", topic, partition, err)
		}
	})
	return wrong
}

// admin returns an admin client, and what closes it.
func (b *Bank) admin() (*kadm.Client, func(), error) {
	client, err := kgo.NewClient(b.options()...)
	if err != nil {
		return nil, nil, err
	}
	return kadm.NewClient(client), client.Close, nil
}

// watch asks for last stable offsets and high watermarks until the load ends.
func (b *Bank) watch() {
	admin, closeAdmin, err := b.admin()
	if err != nil {
		b.fault(err)
		return
	}
	defer closeAdmin()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, _ = b.marks(b.gone, admin) // a broker that is away
		select {
		case <-b.gone.Done():
			return
		case <-ticker.C:
		}
	}
}

// marks notes the offsets of all lanes that the cluster tells, and returns the high watermarks; ended is an error unless all
// last stable offsets have reached them.
func (b *Bank) marks(ctx context.Context, admin *kadm.Client) (high []int64, ended error) {
	b.watching.Lock()
	defer b.watching.Unlock()
	seen := make([]int64, b.book.Lanes())
	for lane := range seen {
		seen[lane] = b.book.Seen(lane)
	}
	stable, err := admin.ListCommittedOffsets(ctx, legTopics[:]...)
	if err = errors.Join(err, stable.Error()); err != nil {
		return nil, err
	}
	marks, err := admin.ListEndOffsets(ctx, legTopics[:]...)
	if err = errors.Join(err, marks.Error()); err != nil {
		return nil, err
	}
	high = make([]int64, b.book.Lanes())
	for lane := range high {
		topic, partition := b.book.Place(lane)
		last, _ := stable.Lookup(legTopics[topic], partition)
		mark, _ := marks.Lookup(legTopics[topic], partition)
		b.book.Watermark(lane, seen[lane], last.Offset, mark.Offset)
		high[lane] = mark.Offset
		if last.Offset != mark.Offset {
			ended = fmt.Errorf("%s-%d: last stable offset %d, high watermark %d", legTopics[topic], partition, last.Offset, mark.Offset)
		}
	}
	return high, ended
}
