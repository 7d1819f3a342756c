package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"millrace/kafka/kerr"
	"millrace/secure/identity"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
)

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func iamListener() Listener {
	return Listener{Name: "CLIENT_IAM", Mechanisms: []identity.Mechanism{identity.MSKIAM, identity.OAuthBearer}, Hosts: []string{"b-1.demo.kafka.local"}}
}

// franz is the message that franz-go sends by AWS_MSK_IAM to a broker.
func (g *gate) franz(addr, id, secret, token string) []byte {
	g.t.Helper()
	g.t.(*testing.T).Setenv("AWS_REGION", region)
	_, message, err := aws.Auth{AccessKey: id, SecretKey: secret, SessionToken: token}.AsManagedStreamingIAMMechanism().Authenticate(context.Background(), addr)
	must(g.t, err)
	return message
}

// signIAM is the message of AWS_MSK_IAM that AWS's library makes, at any time.
func (g *gate) signIAM(host, inRegion, expires string, when time.Time) []byte {
	g.t.Helper()
	q := g.presign("https://"+host+"/?Action=kafka-cluster%3AConnect&X-Amz-Expires="+expires, inRegion, "kafka-cluster", when).URL.Query()
	m := map[string]string{"version": "2020_10_22", "host": host, "user-agent": "x"}
	for k, v := range q {
		m[strings.ToLower(k)] = v[0]
	}
	b, err := json.Marshal(m)
	must(g.t, err)
	return b
}

func (g *gate) presign(url, inRegion, service string, when time.Time) *http.Request {
	g.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	must(g.t, err)
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), sdk.Credentials{AccessKeyID: aliceID, SecretAccessKey: aliceSecret}, r, emptyHash, service, inRegion, when)
	must(g.t, err)
	r, err = http.NewRequestWithContext(context.Background(), http.MethodGet, signed, nil)
	must(g.t, err)
	return r
}

// bearer is the first message of OAUTHBEARER with the token that the MSK IAM signers make.
func (g *gate) bearer(inRegion, expires string, when time.Time) []byte {
	g.t.Helper()
	u := g.presign("https://"+sigv4.BearerHost(inRegion)+"/?Action=kafka-cluster%3AConnect&X-Amz-Expires="+expires, inRegion, "kafka-cluster", when).URL.String()
	return g.token(base64.RawURLEncoding.EncodeToString([]byte(u + "&User-Agent=aws-msk-iam-sasl-signer-go%2F1.0.4")))
}

// token is the first message of franz-go with a token.
func (g *gate) token(token string) []byte {
	g.t.Helper()
	_, message, err := oauth.Auth{Token: token}.AsMechanism().Authenticate(context.Background(), "host:1")
	must(g.t, err)
	return message
}

// once sends a message by a mechanism, which is to be the whole login.
func (c *client) once(m identity.Mechanism, message []byte) (reply []byte, lifetime time.Duration, err error) {
	c.t.Helper()
	if resp, err := c.handshake(1, m); err != nil || resp.ErrorCode != 0 {
		c.t.Fatalf("handshake: %v %+v", err, resp)
	}
	resp, err := c.authenticate(2, message)
	if err != nil {
		return nil, 0, err
	}
	if resp.ErrorCode != 0 {
		return nil, 0, refusedWith{resp.ErrorCode, *resp.ErrorMessage}
	}
	return resp.SASLAuthBytes, time.Duration(resp.SessionLifetimeMillis) * time.Millisecond, nil
}

// accessDeniedToldTo checks the words of MSK.
func accessDeniedTold(t *testing.T, what string, err error) {
	t.Helper()
	var told refusedWith
	if !errors.As(err, &told) || kerr.Code(told.code) != kerr.SaslAuthenticationFailed || len(told.text) != len("[00000000-0000-0000-0000-000000000000]: Access denied") ||
		!strings.HasSuffix(told.text, "]: Access denied") {
		t.Errorf("%s: %v, want [uuid]: Access denied", what, err)
	}
}

