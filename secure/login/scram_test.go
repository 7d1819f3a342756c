package login

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	xdg "github.com/xdg-go/scram"

	"millrace/kafka/kerr"
	"millrace/secure/identity"
	"millrace/secure/trail"
)

func scramListener() Listener {
	return Listener{Name: "CLIENT_SASL_SCRAM", Mechanisms: []identity.Mechanism{identity.ScramSHA512, identity.ScramSHA256, "PLAIN"}}
}

// refusedWith is what a client was told.
type refusedWith struct {
	code int16
	text string
}

func (r refusedWith) Error() string { return r.text }

// scramLogin logs in with headers (version 0 to 2 of SaslAuthenticate), or without (-1). It returns the lifetime of the session.
func (c *client) scramLogin(version int16, m identity.Mechanism, user, password string) (time.Duration, error) {
	c.t.Helper()
	hello := int16(1)
	if version < 0 {
		hello = 0
	}
	if resp, err := c.handshake(hello, m); err != nil || resp.ErrorCode != 0 {
		c.t.Fatalf("handshake: %v %+v", err, resp)
	}
	return c.scramExchange(version, m, user, password)
}

func (c *client) scramExchange(version int16, m identity.Mechanism, user, password string) (time.Duration, error) {
	c.t.Helper()
	generator := xdg.SHA256
	if m == identity.ScramSHA512 {
		generator = xdg.SHA512
	}
	x, err := generator.NewClientUnprepped(user, password, "")
	must(c.t, err)
	talk := x.NewConversation()
	reply := ""
	var lifetime time.Duration
	for range 2 {
		message, err := talk.Step(reply)
		must(c.t, err)
		if version < 0 {
			c.frame([]byte(message))
			raw, err := c.read()
			if err != nil {
				return 0, err
			}
			reply = string(raw)
			continue
		}
		resp, err := c.authenticate(version, []byte(message))
		if err != nil {
			return 0, err
		}
		if resp.ErrorCode != 0 {
			return 0, refusedWith{resp.ErrorCode, *resp.ErrorMessage}
		}
		reply, lifetime = string(resp.SASLAuthBytes), time.Duration(resp.SessionLifetimeMillis)*time.Millisecond
	}
	_, err = talk.Step(reply)
	must(c.t, err)
	return lifetime, nil
}

func TestScram(t *testing.T) {
	g := newGate(t, scramListener())
	for _, version := range []int16{-1, 0, 1, 2} {
		for _, m := range []identity.Mechanism{identity.ScramSHA256, identity.ScramSHA512} {
			c := g.dial()
			if lifetime, err := c.scramLogin(version, m, "alice", "alices-password"); err != nil || lifetime != 0 {
				t.Fatalf("v%d %s: %v, lifetime %v", version, m, err, lifetime)
			}
			c.mustBe("User:alice")
			e := g.trail.last(t)
			if e.Outcome != trail.Accepted || e.Principal != "User:alice" || e.Mechanism != string(m) || e.From != "127.0.0.1" || e.Cluster != "demo" ||
				e.Listener != "CLIENT_SASL_SCRAM" || e.ClientID != "test" || e.Kind != trail.Login {
				t.Errorf("trail: %+v", e)
			}
			for _, who := range [][2]string{{"alice", "wrong-password"}, {"nobody", "wrong-password"}, {"alices-password", "x"}} {
				c := g.dial()
				_, err := c.scramLogin(version, m, who[0], who[1])
				var told refusedWith
				switch {
				case version < 0 && !errors.Is(err, errClosed):
					t.Errorf("raw, wrong: %v", err)
				case version >= 0 && (!errors.As(err, &told) || kerr.Code(told.code) != kerr.SaslAuthenticationFailed ||
					told.text != "Authentication failed during authentication due to invalid credentials with SASL mechanism "+string(m)):
					t.Errorf("v%d, wrong: %v", version, err)
				}
				c.mustBeClosed()
				e := g.trail.last(t)
				if e.Outcome != trail.Refused || (e.Principal == "User:alice") != (who[0] == "alice") {
					t.Errorf("trail: %+v", e)
				}
			}
		}
	}
	if events := g.trail.all(); len(events) != 4*2*4 {
		t.Errorf("%d events, want one for each login (LG8)", len(events))
	}
	if m := g.door.Metrics(); m.Accepted.Load() != 8 || m.Refused.Load() != 24 {
		t.Errorf("accepted %d, refused %d", m.Accepted.Load(), m.Refused.Load())
	}
}

