package logins

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"millrace/kafka/wire"
	"millrace/test/harness"
)

// addresses counts those that were given away.
type addresses struct{ n atomic.Int32 }

// next is a loopback address that nobody else has.
func (a *addresses) next() string {
	n := a.n.Add(1)
	return fmt.Sprintf("127.1.%d.%d", n/200, 1+n%200)
}

// between accepts connections and makes one to a cluster for each, from a loopback address of its own.
func between(t *testing.T, ln net.Listener, dial func() (net.Conn, error), pass func(in, out net.Conn)) (address string) {
	t.Helper()
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := dial()
				if err != nil {
					return
				}
				defer out.Close()
				pass(in, out)
			}()
		}
	}()
	return ln.Addr().String()
}

// relay passes connections on as they are. The end of one is passed on by itself: a reset would take what the cluster has said last from
// a client that has not read it yet.
func (s *site) relay(t *testing.T, to string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.addresses.next())}}
	dial := func() (net.Conn, error) { return dialer.DialContext(t.Context(), "tcp", to) }
	return between(t, ln, dial, func(in, out net.Conn) {
		done := make(chan struct{})
		go func() {
			_, _ = io.Copy(out, in)
			_ = out.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, in)
			close(done)
		}()
		_, _ = io.Copy(in, out)
		_ = in.(*net.TCPConn).CloseWrite()
		<-done
	})
}

// tap stands between a client and a cluster, with a certificate that the client trusts, and hears how the client logs in.
type tap struct {
	address string
	what    string // case that it is for
	cluster string

	mu    sync.Mutex
	heard captured // of the connection that logged in first
}

// captured is a login as somebody has heard it, to be sent again.
type captured struct {
	mechanism string
	messages  [][]byte
}

// Name implements sasl.Mechanism.
func (c captured) Name() string { return c.mechanism }

// Authenticate implements sasl.Mechanism.
func (c captured) Authenticate(context.Context, string) (sasl.Session, []byte, error) {
	return &again{captured{c.mechanism, c.messages[1:]}}, c.messages[0], nil
}

// again says what is left, whatever it is answered.
type again struct{ captured }

// Challenge implements sasl.Session.
func (a *again) Challenge(answer []byte) (done bool, next []byte, err error) {
	switch {
	case len(a.messages) > 0:
		next, a.messages = a.messages[0], a.messages[1:]
		return false, next, nil
	case a.mechanism == "OAUTHBEARER" && len(answer) > 0: // why it is refused; the refusal comes when that is understood
		return false, []byte{1}, nil
	default:
		return true, nil, nil
	}
}

// tap passes requests on. With patience it does not pass the cluster's end of a connection on, but waits for the client's.
func (s *site) tap(t *testing.T, to string, patient bool) *tap {
	t.Helper()
	own, err := tls.LoadX509KeyPair(s.tapped.Cert, s.tapped.Key)
	must(t, err)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})
	must(t, err)
	dialer := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.addresses.next())}}, Config: s.trust()}
	dial := func() (net.Conn, error) { return dialer.DialContext(t.Context(), "tcp", to) }
	p := &tap{cluster: to}
	p.address = between(t, ln, dial, func(in, out net.Conn) {
		done := make(chan struct{})
		go func() {
			p.listen(in, out)
			_ = out.Close()
			close(done)
		}()
		_, _ = io.Copy(in, out)
		if patient {
			<-done
		}
	})
	return p
}

// listen passes the client's requests on and keeps its login.
func (p *tap) listen(in io.Reader, out io.Writer) {
	var said captured
	for {
		frame := make([]byte, wire.SizeBytes)
		if _, err := io.ReadFull(in, frame); err != nil {
			break
		}
		frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
		if _, err := io.ReadFull(in, frame[wire.SizeBytes:]); err != nil {
			break
		}
		said.hear(frame[wire.SizeBytes:])
		p.keep(said)
		if _, err := out.Write(frame); err != nil {
			break
		}
	}
}

func (p *tap) keep(c captured) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(c.messages) > 0 && (p.heard.mechanism == "" || len(p.heard.messages) < len(c.messages)) {
		p.heard = c
	}
}

func (c *captured) hear(frame []byte) {
	h, body, err := wire.DecodeHeader(frame, "")
	if err != nil {
		return
	}
	switch h.Key {
	case wire.KeySASLHandshake:
		q := kmsg.NewPtrSASLHandshakeRequest()
		q.Version = h.Version
		if q.ReadFrom(body) == nil {
			c.mechanism = q.Mechanism
		}
	case wire.KeySASLAuthenticate:
		q := kmsg.NewPtrSASLAuthenticateRequest()
		q.Version = h.Version
		if q.ReadFrom(body) == nil {
			c.messages = append(c.messages, q.SASLAuthBytes)
		}
	}
}

// enter logs in by what was heard, from a loopback address.
func (s *site) enter(t *testing.T, to string, c captured, source string) error {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(to), s.from(source), kgo.RequestRetries(0), kgo.SASL(c))
	must(t, err)
	defer client.Close()
	_, err = client.SeedBrokers()[0].Request(s.deadline(), metadata())
	return err
}

// replays sends the logins of all clients that a tap has heard again, from elsewhere. Neither an answer to a challenge nor a signature is good
// for a second login. A bearer token is, as its name says, until its key is disabled.
func (s *site) replays(t *testing.T, whose person) {
	t.Helper()
	refused := func(p *tap) func(context.Context) error {
		return func(context.Context) error {
			switch err := s.enter(t, p.cluster, p.heard, s.addresses.next()); {
			case err == nil:
				return fmt.Errorf("%s, sent again, got in", p.what)
			case !errors.Is(err, kerr.SaslAuthenticationFailed):
				return fmt.Errorf("%s, sent again: %w", p.what, err)
			}
			return nil
		}
	}
	var bearers []*tap
	for _, p := range s.taps {
		if len(p.heard.messages) == 0 {
			t.Errorf("%s: no login was heard", p.what)
			continue
		}
		switch p.heard.mechanism {
		case "AWS_MSK_IAM": // two clients may have made the same signature, so it is taken for a moment
			harness.Eventually(t, patience, p.what+": refused", refused(p))
		case "OAUTHBEARER":
			bearers = append(bearers, p)
			must(t, s.enter(t, p.cluster, p.heard, s.addresses.next()))
		default:
			must(t, refused(p)(t.Context()))
		}
	}
	must(t, s.store.SetKey(s.deadline(), whose.key.ID, false))
	for _, p := range bearers {
		harness.Eventually(t, patience, p.what+": refused", refused(p))
	}
	t.Logf("%d logins were sent again, %d of them with a bearer token", len(s.taps), len(bearers))
}
