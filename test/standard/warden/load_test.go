package warden

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// load writes to a topic until it is ended, and remembers what was acknowledged.
type load struct {
	client *kgo.Client
	topic  string
	done   chan struct{}
	wait   sync.WaitGroup

	mu    sync.Mutex
	acked map[string]bool
	fault error
}

func newLoad(t testing.TB, bootstrap []string, topic string) *load {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(patience), kgo.MetadataMinAge(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	l := &load{client: client, topic: topic, done: make(chan struct{}), acked: map[string]bool{}}
	l.wait.Add(1)
	go l.run(t.Context())
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) run(ctx context.Context) {
	defer l.wait.Done()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	filler := make([]byte, 500)
	for n := 0; ; n++ {
		select {
		case <-l.done:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		key := fmt.Sprint(n)
		l.client.Produce(ctx, &kgo.Record{Key: []byte(key), Value: filler}, func(_ *kgo.Record, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				l.fault = err
				return
			}
			l.acked[key] = true
		})
	}
}

// end stops writing; it may be called again.
func (l *load) end() {
	select {
	case <-l.done:
	default:
		close(l.done)
		l.wait.Wait()
	}
}

// check ends the load, reads everything back, and fails the test where an acknowledged record is missing or a write failed for good.
func (l *load) check(t testing.TB) {
	t.Helper()
	l.end()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	defer l.client.Close()
	ends, err := kadm.NewClient(l.client).ListEndOffsets(ctx, l.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	l.client.AddConsumeTopics(l.topic)
	seen := map[string]bool{}
	for read := int64(0); read < total; {
		fetches := l.client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records read: %v", read, total, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Key)] = true; read++ })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		t.Errorf("a write failed: %v", l.fault)
	}
	for key := range l.acked {
		if !seen[key] {
			t.Errorf("record %s was acknowledged and is lost", key)
		}
	}
	t.Logf("%d records acknowledged, all are there", len(l.acked))
}
