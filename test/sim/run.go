package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"millrace/kafka/kerr"
	"millrace/test/robust/history"
	"millrace/test/robust/ledger"
	"millrace/test/robust/tenure"
)

// patience is how long the cluster may take, once nothing is wrong any more, to answer everything that was asked.
const patience = 90 * time.Second

// Result is what a run has shown.
type Result struct {
	Faults  []error  // what no correct cluster shows
	Events  []string // what happened, by time
	Virtual time.Duration
	Sent    int64 // records of the idempotent producers
	Acked   int64
	Bank    ledger.Counts
	Group   tenure.Counts
	Starts  int // of broker processes
}

// Run lives through a plan. It must be called in a bubble of testing/synctest.
func Run(ctx context.Context, p *Plan, log *slog.Logger) *Result {
	w := newWorld(p, log)
	ctx, end := context.WithCancel(ctx)
	defer end()
	if err := w.configure(ctx); err != nil {
		w.fault("configure: %w", err)
	}
	var world sync.WaitGroup
	world.Go(func() { w.run(ctx) })
	l := newLoad(w)
	l.run(ctx)
	end()
	world.Wait()
	r := &Result{Faults: w.faults, Events: w.events, Virtual: time.Since(w.began), Bank: l.book.Counts(), Group: l.group.Counts()}
	r.Sent, r.Acked = l.history.Counts()
	for _, m := range w.machines {
		r.Starts += m.starts
	}
	return r
}

// load is the clients and what they saw.
type load struct {
	world   *World
	history *history.History
	book    *ledger.Book
	group   *tenure.Registry
}

func newLoad(w *World) *load {
	return &load{world: w, history: history.New(w.plan.Partitions, w.plan.ValueSize), book: ledger.New(w.plan.Legs), group: tenure.New(w.plan.Partitions)}
}

// run puts load on the cluster while faults happen, and judges what came of it.
func (l *load) run(ctx context.Context) {
	w := l.world
	setup := w.newClient("setup", 99, w.plan.stream(streamTopic))
	defer setup.close()
	if err := l.topics(ctx, setup); err != nil {
		w.fault("a cluster without faults: %w", err)
		return
	}
	all, giveUp := context.WithTimeout(ctx, w.plan.Load+patience+20*time.Second)
	defer giveUp()
	stop, stopNow := context.WithTimeout(all, w.plan.Load)
	defer stopNow()
	reading, stopReading := context.WithCancel(all)
	defer stopReading()
	var producers, clients, readers sync.WaitGroup
	number := 0
	client := func(stream uint64) *client {
		number++
		return w.newClient(fmt.Sprint("client-", number), number, w.plan.stream(stream))
	}
	for i := range w.plan.Producers {
		c := client(streamProducer + uint64(i))
		producers.Go(func() { w.produce(all, stop, c, l.history) })
	}
	clients.Go(producers.Wait)
	if w.plan.Group > 0 {
		l.consume(all, client, &clients, &readers, &producers, reading)
	}
	for i := range w.plan.Tellers {
		t := &teller{client: client(streamTeller + uint64(i)), id: fmt.Sprint("teller-", i), book: l.book}
		clients.Go(func() { t.serve(all, stop) })
	}
	if w.plan.Clerk {
		placed, c := make(chan struct{}), client(streamTopic)
		clients.Go(func() {
			defer close(placed)
			w.order(all, stop, c, l.book)
		})
		t := &teller{client: client(streamTeller + 50), id: "clerk", book: l.book, clerk: true, placed: placed}
		clients.Go(func() { t.serve(all, stop) })
	}
	if w.plan.Churn {
		c := client(streamTopic + 1)
		clients.Go(func() { w.churn(all, stop, c) })
	}
	for i := range w.plan.Readers {
		c := client(streamReader + uint64(i))
		readers.Go(func() { l.watch(reading, c) })
	}
	readers.Go(func() { w.look(reading) })
	w.afflict(all)
	<-stop.Done()
	w.heal()
	clients.Wait()
	if all.Err() != nil {
		w.fault("%v after the last fault the cluster has not answered everything", patience)
	}
	stopReading()
	readers.Wait()
	l.judge(ctx, setup)
}

// consume starts a group. It is done when all that was produced is consumed.
func (l *load) consume(
	ctx context.Context, client func(uint64) *client, clients, readers, producers *sync.WaitGroup, reading context.Context,
) {
	finished := make(chan struct{})
	clients.Go(func() {
		producers.Wait()
		for i := range l.world.plan.Partitions {
			if end := l.history.AckedEnd(int32(i)); end > 0 {
				l.group.Produced(int32(i), end-1)
			}
		}
		close(finished)
	})
	for i := range l.world.plan.Group {
		m := &member{client: client(streamGroup + uint64(i)), registry: l.group}
		clients.Go(func() { m.consume(ctx, finished) })
	}
	c := client(streamGroup + 50)
	readers.Go(func() { l.world.monitor(reading, c, l.group) })
}

func (l *load) topics(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.createTopic(ctx, logTopic, int32(l.world.plan.Partitions), nil); err != nil {
		return err
	}
	if l.world.plan.Tellers == 0 {
		return nil
	}
	if l.world.plan.Clerk {
		if err := c.createTopic(ctx, orderTopic, 1, nil); err != nil {
			return err
		}
	}
	for _, name := range legTopics {
		if err := c.createTopic(ctx, name, int32(l.world.plan.Legs), nil); err != nil {
			return err
		}
	}
	return nil
}

