package ecosystem

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A place is one partition of a topic.
type place struct {
	topic     string
	partition int32
}

// A reader reads topics from their beginning as a read_committed consumer does, and keeps all records. It sees control records
// too, and so knows how far it has come where a topic ends with one.
type reader struct {
	client *kgo.Client
	admin  *kadm.Client
	done   chan struct{}

	mu      sync.Mutex
	records map[place][]*kgo.Record // in the order of their offsets, without control records
	next    map[place]int64         // the offset behind the last that was read
	aborts  int                     // control records that end a transaction whose records do not count
	fault   error                   // the first error that a fetch gave
}

// startReader reads topics until the test ends.
func startReader(t *testing.T, s *server, topics ...string) *reader {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(s.Bootstrap), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
	)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{
		client: client, admin: s.admin(t), done: make(chan struct{}),
		records: make(map[place][]*kgo.Record), next: make(map[place]int64),
	}
	ctx, cancel := context.WithCancel(context.Background())
	go r.run(ctx)
	t.Cleanup(func() {
		cancel()
		<-r.done
		client.Close()
	})
	return r
}

func (r *reader) run(ctx context.Context) {
	defer close(r.done)
	for ctx.Err() == nil {
		fetches := r.client.PollFetches(ctx)
		if ctx.Err() == nil {
			r.take(fetches)
		}
	}
}

func (r *reader) take(fetches kgo.Fetches) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fetches.EachError(func(topic string, partition int32, err error) {
		if r.fault == nil {
			r.fault = fmt.Errorf("read %s-%d: %w", topic, partition, err)
		}
	})
	fetches.EachRecord(func(one *kgo.Record) {
		at := place{one.Topic, one.Partition}
		if one.Offset < r.next[at] && r.fault == nil {
			r.fault = fmt.Errorf("read %s-%d: offset %d came after %d", one.Topic, one.Partition, one.Offset, r.next[at]-1)
		}
		r.next[at] = one.Offset + 1
		switch {
		case !one.Attrs.IsControl():
			r.records[at] = append(r.records[at], one)
		case bytes.Equal(one.Key, abortKey):
			r.aborts++
		}
	})
}

// abortKey is the key of the control record that aborts a transaction: version 0, type 0.
var abortKey = make([]byte, 4)

// aborted returns how many transactions were aborted so far, counted in each partition.
func (r *reader) aborted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.aborts
}

// count returns the number of records of the topic so far, and the first fault of the reading.
func (r *reader) count(topic string) (n int, fault error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, records := range r.records {
		if at.topic == topic {
			n += len(records)
		}
	}
	return n, r.fault
}

// atEnd is nil once all that the topic holds was read. What an open transaction hides is not.
func (r *reader) atEnd(ctx context.Context, topic string) error {
	ends, err := r.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ends.Each(func(end kadm.ListedOffset) {
		if next := r.next[place{end.Topic, end.Partition}]; next != end.Offset {
			err = fmt.Errorf("%s-%d: read up to %d, it ends at %d", end.Topic, end.Partition, next, end.Offset)
		}
	})
	if r.fault != nil {
		return r.fault
	}
	return err
}

// partition returns the records of one partition in the order of their offsets.
func (r *reader) partition(topic string, partition int32) []*kgo.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.records[place{topic, partition}]
}

// all returns the records of the topic, one partition after the other.
func (r *reader) all(topic string) []*kgo.Record {
	var found []*kgo.Record
	for p := range int32(partitions) {
		found = append(found, r.partition(topic, p)...)
	}
	return found
}