func TestMSKIAM(t *testing.T) {
	g := newGate(t, iamListener())
	_, port, _ := strings.Cut(g.addr, ":")
	for _, host := range []string{"127.0.0.1", "localhost", "b-1.demo.kafka.local", "B-1.Demo.kafka.LOCAL"} {
		c := g.dial()
		reply, lifetime, err := c.once(identity.MSKIAM, g.franz(host+":"+port, aliceID, aliceSecret, ""))
		if err != nil || lifetime != 0 {
			t.Fatalf("%s: %v, lifetime %v", host, err, lifetime)
		}
		var said struct {
			Version string
			ID      string `json:"request-id"`
		}
		if err := json.Unmarshal(reply, &said); err != nil || said.Version != "2020_10_22" || said.ID == "" {
			t.Errorf("reply %s: %v", reply, err)
		}
		c.mustBe("User:" + aliceARN)
		if e := g.trail.last(t); e.Outcome != trail.Accepted || e.AccessKey != aliceID || e.Principal != "User:"+aliceARN {
			t.Errorf("trail: %+v", e)
		}
	}
	now := time.Now()
	host := "b-1.demo.kafka.local"
	for what, message := range map[string][]byte{
		"another broker":   g.franz("b-2.demo.kafka.local:9098", aliceID, aliceSecret, ""),
		"another address":  g.franz("127.0.0.2:9098", aliceID, aliceSecret, ""),
		"wrong secret":     g.franz(host+":1", aliceID, "wrong-password", ""),
		"unknown key":      g.franz(host+":1", "AKIANOBODYNOBODYNOBO", aliceSecret, ""),
		"secret as key id": g.franz(host+":1", strings.ReplaceAll(aliceSecret, "/", "_"), aliceID, ""),
		"token of nobody":  g.franz(host+":1", aliceID, aliceSecret, "session-token-of-nobody"),
		"expired":          g.signIAM(host, region, "900", now.Add(-21*time.Minute)),
		"in the future":    g.signIAM(host, region, "900", now.Add(6*time.Minute)),
		"lives too long":   g.signIAM(host, region, "901", now),
		"another region":   g.signIAM(host, "us-east-1", "900", now),
		"not JSON":         []byte("n,,n=alice,r=x"),
		"empty":            nil,
		"large":            []byte(`{"version":"` + strings.Repeat("x", 20<<10) + `"}`),
	} {
		c := g.dial()
		_, _, err := c.once(identity.MSKIAM, message)
		accessDeniedTold(t, what, err)
		c.mustBeClosed()
		if e := g.trail.last(t); e.Outcome != trail.Refused || e.Reason == "" || e.Mechanism != "AWS_MSK_IAM" {
			t.Errorf("%s: trail %+v", what, e)
		}
	}
	for _, late := range []time.Duration{-4 * time.Minute, 0, 16 * time.Minute} { // clocks differ
		if _, _, err := g.dial().once(identity.MSKIAM, g.signIAM(host, region, "900", now.Add(-late))); err != nil {
			t.Errorf("signed %v ago: %v", late, err)
		}
	}
}

// Keys that are made for a session work with their token, until they expire; the login ends with them.
func TestSessionKeys(t *testing.T) {
	g := newGate(t, iamListener())
	const id, token = "ASIASESSIONSESSIONS1", "session-token-of-alice/+="
	arn := "arn:aws:sts::123456789012:assumed-role/reader/alice"
	g.keys.set(token, Key{ID: id, Secret: aliceSecret, Principal: "User:" + arn, Identity: identity.IAM{ARN: arn, Role: "reader", AccessKey: id}, Expires: time.Now().Add(time.Hour)})
	c := g.dial()
	_, lifetime, err := c.once(identity.MSKIAM, g.franz(g.addr, id, aliceSecret, token))
	if err != nil || lifetime < 59*time.Minute || lifetime > time.Hour {
		t.Fatalf("%v, lifetime %v", err, lifetime)
	}
	c.mustBe("User:" + arn)
	_, _, err = g.dial().once(identity.MSKIAM, g.franz(g.addr, id, aliceSecret, ""))
	accessDeniedTold(t, "without the token", err)
	g.clock.advance(61 * time.Minute)
	c.mustBeClosed()
	_, _, err = g.dial().once(identity.MSKIAM, g.signedBy(id, token, g.clock.Now()))
	accessDeniedTold(t, "after the key has expired", err)
	g.keys.err = errors.New("etcd is away")
	_, _, err = g.dial().once(identity.MSKIAM, g.signIAM("localhost", region, "900", g.clock.Now()))
	accessDeniedTold(t, "keys not found out", err)
}

