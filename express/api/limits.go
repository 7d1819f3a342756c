package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/engine"
	"millrace/express/catalog"
	"millrace/express/meter"
	"millrace/express/quota"
	"millrace/kafka/kerr"
	"millrace/kafka/server"
)

// delayMost bounds how long a connection is kept waiting that comes earlier than the broker's rate; one that would wait longer is
// turned away.
const delayMost = 10 * time.Second

// errBrokerFull ends a connection beyond what the broker may have.
var errBrokerFull = errors.New("api: the broker has as many connections as its type allows")

// wholeOf returns what holds the clients of the broker together, nil for what nodes of the installation do among themselves: only they
// come by the internal listener.
func (a *API) wholeOf(c *server.Conn) *quota.Whole {
	if c.Listener() == engine.Internal {
		return nil
	}
	return a.whole
}

// usageOf returns the counters of a topic for what a client does with it; nil for nodes of the installation.
func (a *API) usageOf(c *server.Conn, t *catalog.Topic) *meter.Topic {
	if t.Internal || c.Listener() == engine.Internal {
		return nil
	}
	return a.world.Usage.Topic(t.ID, t.Name)
}

// enter counts a connection, and delays it if it comes too early. Who was let in must leave.
func (a *API) enter(ctx context.Context, c *server.Conn) error {
	w := a.wholeOf(c)
	wait, ok := w.Open()
	if ok && wait == 0 {
		return nil
	}
	if ok && wait <= delayMost {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
		}
	}
	if ok {
		w.Closed()
	}
	return errBrokerFull
}

// leave counts a connection off.
func (a *API) leave(c *server.Conn) { a.wholeOf(c).Closed() }

// roomFor refuses partitions that the cluster may not have, in the words of Kafka's policies. Several brokers that create topics at
// once may together go beyond the limit by what they create then.
func (a *API) roomFor(c *server.Conn, more int, replication int16) error {
	l := a.wholeOf(c).Limits()
	if l.Replicas == 0 && l.Partitions == 0 || more <= 0 {
		return nil
	}
	brokers := len(a.catalog.Brokers())
	partitions, replicas := more, more*min(int(replication), brokers)
	for _, t := range a.catalog.Topics() {
		if !t.Internal {
			partitions += len(t.Partitions)
			replicas += len(t.Partitions) * min(int(t.ReplicationFactor), brokers)
		}
	}
	switch {
	case l.Partitions > 0 && partitions > l.Partitions:
		return fmt.Errorf("%w: the cluster would have %d partitions, and its quota is %d", kerr.PolicyViolation, partitions, l.Partitions)
	case l.Replicas > 0 && replicas > l.Replicas*brokers:
		return fmt.Errorf("%w: the cluster would have %d replicas of partitions, and its %d brokers may have %d each; "+
			"add brokers or use a larger broker type", kerr.PolicyViolation, replicas, brokers, l.Replicas)
	}
	return nil
}

// bounded says whether creating topics is bounded, so that it is worth a look at what would be created.
func (a *API) bounded(m *mutations) bool {
	l := m.whole.Limits()
	return m.limited() || l.Replicas > 0 || l.Partitions > 0
}

// createBounded makes a topic that a client asked for without naming its size, within the limits.
func (m *metadataQuery) createBounded(ctx context.Context, n catalog.NewTopic) (*catalog.Topic, error) {
	quota := &mutations{quotas: m.caller.quotas, whole: m.api.wholeOf(m.caller.conn), strict: true}
	return m.api.createWithin(ctx, m.caller, quota, n)
}

// tooLarge refuses a batch beyond the broker's limit on messages.
func (a *API) tooLarge(c *server.Conn, records []byte) bool {
	most := a.wholeOf(c).Limits().MessageBytes
	return most > 0 && int64(len(records)) > most
}