// watch reads and asks for ends, here and there.
func (l *load) watch(ctx context.Context, c *client) {
	defer c.close()
	w := l.world
	for sleep(ctx, w.plan.Think) {
		if w.plan.Tellers > 0 && c.rng.IntN(2) == 0 {
			l.audit(ctx, c, ledger.Leg(c.rng.IntN(ledger.Topics)), int32(c.rng.IntN(w.plan.Legs)))
			continue
		}
		partition := int32(c.rng.IntN(w.plan.Partitions))
		acked, current := l.history.AckedEnd(partition), l.current(ctx, c, logTopic, partition)
		if end, err := c.ends(ctx, logTopic, partition, false); err == nil {
			if current {
				l.history.Watermark(partition, acked, end)
			}
		} else if wrong := unfit(err); wrong != nil {
			w.fault("where %s-%d ends: %w", logTopic, partition, wrong)
		}
		seen := l.history.Seen(partition)
		from := seen - c.rng.Int64N(seen+1)
		entries, _, err := c.read(ctx, logTopic, partition, from, false, 50*time.Millisecond)
		if wrong := unfit(err); err != nil && wrong != nil {
			w.fault("read %s-%d from %d: %w", logTopic, partition, from, wrong)
		}
		for _, e := range entries {
			l.history.Observe(partition, e.offset, e.value)
		}
	}
}

// current tells whether the client knows the owner of a partition as it is. With logs in the store, one that was replaced and
// does not know it yet still tells, as a leader of Kafka does, what it knew: that is old, but not what E5 is about.
func (l *load) current(ctx context.Context, c *client, name string, partition int32) bool {
	at, err := c.leader(ctx, name, partition)
	if err != nil {
		return false
	}
	item, err := l.world.kv.Get(ctx, fmt.Sprintf("%scatalog/partitions/%s/%d", prefix, c.topic[name].id, partition))
	var record struct{ Epoch int32 }
	return err == nil && json.Unmarshal(item.Value, &record) == nil && record.Epoch == at.epoch
}

// audit looks at one lane of the bank.
func (l *load) audit(ctx context.Context, c *client, leg ledger.Leg, partition int32) {
	name, lane := legTopics[leg], l.book.Lane(leg, partition)
	seen, current := l.book.Seen(lane), l.current(ctx, c, name, partition)
	stable, err := c.ends(ctx, name, partition, true)
	if err == nil {
		var high int64
		if high, err = c.ends(ctx, name, partition, false); err == nil && current {
			l.book.Watermark(lane, seen, stable, high)
		}
	}
	if wrong := unfit(err); err != nil && wrong != nil {
		l.world.fault("where %s-%d ends: %w", name, partition, wrong)
	}
	from := seen - c.rng.Int64N(seen+1)
	starts := make([]int64, l.book.Lanes())
	starts[lane] = from
	entries, _, err := c.read(ctx, name, partition, from, true, 50*time.Millisecond)
	if wrong := unfit(err); err != nil && wrong != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
		l.world.fault("read %s-%d from %d: %w", name, partition, from, wrong)
	}
	if len(entries) == 0 {
		return
	}
	reader := l.book.NewReader(starts)
	for _, e := range entries {
		reader.See(lane, e.offset, e.value)
	}
}

// judge reads everything and compares it with what clients did and saw.
func (l *load) judge(ctx context.Context, c *client) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if l.world.plan.Group > 0 {
		for _, v := range l.group.Verify() {
			l.world.fault("group: %v", v)
		}
	}
	logs := l.log(ctx, c)
	for _, v := range l.history.Verify(logs) {
		l.world.fault("%v", v)
	}
	if l.world.plan.Tellers == 0 {
		return
	}
	for _, v := range l.book.Verify(l.lanes(ctx, c, true), l.lanes(ctx, c, false)) {
		l.world.fault("%v", v)
	}
}

func (l *load) log(ctx context.Context, c *client) iter.Seq[history.Record] {
	return func(yield func(history.Record) bool) {
		for i := range int32(l.world.plan.Partitions) {
			entries, err := c.whole(ctx, logTopic, i, false)
			if err != nil {
				l.world.fault("%w", err)
			}
			for _, e := range entries {
				if !yield(history.Record{Partition: i, Offset: e.offset, Value: e.value}) {
					return
				}
			}
		}
	}
}

func (l *load) lanes(ctx context.Context, c *client, committed bool) iter.Seq[ledger.Record] {
	return func(yield func(ledger.Record) bool) {
		for lane := range l.book.Lanes() {
			leg, partition := l.book.Place(lane)
			entries, err := c.whole(ctx, legTopics[leg], partition, committed)
			if err != nil {
				l.world.fault("%w", err)
			}
			for _, e := range entries {
				r := ledger.Record{Lane: lane, Offset: e.offset, Value: e.value, Producer: e.producer}
				if e.marker != nil {
					r.Marker = ledger.AbortMarker
					if e.marker.Commit {
						r.Marker = ledger.CommitMarker
					}
				}
				if !yield(r) {
					return
				}
			}
		}
	}
}