// signedBy is a message of a session's key at any time.
func (g *gate) signedBy(id, token string, when time.Time) []byte {
	g.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://localhost/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900", nil)
	must(g.t, err)
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), sdk.Credentials{AccessKeyID: id, SecretAccessKey: aliceSecret, SessionToken: token}, r, emptyHash, "kafka-cluster", region, when)
	must(g.t, err)
	r, err = http.NewRequestWithContext(context.Background(), http.MethodGet, signed, nil)
	must(g.t, err)
	m := map[string]string{"version": "2020_10_22", "host": "localhost"}
	for k, v := range r.URL.Query() {
		m[strings.ToLower(k)] = v[0]
	}
	b, err := json.Marshal(m)
	must(g.t, err)
	return b
}

// A stolen signature is of no use from another address (LG5), but for a moment, and at the same address always.
func TestReplay(t *testing.T) {
	g := newGate(t, iamListener())
	message := g.franz(g.addr, aliceID, aliceSecret, "")
	in := func() error {
		_, _, err := g.dial().once(identity.MSKIAM, message)
		return err
	}
	must(t, in())
	must(t, in())
	signed, err := sigv4.ParseIAM(message)
	must(t, err)
	r := newReplays(2)
	here, there := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	now := time.Now()
	end := now.Add(time.Hour)
	for _, f := range []struct {
		from netip.Addr
		at   time.Duration
		want bool
	}{{here, 0, true}, {there, 5 * time.Second, true}, {here, time.Minute, true}, {there, 6 * time.Second, false}, {there, time.Minute, false}} {
		if got := r.admit(signed.Digest(), f.from, now.Add(f.at), end); got != f.want {
			t.Errorf("from %v at %v: %v", f.from, f.at, got)
		}
	}
	g.door.replays.mu.Lock() // as if it had come from elsewhere, before
	for d := range g.door.replays.seen {
		g.door.replays.seen[d] = use{from: there, first: now.Add(-time.Minute), until: end}
	}
	g.door.replays.mu.Unlock()
	accessDeniedTold(t, "replayed", in())
	if e := g.trail.last(t); !strings.Contains(e.Reason, "another address") || e.AccessKey != aliceID {
		t.Errorf("trail: %+v", e)
	}
}

// Memory for signatures and refusals is bounded (LG6).
func TestMemoryIsBounded(t *testing.T) {
	r := newReplays(1000)
	addr := netip.MustParseAddr("10.0.0.1")
	now := time.Now()
	for i := range 100_000 {
		r.admit([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, addr, now, now.Add(time.Hour))
	}
	if len(r.seen) > 1000 || len(r.order) > 1000 || cap(r.order) > 4000 {
		t.Errorf("%d signatures, order %d of %d", len(r.seen), len(r.order), cap(r.order))
	}
	f := newRefusals(1000, &shiftClock{})
	for i := range 1_000_000 {
		if d := f.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprint(i), time.Millisecond); d > delayMost {
			t.Fatal(d)
		}
	}
	if len(f.debts) > 1000 || f.order.Len() != len(f.debts) {
		t.Errorf("%d debts, order %d", len(f.debts), f.order.Len())
	}
	var most time.Duration
	for range 10_000 {
		most = max(most, f.add(addr, "", time.Millisecond))
	}
	if most != delayMost {
		t.Errorf("longest delay %v", most)
	}
}