// Before a login nothing is handled but what leads to it (LG1).
func TestNothingBeforeTheLogin(t *testing.T) {
	g := newGate(t, scramListener())
	g.dial().mustBeClosed()

	c := g.dial() // ApiVersions may come
	if _, err := ask[*kmsg.ApiVersionsResponse](c, 3, kmsg.NewPtrApiVersionsRequest()); err != nil {
		t.Fatal(err)
	}
	c.mustBeClosed()

	c = g.dial() // SaslAuthenticate without a handshake
	if resp, err := c.authenticate(1, []byte("n,,n=alice,r=abc")); err == nil {
		t.Errorf("without handshake: %+v", resp)
	}
	c = g.dial() // in the middle
	if _, err := c.handshake(1, identity.ScramSHA512); err != nil {
		t.Fatal(err)
	}
	c.mustBeClosed()
	c = g.dial() // after the first message
	if _, err := c.handshake(1, identity.ScramSHA512); err != nil {
		t.Fatal(err)
	}
	if resp, err := c.authenticate(1, []byte("n,,n=alice,r=abc")); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%v %+v", err, resp)
	}
	if resp, err := ask[*kmsg.ApiVersionsResponse](c, 3, kmsg.NewPtrApiVersionsRequest()); err != nil || kerr.Code(resp.ErrorCode) != kerr.IllegalSaslState {
		t.Errorf("ApiVersions between two messages of a login: %v %+v", err, resp)
	}
	c.mustBeClosed()
	c = g.dial() // a frame larger than a login may be
	c.frame(make([]byte, 1<<20))
	if _, err := c.read(); err == nil {
		t.Error("a large frame before the login was read")
	}
}

// A mechanism that is not offered is refused with those that are. PLAIN never is, even if a listener asks for it.
func TestMechanismsOffered(t *testing.T) {
	g := newGate(t, scramListener())
	for _, m := range []identity.Mechanism{"PLAIN", "GSSAPI", identity.MSKIAM, identity.OAuthBearer, "", "SCRAM-SHA-1"} {
		c := g.dial()
		resp, err := c.handshake(1, m)
		if err != nil || kerr.Code(resp.ErrorCode) != kerr.UnsupportedSaslMechanism || strings.Join(resp.SupportedMechanisms, " ") != "SCRAM-SHA-512 SCRAM-SHA-256" {
			t.Errorf("%q: %v %+v", m, err, resp)
		}
		c.mustBeClosed()
	}
}

// A listener without mechanisms knows everybody as nobody, and takes no login.
func TestListenerWithoutLogin(t *testing.T) {
	g := newGate(t, Listener{Name: "CLIENT"})
	c := g.dial()
	c.mustBe("User:ANONYMOUS")
	if resp, err := c.handshake(1, identity.ScramSHA512); err != nil || kerr.Code(resp.ErrorCode) != kerr.IllegalSaslState || len(resp.SupportedMechanisms) > 0 {
		t.Errorf("%v %+v", err, resp)
	}
	if resp, err := c.authenticate(2, nil); err != nil || kerr.Code(resp.ErrorCode) != kerr.IllegalSaslState ||
		*resp.ErrorMessage != "SaslAuthenticate request received after successful authentication" {
		t.Errorf("%v %+v", err, resp)
	}
	c.mustBe("User:ANONYMOUS")
}

