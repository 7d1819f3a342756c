package ecosystem

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// stepEvery is the time between two steps of the load, on the clock and in the records' timestamps.
	stepEvery = 10 * time.Millisecond
	// linesInStep is the number of lines that a step writes; it writes one record to each side of the join.
	linesInStep   = 2
	recordsInStep = linesInStep + 2
	wordsInLine   = 3
	vocabulary    = 150
	joinKeys      = 60
	// joinWindow is Application.WINDOW.
	joinWindow = time.Second
)

// A step is what the load writes at one time. It follows from its number alone.
type step struct {
	lines       [linesInStep]string
	left, right int // keys
}

func stepOf(number int) step {
	const seed = 4
	random := rand.New(rand.NewPCG(seed, uint64(number)))
	var s step
	for i := range s.lines {
		var words [wordsInLine]string
		for w := range words {
			// Some words are frequent and most are rare, as in texts.
			words[w] = fmt.Sprintf("w%d", random.IntN(1+random.IntN(vocabulary)))
		}
		s.lines[i] = strings.Join(words[:], " ")
	}
	s.left, s.right = random.IntN(joinKeys), random.IntN(joinKeys)
	return s
}

// A load writes steps at a steady rate into "lines", "left" and "right" until it is stopped.
type load struct {
	client *kgo.Client
	begin  time.Time // timestamp of the first step
	stop   chan struct{}
	once   sync.Once
	done   chan struct{}
	steps  int // valid after done

	mu    sync.Mutex
	fault error
}

func startLoad(t *testing.T, s *server) *load {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(s.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{
		client: client, begin: time.Now().Truncate(time.Second), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go l.run(t.Context())
	t.Cleanup(func() {
		l.end()
		client.Close()
	})
	return l
}

func (l *load) end() {
	l.once.Do(func() { close(l.stop) })
	<-l.done
}

func (l *load) run(ctx context.Context) {
	defer close(l.done)
	ticker := time.NewTicker(stepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.write(ctx, l.steps)
		l.steps++
	}
}

func (l *load) write(ctx context.Context, number int) {
	s := stepOf(number)
	when := l.begin.Add(time.Duration(number) * stepEvery)
	send := func(topic string, partition int, key, value string) {
		l.client.Produce(ctx, &kgo.Record{
			Topic: topic, Partition: int32(partition % partitions), Key: []byte(key), Value: []byte(value), Timestamp: when,
		}, l.acked)
	}
	for i, line := range s.lines {
		send("lines", number+i, "line", line)
	}
	send("left", s.left, fmt.Sprint("k", s.left), fmt.Sprint("a", number))
	send("right", s.right, fmt.Sprint("k", s.right), fmt.Sprint("b", number))
}

func (l *load) acked(record *kgo.Record, err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil {
		l.fault = fmt.Errorf("produce to %s: %w", record.Topic, err)
	}
}

// finish ends the load once all of it is acknowledged, and returns what the application has to make of it.
func (l *load) finish(t *testing.T) expected {
	t.Helper()
	l.end()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	err := l.client.Flush(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.fault
	}
	if err != nil {
		t.Fatalf("the load is not taken: %v", err)
	}
	return expect(l.steps)
}