func TestOAuthBearer(t *testing.T) {
	g := newGate(t, iamListener())
	now := time.Now()
	for _, expires := range []string{"900", "512.344"} {
		c := g.dial()
		reply, lifetime, err := c.once(identity.OAuthBearer, g.bearer(region, expires, now))
		if err != nil || len(reply) != 0 || lifetime < 500*time.Second || lifetime > 900*time.Second {
			t.Fatalf("%v, reply %q, lifetime %v", err, reply, lifetime)
		}
		c.mustBe("User:" + aliceARN)
	}
	same := g.bearer(region, "900", now) // clients send the same token again, and from anywhere
	for range 3 {
		if _, _, err := g.dial().once(identity.OAuthBearer, same); err != nil {
			t.Fatal(err)
		}
	}
	for what, message := range map[string][]byte{
		"expired":        g.bearer(region, "900", now.Add(-21*time.Minute)),
		"another region": g.bearer("us-east-1", "900", now),
		"lives too long": g.bearer(region, "901", now),
		"no token":       g.token("bm90LWEtdG9rZW4"),
		"for a broker":   g.token(base64.RawURLEncoding.EncodeToString([]byte(g.presign("https://b-1.demo.kafka.local/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900", region, "kafka-cluster", now).URL.String()))),
		"for S3":         g.token(base64.RawURLEncoding.EncodeToString([]byte(g.presign("https://"+sigv4.BearerHost(region)+"/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900", region, "s3", now).URL.String()))),
	} {
		c := g.dial()
		reply, _, err := c.once(identity.OAuthBearer, message)
		if err != nil || string(reply) != invalidToken {
			t.Errorf("%s: %v, reply %q", what, err, reply)
		}
		resp, err := c.authenticate(2, []byte{1})
		if err != nil || kerr.Code(resp.ErrorCode) != kerr.SaslAuthenticationFailed || *resp.ErrorMessage != invalidToken {
			t.Errorf("%s: %v %+v", what, err, resp)
		}
		c.mustBeClosed()
	}
	events := g.trail.all()
	if len(events) != 5+6 {
		t.Errorf("%d events, want one for each login (LG8)", len(events))
	}
	c := g.dial() // refused, and then something else
	if _, _, err := c.once(identity.OAuthBearer, g.token("x")); err != nil {
		t.Fatal(err)
	}
	c.mustBeClosed()
	c = g.dial() // refused, and then a good token
	if _, _, err := c.once(identity.OAuthBearer, g.token("x")); err != nil {
		t.Fatal(err)
	}
	if resp, err := c.authenticate(2, same); err == nil && resp.ErrorCode == 0 {
		t.Error("a second token was taken")
	}
	c.mustBeClosed()
	for _, message := range []string{"", "n,,", "n,,\x01\x01", "n,,\x01auth=Basic abc\x01\x01", "y,,\x01auth=Bearer x\x01\x01", "n,a=,\x01auth=Bearer x\x01\x01",
		"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "n,,x\x01auth=Bearer x\x01\x01"} {
		var told refusedWith
		if _, _, err := g.dial().once(identity.OAuthBearer, []byte(message)); !errors.As(err, &told) || !strings.Contains(told.text, "invalid credentials") {
			t.Errorf("%q: %v", message, err)
		}
	}
	// An authorization id has to be the principal.
	for id, ok := range map[string]bool{aliceARN: true, "arn:aws:iam::123456789012:user/bob": false} {
		message := strings.Replace(string(same), "n,,", "n,a="+id+",", 1)
		if _, _, err := g.dial().once(identity.OAuthBearer, []byte(message)); (err == nil) != ok {
			t.Errorf("authorization id %s: %v", id, err)
		}
	}
}

// A session by a token ends with the token, and is renewed by another one.
func TestTokenEnds(t *testing.T) {
	g := newGate(t, iamListener())
	c := g.dial()
	if _, _, err := c.once(identity.OAuthBearer, g.bearer(region, "900", time.Now())); err != nil {
		t.Fatal(err)
	}
	g.clock.advance(14 * time.Minute)
	c.mustBe("User:" + aliceARN)
	if _, _, err := c.once(identity.OAuthBearer, g.bearer(region, "900", g.clock.Now())); err != nil {
		t.Fatal(err)
	}
	g.clock.advance(14 * time.Minute)
	c.mustBe("User:" + aliceARN)
	g.clock.advance(2 * time.Minute)
	c.mustBeClosed()
	c = g.dial() // with a token that has ended for us, of a client whose clock is behind
	if _, lifetime, err := c.once(identity.OAuthBearer, g.bearer(region, "300", g.clock.Now().Add(-9*time.Minute))); err != nil || lifetime < 59*time.Second {
		t.Errorf("%v, lifetime %v", err, lifetime)
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("n,,\x01auth=Bearer abc\x01\x01")
	f.Add("n,a=x=2Cy,\x01host=h\x01auth=bearer   abc=\x01\x01")
	f.Fuzz(func(t *testing.T, message string) {
		token, id, err := bearerOf(message)
		if err == nil && (token == "" || strings.ContainsAny(token, "\x01")) || err != nil && token+id != "" {
			t.Fatalf("%q: token %q id %q err %v", message, token, id, err)
		}
	})
}
