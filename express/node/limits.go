package node

import (
	"context"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/engine"
	"millrace/express/quota"
)

// limitsOf puts what the spec says into the words of the room that keeps it.
func limitsOf(l engine.Limits) quota.Limits {
	return quota.Limits{
		In: quota.Flow(l.In), Out: quota.Flow(l.Out),
		Requests: l.Requests, Connections: l.Connections, ConnectionRate: l.ConnectionRate,
		MessageBytes: l.MessageBytes, FetchBytes: l.FetchBytes,
		Replicas: l.Replicas, Partitions: l.Partitions,
		TopicChanges: l.TopicChanges, PartitionChanges: l.PartitionChanges, Period: time.Duration(l.PartitionsSeconds) * time.Second,
	}
}

// loadTimeout bounds one report of the load: the next one follows soon.
const loadTimeout = 2 * time.Second

// loads tells how much this broker has to do, as the control plane decides by it how many there shall be.
type loads struct {
	kv         kv.KV
	clock      clock.Clock
	key        string
	traffic    func() quota.Traffic
	partitions func() int

	load engine.Load
	last quota.Traffic
	at   time.Time
}

// tellLoads reports every so often until ctx ends, and takes the report back then. Without an interval it only waits.
func (b *broker) tellLoads(ctx context.Context, cfg Config, w World) error {
	every := time.Duration(cfg.Limits.LoadSeconds) * time.Second
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	now := w.Clock.Now()
	l := &loads{
		kv: w.KV, clock: w.Clock, key: cfg.Prefix + engine.LoadKey(cfg.ID), traffic: b.traffic, partitions: b.registry.ofClients,
		load: engine.Load{Format: engine.First, Broker: cfg.ID, Incarnation: int64(b.catalog.Self().Incarnation)}, at: now,
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
			defer cancel()
			_, err := w.KV.Txn(end, nil, []kv.Op{kv.Delete(l.key)})
			if err != nil {
				w.Log.Warn("report of the load is left behind", "err", err)
			}
			return nil
		case <-tick.C:
			if err := l.tell(ctx); err != nil && ctx.Err() == nil {
				w.Log.Warn("load could not be reported", "err", err)
			}
		}
	}
}

// tell writes what was to do since the report before.
func (l *loads) tell(ctx context.Context) error {
	b, err := engine.Encode(l.next())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_, err = l.kv.Txn(ctx, nil, []kv.Op{kv.Put(l.key, b)})
	return err
}

// next is the report of now.
func (l *loads) next() engine.Load {
	now, t := l.clock.Now(), l.traffic()
	seconds := max(now.Sub(l.at).Seconds(), 0.001)
	l.load.Number++
	l.load.At = now.UTC()
	l.load.In = float64(t.In-l.last.In) / seconds
	l.load.Out = max(float64(t.Out-l.last.Out), 0) / seconds // what is offered may be withdrawn
	l.load.Requests = float64(t.Requests-l.last.Requests) / seconds
	l.load.Throttled = t.Throttled - l.last.Throttled
	l.load.Connections, l.load.Partitions = t.Connections, l.partitions()
	l.last, l.at = t, now
	return l.load
}

// ofClients counts the partitions that are served here, without those of internal topics.
func (r *registry) ofClients() int {
	n := 0
	for _, p := range r.All() {
		if t, ok := r.catalog.TopicByID(p.ID().Topic); ok && !t.Internal {
			n++
		}
	}
	return n
}
