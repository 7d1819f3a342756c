package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"millrace/base/kv"
)

// Watch implements kv.KV. etcd's client resumes by itself after a broken connection; this watch ends with a
// Resync when etcd cancels it (history compacted, leader lost) or breaks its order, which releases of etcd
// have done.
func (c *Client) Watch(ctx context.Context, prefix string, fromRev int64) <-chan kv.Event {
	out := make(chan kv.Event)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		close(out)
		return out
	}
	c.watches.Add(1)
	go func() {
		defer c.watches.Done()
		defer close(out)
		ctx, cancel := c.bound(ctx)
		defer cancel()
		c.feed(ctx, out, prefix, fromRev)
	}()
	return out
}

// feed sends events until the watch fails or ctx ends.
func (c *Client) feed(ctx context.Context, out chan<- kv.Event, prefix string, fromRev int64) {
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(fromRev)}
	last := fromRev
	for resp := range c.watcher.Watch(clientv3.WithRequireLeader(ctx), prefix, opts...) {
		for _, e := range resp.Events {
			if e.Kv.ModRevision < last {
				send(ctx, out, kv.Event{Type: kv.EventResync})
				return
			}
			last = e.Kv.ModRevision
			if !send(ctx, out, event(e)) {
				return
			}
		}
	}
	send(ctx, out, kv.Event{Type: kv.EventResync}) // the channel closes after a cancellation, whatever its cause
}

// send returns false when ctx has ended.
func send(ctx context.Context, out chan<- kv.Event, e kv.Event) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case out <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

func event(e *clientv3.Event) kv.Event {
	if e.Type == clientv3.EventTypeDelete {
		return kv.Event{Type: kv.EventDelete, Item: kv.Item{Key: string(e.Kv.Key), ModRev: e.Kv.ModRevision}}
	}
	return kv.Event{Type: kv.EventPut, Item: item(e.Kv)}
}

func item(pair *mvccpb.KeyValue) kv.Item {
	return kv.Item{
		Key:       string(pair.Key),
		Value:     pair.Value,
		CreateRev: pair.CreateRevision,
		ModRev:    pair.ModRevision,
		Lease:     kv.LeaseID(pair.Lease),
	}
}
