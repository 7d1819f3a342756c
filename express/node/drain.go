package node

import (
	"context"
	"slices"
	"time"

	"millrace/express/catalog"
)

// drainCheck is how often a draining broker looks whether it is done.
const drainCheck = 20 * time.Millisecond

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
	b.logger.Info("broker has handed over", "left", b.owned(), "took_ms", b.clock.Now().Sub(began).Milliseconds())
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