// Sessions end, and can be renewed by the same principal with the same mechanism (LG2, LG3).
func TestReauthentication(t *testing.T) {
	l := scramListener()
	l.MaxReauth = time.Minute
	g := newGate(t, l)
	g.user("bob", "bobs-password")
	in := func(version int16) *client {
		c := g.dial()
		lifetime, err := c.scramLogin(version, identity.ScramSHA512, "alice", "alices-password")
		if err != nil || version > 0 && lifetime != time.Minute {
			t.Fatalf("%v, lifetime %v", err, lifetime)
		}
		return c
	}
	for _, version := range []int16{-1, 0, 1, 2} {
		c := in(version)
		g.clock.advance(30 * time.Second)
		c.mustBe("User:alice")
		if _, err := c.scramLogin(version, identity.ScramSHA512, "alice", "alices-password"); err != nil {
			t.Fatal(err)
		}
		g.clock.advance(45 * time.Second) // the first login has ended
		c.mustBe("User:alice")
		g.clock.advance(16 * time.Second)
		c.mustBeClosed()
	}
	if n := g.door.Metrics().Expired.Load(); n != 4 {
		t.Errorf("%d connections expired, want 4", n)
	}
	c := in(1) // late, but in time: nothing came in between
	g.clock.advance(2 * time.Minute)
	if _, err := c.scramLogin(1, identity.ScramSHA512, "alice", "alices-password"); err != nil {
		t.Fatal(err)
	}
	c.mustBe("User:alice")
	if resp, err := c.handshake(1, identity.ScramSHA512); err != nil || kerr.Code(resp.ErrorCode) != kerr.IllegalSaslState {
		t.Errorf("again within a second: %v %+v", err, resp)
	}
	c.mustBe("User:alice")

	c = in(1) // as another
	var told refusedWith
	if _, err := c.scramLogin(1, identity.ScramSHA512, "bob", "bobs-password"); !errors.As(err, &told) ||
		told.text != "Cannot change principals during re-authentication from User.alice: User.bob" {
		t.Errorf("as bob: %v", err)
	}
	c.mustBeClosed()
	if e := g.trail.last(t); e.Outcome != trail.Refused || e.Principal != "User:bob" {
		t.Errorf("trail: %+v", e)
	}
	c = in(1) // by another mechanism: the handshake is answered, the first message is not
	if resp, err := c.handshake(1, identity.ScramSHA256); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%v %+v", err, resp)
	}
	if resp, err := c.authenticate(1, []byte("n,,n=alice,r=abc")); err == nil {
		t.Errorf("by another mechanism: %+v", resp)
	}
	c = in(1) // wrongly
	if _, err := c.scramLogin(1, identity.ScramSHA512, "alice", "wrong-password"); !errors.As(err, &told) || !strings.Contains(told.text, "during re-authentication") {
		t.Errorf("wrongly: %v", err)
	}
	c.mustBeClosed()
	c = in(1) // something else in the middle
	if _, err := c.handshake(1, identity.ScramSHA512); err != nil {
		t.Fatal(err)
	}
	c.mustBeClosed()
}

// Where sessions do not end, they cannot be renewed.
func TestNoReauthenticationWithoutEnd(t *testing.T) {
	g := newGate(t, scramListener())
	c := g.dial()
	if _, err := c.scramLogin(1, identity.ScramSHA512, "alice", "alices-password"); err != nil {
		t.Fatal(err)
	}
	if resp, err := c.handshake(1, identity.ScramSHA512); err != nil || kerr.Code(resp.ErrorCode) != kerr.IllegalSaslState {
		t.Errorf("%v %+v", err, resp)
	}
	c.mustBe("User:alice")
}

// Who is proven and may still not connect is refused as everybody else.
func TestAdmit(t *testing.T) {
	g := newGate(t, scramListener())
	g.refuseAll(errors.New("no kafka-cluster:Connect"))
	c := g.dial()
	var told refusedWith
	if _, err := c.scramLogin(1, identity.ScramSHA512, "alice", "alices-password"); !errors.As(err, &told) || strings.Contains(told.text, "Connect") {
		t.Errorf("%v", err)
	}
	c.mustBeClosed()
	if e := g.trail.last(t); e.Outcome != trail.Refused || e.Principal != "User:alice" || e.Reason != "no kafka-cluster:Connect" {
		t.Errorf("trail: %+v", e)
	}
}

// Guesses at one name are not evaluated for ever, right or wrong; others at the same address get in meanwhile (LG7).
func TestGuesses(t *testing.T) {
	g := newGate(t, scramListener())
	g.user("bob", "bobs-password")
	g.clock.freeze()
	for range guessesMost + 2 {
		if _, err := g.dial().scramLogin(1, identity.ScramSHA512, "alice", "wrong-password"); err == nil {
			t.Fatal("logged in")
		}
	}
	if _, err := g.dial().scramLogin(1, identity.ScramSHA512, "alice", "alices-password"); err == nil {
		t.Error("the right password was evaluated after too many guesses")
	}
	if _, err := g.dial().scramLogin(1, identity.ScramSHA512, "bob", "bobs-password"); err != nil {
		t.Error("bob is kept out by guesses at alice: ", err)
	}
	g.clock.advance(10 * time.Second)
	if _, err := g.dial().scramLogin(1, identity.ScramSHA512, "alice", "alices-password"); err != nil {
		t.Error("after a while: ", err)
	}
}
