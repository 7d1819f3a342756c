package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/server"
	"millrace/secure/authz"
)

// call is one request on its way.
type call struct {
	g       *Gateway
	s       *session
	r       *server.Request
	e       entry
	who     authz.Access // without what is asked
	key     int16
	version int16 // in which it goes to the broker; the client's unless a rule says otherwise
	touched touched

	edit func(kmsg.Response) // of a broker's answer; nil: it goes back as it came
	// raw, instead of edit, makes the reply out of the bytes of an answer, for a client that is to wait so long.
	raw func(body []byte, wait time.Duration) (server.Response, error)
}

// verdict is what a rule says of a request.
type verdict struct {
	answer kmsg.Response       // not nil: this is the answer, and nothing goes to the broker
	pruned bool                // the request has been changed
	edit   func(kmsg.Response) // changes the broker's answer; nil: it goes back as it came
}

// rule decides on a request. It may change the request, and then says so.
type rule func(ctx context.Context, c *call, req kmsg.Request) verdict

// errLost is what a rule's lookup has failed with; the request is not answered.
var errLost = errors.New("gateway: lookup failed")

// lookupFailed is panicked by rules, which have no other way out, and caught by decide.
type lookupFailed struct{ err error }

// handle authorizes a request and sends on what may pass.
func (s *session) handle(ctx context.Context, r *server.Request) {
	key := r.Header.Key
	e, ok := s.g.table[key]
	if !ok {
		r.Close()
		return
	}
	who := s.login.Identity()
	c := &call{g: s.g, s: s, r: r, e: e, key: key, version: r.Header.Version, who: authz.Access{
		Who: &who, Host: s.ip, TLS: s.tls, Key: key, ClientID: r.Header.ClientID, Listener: s.f.Name,
	}}
	if e.own != nil { // may come before the login
		e.own(c)
		return
	}
	if who.Principal == "" || e.loggedOut(who, s.g.world.Clock.Now()) {
		r.Close()
		return
	}
	if e.handle != nil {
		e.handle(ctx, c)
		return
	}
	req, err := s.g.decoder.Decode(key, r.Header.Version, r.Body)
	if err != nil {
		r.Refuse(err)
		return
	}
	v, err := c.decide(ctx, req)
	if err != nil {
		s.fail(r, err)
		return
	}
	if v.answer != nil {
		c.reply(v.answer)
		return
	}
	if own := s.g.world.Own[key]; own != nil {
		resp, err := own(ctx, req)
		if err != nil {
			s.fail(r, err)
			return
		}
		c.reply(resp)
		return
	}
	c.edit = v.edit
	body := r.Body
	if v.pruned || c.version != r.Header.Version {
		req.SetVersion(c.version)
		body = req.AppendTo(nil)
	}
	c.send(ctx, net.Buffers{body})
}

// decide asks the key's rule.
func (c *call) decide(ctx context.Context, req kmsg.Request) (v verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			lost, ok := p.(lookupFailed)
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("%w: %w", errLost, lost.err)
		}
	}()
	return c.e.rule(ctx, c, req), nil
}

// reply answers without the broker.
func (c *call) reply(resp kmsg.Response) {
	c.record(resp)
	c.r.Reply(server.Response{Msg: resp})
}

// send sends the request on; its answer goes to took.
func (c *call) send(ctx context.Context, bufs net.Buffers) {
	u, err := c.s.upstream(ctx)
	if err == nil {
		err = u.send(c.key, c.version, c.r.Header.ClientID, bufs, c)
	}
	if err != nil {
		c.s.fail(c.r, err)
	}
}

// lost answers for a broker that will not.
func (c *call) lost(error) { c.r.NoReply() }

// took passes a broker's answer on.
func (c *call) took(a answer) {
	wait := c.throttle(len(a.body))
	switch {
	case c.raw != nil:
		resp, err := c.raw(a.body, wait)
		if err != nil {
			c.broke(a, err)
			return
		}
		resp.Release, resp.Throttle = a.giveUp, wait
		c.r.Reply(resp)
	case c.edit == nil && !c.e.changes && c.version == c.r.Header.Version && wait == 0:
		c.r.Reply(server.Response{Buffers: net.Buffers{a.body}, Release: a.giveUp})
	default:
		resp, err := c.g.decoder.DecodeResponse(c.key, c.version, a.body)
		if err != nil {
			c.broke(a, err)
			return
		}
		if c.edit != nil {
			c.edit(resp)
		}
		c.record(resp)
		setThrottle(resp, wait)
		c.r.Reply(server.Response{Msg: resp, Release: a.giveUp, Throttle: wait})
	}
}

// throttle charges the request or its answer, and returns for how long the client is to wait.
func (c *call) throttle(answered int) time.Duration {
	fetch, n := true, answered
	switch kmsg.Key(c.key) {
	case kmsg.Produce:
		fetch, n = false, c.r.Size()
	case kmsg.Fetch, kmsg.ShareFetch:
	default:
		return 0
	}
	return c.g.quotas.Throttle(fetch, c.who.Who.Principal, c.r.Header.ClientID, n, c.g.world.Clock.Now())
}

// setThrottle tells the client for how long it is muted, if the broker has not told it to wait longer.
func setThrottle(resp kmsg.Response, wait time.Duration) {
	if wait <= 0 {
		return
	}
	told, ok := resp.(kmsg.ThrottleResponse)
	set, can := resp.(kmsg.SetThrottleResponse)
	if !ok || !can {
		return
	}
	if had, _ := told.Throttle(); int64(had) < wait.Milliseconds() {
		set.SetThrottle(int32(wait.Milliseconds()))
	}
}

// broke ends the connection to a broker whose answer cannot be read.
func (c *call) broke(a answer, err error) {
	a.giveUp()
	c.r.NoReply()
	c.s.up.stop(fmt.Errorf("answer to key %d: %w", c.key, errors.Join(errBroker, err)))
}

// give gives an answer to its taker. A panic in a rule is a fault of ours: it ends this one connection, not the gateway.
func (u *upstream) give(t taker, a answer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			u.g.world.Log.Error("answer not passed on", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			a.giveUp()
			err = fmt.Errorf("%w: panic", errBroker)
			func() {
				defer func() { _ = recover() }() // it may have been answered already
				t.lost(err)
			}()
		}
	}()
	t.took(a)
	return nil
}
