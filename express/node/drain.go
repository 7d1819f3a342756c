package node

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/express/catalog"
)

const (
	// drainCheck is how often a draining broker looks whether it is done.
	drainCheck = 20 * time.Millisecond
	// partingStill is how long no client has produced or fetched when a broker that has handed over ends its connections, and
	// partingMost how long it waits for that: what is on its way to it would have no answer.
	partingStill = 40 * time.Millisecond
	partingMost  = 400 * time.Millisecond
)

// drainWhenTold gives away what the broker owns, whenever told to, and lets it run on.
func (b *broker) drainWhenTold(ctx context.Context, told <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-told:
		}
		b.logger.Info("broker drains")
		b.setDraining(ctx)
	}
}

// setDraining asks until the cluster knows, or ctx ends.
func (b *broker) setDraining(ctx context.Context) {
	for ctx.Err() == nil {
		err := b.catalog.SetDraining(ctx, true)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			b.logger.Warn("draining could not be told, to be tried again", "err", err)
		}
		wait(ctx, retryFirst)
	}
}

// handOver is the first part of a stop: others take what this broker owns (N6). It ends when that is done, when nobody can
// take it, after most, with hurry, or when the broker itself ends.
func (b *broker) handOver(ctx context.Context, most time.Duration, hurry <-chan struct{}) {
	if most <= 0 || b.owned() == 0 || !b.hasHeir() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	go func() {
		select {
		case <-hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	began := b.clock.Now()
	b.logger.Info("broker hands over", "partitions", b.owned())
	b.setDraining(ctx)
	for ctx.Err() == nil && b.owned() > 0 && b.hasHeir() {
		wait(ctx, drainCheck)
	}
	if b.owned() == 0 {
		becomesStill(ctx, b.clock, b.asked)
	}
	b.logger.Info("broker has handed over", "left", b.owned(), "took_ms", b.clock.Now().Sub(began).Milliseconds())
}

// asked is how often clients have produced or fetched here.
func (b *broker) asked() int64 {
	m := b.server.Metrics()
	return m.Requests[kmsg.Produce].Load() + m.Requests[kmsg.Fetch].Load() + m.Requests[kmsg.ShareFetch].Load()
}

// becomesStill waits until count has not changed for partingStill, for at most partingMost.
func becomesStill(ctx context.Context, clk clock.Clock, count func() int64) {
	for began, last, since := clk.Now(), count(), clk.Now(); ctx.Err() == nil; {
		now := clk.Now()
		if n := count(); n != last {
			last, since = n, now
		}
		if now.Sub(since) >= partingStill || now.Sub(began) >= partingMost {
			return
		}
		wait(ctx, partingStill/4)
	}
}

// owned is the number of partitions that are this broker's, by the catalog.
func (b *broker) owned() (n int) {
	self := b.catalog.Self().ID
	for _, t := range b.catalog.Topics() {
		for _, p := range t.Partitions {
			if p.Owner == self {
				n++
			}
		}
	}
	return n
}

// hasHeir says whether another broker takes partitions.
func (b *broker) hasHeir() bool {
	self := b.catalog.Self().ID
	return slices.ContainsFunc(b.catalog.Brokers(), func(o catalog.Broker) bool { return o.ID != self && !o.Draining })
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
