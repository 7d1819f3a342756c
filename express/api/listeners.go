package api

import (
	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// at is a broker as clients of a listener reach it: Host and Port are those of its listener of that name. It reports false for a broker
// that has none, which such clients are not told of.
func at(b catalog.Broker, listener string) (catalog.Broker, bool) {
	e, ok := b.At(listener)
	b.Host, b.Port = e.Host, e.Port
	return b, ok
}

// listener is the name of the one by which a request came.
func (c caller) listener() string { return c.conn.Listener() }

// brokersAt are the live brokers as clients of a listener reach them.
func (a *API) brokersAt(listener string) []catalog.Broker {
	all := a.catalog.Brokers()
	out := make([]catalog.Broker, 0, len(all))
	for _, b := range all {
		if b, ok := at(b, listener); ok {
			out = append(out, b)
		}
	}
	return out
}

// leaderAt is leader, as clients of a listener reach it. It reports false for one that has no such listener, too.
func (a *API) leaderAt(t *catalog.Topic, index int32, listener string) (b catalog.Broker, epoch int32, ok bool) {
	if b, epoch, ok = a.leader(t, index); !ok {
		return b, epoch, false
	}
	b, ok = at(b, listener)
	return b, epoch, ok
}

// listenerErrors is the version of Metadata since which a leader without the listener has an error of its own.
const listenerErrors = 6

// hide takes the leader out of a placement that clients of a listener cannot reach. version is that of their Metadata request.
func (a *API) hide(p *placement, listener string, version int16) {
	b, ok := a.broker(p.leader)
	if !ok {
		return
	}
	if _, ok := b.At(listener); ok {
		return
	}
	p.leader, p.code = -1, kerr.LeaderNotAvailable
	if version >= listenerErrors {
		p.code = kerr.ListenerNotFound
	}
}
