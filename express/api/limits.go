package api

import (
	"context"
	"errors"
	"time"

	"millrace/engine"
	"millrace/express/api/changes"
	"millrace/express/catalog"
	"millrace/express/meter"
	"millrace/express/quota"
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

// changesOf is what a request may change of topics.
func (a *API) changesOf(c caller, strict bool) *changes.Budget {
	return changes.NewBudget(c.quotas, a.wholeOf(c.conn), strict)
}

// createBounded makes a topic that a client asked for without naming its size, within the limits.
func (m *metadataQuery) createBounded(ctx context.Context, n catalog.NewTopic) (*catalog.Topic, error) {
	return m.api.createWithin(ctx, m.caller, m.api.changesOf(m.caller, true), n)
}

// tooLarge refuses a batch beyond the broker's limit on messages.
func (a *API) tooLarge(c *server.Conn, records []byte) bool {
	most := a.wholeOf(c).Limits().MessageBytes
	return most > 0 && int64(len(records)) > most
}
