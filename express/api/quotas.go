package api

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/quotas"
	"millrace/express/quota"
	"millrace/kafka/server"
	"millrace/secure/login"
)

// peer is what the API keeps with a connection. It belongs to the connection's reader goroutine.
type peer struct {
	quotas  quota.Client
	login   *login.Session
	address netip.Addr // of the client
	records bool       // it has carried records: a Produce or a kind of Fetch
}

// errTooManyConnections ends a connection of an address that makes them faster than its quota.
var errTooManyConnections = errors.New("api: the address makes connections faster than its quota")

// admitConnection turns a connection away that comes too early, after the time that it came too early by: the client
// must not be able to try again at once.
func (a *API) admitConnection(ctx context.Context, c *server.Conn) error {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return nil // no address, no quota
	}
	wait := a.quotas.Connect(at.Addr().Unmap())
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return errTooManyConnections
}

// quotasOf returns the quotas of who sent r.
func quotasOf(r *server.Request) *quota.Client {
	p := r.Conn.Session().(*peer)
	switch kmsg.Key(r.Header.Key) {
	case kmsg.Produce, kmsg.Fetch, kmsg.ShareFetch:
		p.records = true
	default:
	}
	p.quotas.Identify(strings.TrimPrefix(r.Conn.Principal(), "User:"), r.Header.ClientID)
	return &p.quotas
}

// reply answers with msg and mutes the connection for as long as msg says, or for the time that the broker spent on the
// request. Handlers that answer with more than a message do that by themselves.
func (a *API) reply(r *server.Request, q *quota.Client, msg kmsg.Response) {
	a.replyAfter(r, q, msg, 0)
}

// replyAfter is reply for a request that has waited for others.
func (a *API) replyAfter(r *server.Request, q *quota.Client, msg kmsg.Response, waited time.Duration) {
	throttle := a.spent(r, q, waited)
	if t, ok := msg.(kmsg.ThrottleResponse); ok {
		millis, _ := t.Throttle()
		throttle = max(throttle, time.Duration(millis)*time.Millisecond)
	}
	if t, ok := msg.(kmsg.SetThrottleResponse); ok && throttle > 0 {
		t.SetThrottle(int32(throttle.Milliseconds()))
	}
	r.Reply(server.Response{Msg: msg, Throttle: throttle})
}

// spent records the time since the request came, less what it waited, and returns the throttle that follows.
func (a *API) spent(r *server.Request, q *quota.Client, waited time.Duration) time.Duration {
	if r.Header.Key == int16(kmsg.WriteTxnMarkers) { // which Kafka exempts: others wait for it
		return 0
	}
	whole := a.wholeOf(r.Conn).Asked()
	if !q.Limited(quota.Request) {
		return whole
	}
	d := max(a.world.Clock.Now().Sub(r.Received)-waited, 0)
	return max(whole, q.Record(quota.Request, 100*quotas.Counted(r.Header.Key, d).Seconds()))
}
