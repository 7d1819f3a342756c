package cert

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/kafka/server"
	"millrace/kafka/wire"
	"millrace/secure/identity"
)

// echoServer answers each request with its body, to who its Keeper accepts.
type echoServer struct {
	*server.Server
	keeper  *Keeper
	address string

	mu   sync.Mutex
	came []identity.Identity
}

func (e *echoServer) Versions(int16) (int16, int16, bool) { return 0, 12, true }

func (e *echoServer) Handle(_ context.Context, r *server.Request) {
	r.Reply(server.Response{Buffers: net.Buffers{append([]byte(nil), r.Body...)}})
}

func (e *echoServer) Connected(_ context.Context, c *server.Conn) error {
	who, err := e.keeper.Identity(*c.TLS())
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.came = append(e.came, who)
	e.mu.Unlock()
	c.SetPrincipal(who.Principal)
	return nil
}

func (e *echoServer) Disconnected(*server.Conn) {}

// serve runs a server with the Keeper's certificate. Connections whose certificate counts no more are closed.
func serve(t testing.TB, k *Keeper, auth ClientAuth) *echoServer {
	t.Helper()
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	e := &echoServer{keeper: k}
	if e.Server, err = server.New(server.Config{}, e, server.World{Log: discard(), Clock: clock.System{}, Slabs: slabs}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = ln.Addr().String()
	background(t, func(ctx context.Context) error { return e.ServeTLS(ctx, "TLS", ln, ServerTLS(k, auth)) })
	background(t, func(ctx context.Context) error {
		return k.Watch(ctx, func() {
			e.Recheck(func(c *server.Conn) error {
				if s := c.TLS(); s != nil {
					return k.Refused(*s)
				}
				return nil
			})
		})
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = e.Close(ctx)
	})
	return e
}

// dial returns the connection after a first request and answer, so that the server has let it in.
func (e *echoServer) dial(cfg *tls.Config) (*tls.Conn, error) {
	nc, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", e.address)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(nc, cfg)
	if err := ask(c, 0); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// ask sends a request and reads its answer.
func ask(c net.Conn, id int32) error {
	const body = "hello"
	f := wire.AppendHeader(make([]byte, wire.SizeBytes), wire.RequestHeader{Key: 3, Version: 1, CorrelationID: id})
	f = append(f, body...)
	wire.PutFrameSize(f, len(f)-wire.SizeBytes)
	if _, err := c.Write(f); err != nil {
		return err
	}
	answer := make([]byte, 8+len(body))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if int32(binary.BigEndian.Uint32(answer[4:])) != id || string(answer[8:]) != body {
		return fmt.Errorf("answer %q to request %d", answer, id)
	}
	return nil
}

// clientConfig trusts the installation and shows p, if there is one.
func (i *install) clientConfig(p *pair) *tls.Config {
	cfg := &tls.Config{RootCAs: i.pool(), ServerName: "127.0.0.1"}
	if p != nil {
		// Shown whatever the server asks for.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &p.cert, nil }
	}
	return cfg
}

func (i *install) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(i.authority.CA().PEM))
	return pool
}

// TestRenewalUnderLoad changes the certificate many times, and the authority, under connections that stay and others that come: none fails
// (C5), and each certificate is really shown.
func TestRenewalUnderLoad(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.sign(i.authority)
	k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	e := serve(t, k, WantClientCert)
	cfg := i.clientConfig(i.client(ClientRequest{Name: "load"}))
	var over atomic.Bool
	var shown sync.Map
	var requests, handshakes atomic.Int64
	var all sync.WaitGroup
	fail := func(err error) {
		t.Error(err)
		over.Store(true)
	}
	for range 4 {
		all.Go(func() {
			c, err := e.dial(cfg)
			if err != nil {
				fail(err)
				return
			}
			defer c.Close()
			for n := int32(1); !over.Load(); n++ {
				if err := ask(c, n); err != nil {
					fail(fmt.Errorf("a connection that stays, after %d requests: %w", n, err))
				}
				requests.Add(1)
			}
		})
		all.Go(func() {
			for !over.Load() {
				c, err := e.dial(cfg)
				if err != nil {
					fail(fmt.Errorf("a connection that comes: %w", err))
					return
				}
				shown.Store(serialText(c.ConnectionState().PeerCertificates[0].SerialNumber), true)
				handshakes.Add(1)
				_ = c.Close()
			}
		})
	}
	const renewals = 20
	for n := range renewals {
		last := k.Status().Serial
		if n == renewals/2 {
			if err := i.authority.Replace(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			k.Renew()
		}
		until(t, "another certificate is shown", func() bool {
			now := k.Status().Serial
			_, ok := shown.Load(now)
			return now != last && ok || over.Load()
		})
	}
	over.Store(true)
	all.Wait()
	t.Logf("%d certificates, %d requests on 4 connections that stayed, %d handshakes", renewals, requests.Load(), handshakes.Load())
}

// TestRevocation: a revoked client is cut off, and gets in neither anew nor by its former session (C7); others stay.
func TestRevocation(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			i := newInstall(t, AuthorityConfig{})
			i.sign(i.authority)
			k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
			e := serve(t, k, NeedClientCert)
			good, bad := i.client(ClientRequest{Name: "good"}), i.client(ClientRequest{Name: "bad"})
			badConfig := i.clientConfig(bad)
			badConfig.ClientSessionCache = tls.NewLRUClientSessionCache(10)
			badConfig.MaxVersion = version
			stays, err := e.dial(i.clientConfig(good))
			if err != nil {
				t.Fatal(err)
			}
			var live []*tls.Conn
			for range 2 {
				c, err := e.dial(badConfig)
				if err != nil {
					t.Fatal(err)
				}
				live = append(live, c)
			}
			if !live[1].ConnectionState().DidResume {
				t.Fatal("the session was not resumed, so nothing is shown of that")
			}
			revoked, err := i.authority.Revoke(t.Context(), RevokeRequest{Name: "bad", Reason: "stolen"})
			if err != nil || len(revoked) != 1 || revoked[0].Serial != bad.serial() {
				t.Fatalf("revoked %+v: %v", revoked, err)
			}
			for _, c := range live {
				if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a live connection: %v", err)
				}
			}
			if _, err := e.dial(badConfig); err == nil {
				t.Error("it comes in by its session")
			}
			if _, err := e.dial(i.clientConfig(bad)); err == nil {
				t.Error("it comes in anew")
			}
			if err := ask(stays, 2); err != nil {
				t.Errorf("another client: %v", err)
			}
			if _, err := e.dial(i.clientConfig(good)); err != nil {
				t.Errorf("another client: %v", err)
			}
			if again, err := i.authority.Revoke(t.Context(), RevokeRequest{Serial: bad.serial()}); err != nil || again[0].Reason != "stolen" {
				t.Errorf("revoked again: %+v, %v", again, err)
			}
		})
	}
}

// TestHandshakeRefuses what is revoked by itself, in resumed sessions too, whatever is asked later.
func TestHandshakeRefuses(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.sign(i.authority)
	k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	ln, err := tls.Listen("tcp", "127.0.0.1:0", ServerTLS(k, NeedClientCert))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := i.client(ClientRequest{Name: "x"})
	cfg := i.clientConfig(p)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	shake := func() (resumed bool, err error) {
		t.Helper()
		result := make(chan error, 1)
		go func() {
			nc, err := ln.Accept()
			if err == nil {
				err = nc.(*tls.Conn).Handshake()
				_, _ = nc.Write([]byte("x"))
				_ = nc.Close()
			}
			result <- err
		}()
		c, err := tls.Dial("tcp", ln.Addr().String(), cfg)
		if err == nil {
			_, _ = c.Read(make([]byte, 1)) // takes the session's ticket
			resumed = c.ConnectionState().DidResume
			_ = c.Close()
		}
		return resumed, <-result
	}
	for n := range 2 {
		if resumed, err := shake(); err != nil || resumed != (n == 1) {
			t.Fatalf("handshake %d: resumed %t, %v", n, resumed, err)
		}
	}
	if _, err := i.authority.Revoke(t.Context(), RevokeRequest{Serial: p.serial()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the node knows", func() bool { return k.state.Load().view.revoked[p.serial()] })
	if _, err := shake(); !errors.Is(err, ErrRefused) {
		t.Errorf("by its session: %v", err)
	}
	cfg.ClientSessionCache = nil
	if _, err := shake(); !errors.Is(err, ErrRefused) {
		t.Errorf("anew: %v", err)
	}
}

// TestDistrustClosesConnections of clients of the former authority.
func TestDistrustClosesConnections(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.sign(i.authority)
	k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	e := serve(t, k, NeedClientCert)
	former := i.authority.CA().Fingerprint
	cfg := i.clientConfig(i.client(ClientRequest{Name: "former"}))
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	if err := i.authority.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := e.dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.authority.Distrust(t.Context(), former); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	cfg.RootCAs = i.pool()
	if _, err := e.dial(cfg); err == nil {
		t.Error("it comes in again")
	}
}

// forgeries are what an authority that was given may sign besides, or a thief of its key.
type forgeries struct {
	node   *pair // with a node's subject and names
	twin   *pair // with the same serial number
	server *pair // not for clients
	ended  *pair
}

func forge(i *install, node *pair) (f forgeries) {
	i.t.Helper()
	must := func(err error) {
		if err != nil {
			i.t.Fatal(err)
		}
	}
	key, err := newKey()
	must(err)
	now, like := i.authority.standing(), node.leaf()
	sign := func(c x509.Certificate, begin time.Time, life time.Duration) *pair {
		signed, err := now.sign(&c, key.Public(), begin, life)
		must(err)
		p, err := newPair(key, []*x509.Certificate{signed})
		must(err)
		return p
	}
	client, server := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	f.node = sign(x509.Certificate{Subject: like.Subject, ExtKeyUsage: like.ExtKeyUsage, DNSNames: like.DNSNames}, time.Now(), time.Hour)
	f.server = sign(x509.Certificate{ExtKeyUsage: server}, time.Now(), time.Hour)
	f.ended = sign(x509.Certificate{ExtKeyUsage: client}, time.Now().Add(-2*time.Hour), 2*time.Hour-time.Second)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: like.SerialNumber, Subject: like.Subject, NotAfter: like.NotAfter, KeyUsage: like.KeyUsage, ExtKeyUsage: like.ExtKeyUsage,
	}, now.issuer.cert(), key.Public(), now.issuer.key)
	must(err)
	twin, err := x509.ParseCertificate(der)
	must(err)
	f.twin, err = newPair(key, []*x509.Certificate{twin})
	must(err)
	return f
}

// TestIdentity: who comes is who the certificate says, and what is forged is refused (C8).
func TestIdentity(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.sign(i.authority)
	rules, err := ParseRules(`RULE:^CN=(.*?),OU=ops.*$/$1/U,RULE:^CN=nobody$/nobody/,RULE:^CN=([^,]*)$/$1/`)
	if err != nil {
		t.Fatal(err)
	}
	k := i.newKeeper(Broker("c", 1), testWorld(i.store), rules)
	background(t, k.Run)
	i.wait(k)
	e := serve(t, k, WantClientCert)
	other, _ := i.keeper(Broker("c", 2), testWorld(i.store))
	meet(t, k, other)
	node := other.state.Load().pair
	f := forge(i, node)
	for name, c := range map[string]struct {
		pair *pair
		want identity.Identity // zero: refused
	}{
		"no certificate":   {nil, identity.Nobody()},
		"client":           {i.client(ClientRequest{Name: "alice"}), identity.Identity{Mechanism: identity.TLS, Principal: "User:alice"}},
		"client by a rule": {i.client(ClientRequest{Name: "bob", Unit: "ops"}), identity.Identity{Mechanism: identity.TLS, Principal: "User:BOB"}},
		"no rule":          {i.client(ClientRequest{Name: "bob", Unit: "sales"}), identity.Identity{}},
		"node":             {node, identity.Identity{Mechanism: identity.TLS, Principal: "User:CN=broker-2.c.millrace,OU=millrace-node,O=Millrace", Internal: true}},
		"forged node":      {f.node, identity.Identity{}},
		"same serial":      {f.twin, identity.Identity{}},
		"stranger":         {newInstall(t, AuthorityConfig{}).client(ClientRequest{Name: "alice"}), identity.Identity{}},
		"a server's":       {f.server, identity.Identity{}},
		"ended":            {f.ended, identity.Identity{}},
	} {
		t.Run(name, func(t *testing.T) {
			e.mu.Lock()
			e.came = nil
			e.mu.Unlock()
			nc, err := e.dial(i.clientConfig(c.pair))
			if err == nil {
				_ = nc.Close()
			}
			if (err == nil) != (c.want != identity.Identity{}) {
				t.Fatalf("let in: %v", err)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if err == nil && (len(e.came) != 1 || e.came[0] != c.want) {
				t.Errorf("came as %+v, want %+v", e.came, c.want)
			}
		})
	}
	for _, unit := range []string{"millrace-node", "Millrace-Node"} {
		r := ClientRequest{Name: "x", Unit: unit}
		r.CSR, _ = makeRequest(node.key, Names{})
		if _, err := i.authority.IssueClient(t.Context(), r); !errors.Is(err, ErrRequest) {
			t.Errorf("a client was given the unit %s: %v", unit, err)
		}
	}
}

// TestNodesCheckEachOther: ClientTLS takes a node with the right name, and nobody else.
func TestNodesCheckEachOther(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.sign(i.authority)
	k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	peer, _ := i.keeper(Broker("c", 2), testWorld(i.store))
	meet(t, k, peer)
	e := serve(t, k, NeedClientCert)
	for _, host := range []string{"127.0.0.1", "localhost", "broker-1.c.millrace"} {
		c, err := e.dial(ClientTLS(peer, host))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		_ = c.Close()
	}
	for _, host := range []string{"", "10.0.0.1", "broker-2.c.millrace", "example.com"} {
		if _, err := e.dial(ClientTLS(peer, host)); !errors.Is(err, ErrRefused) {
			t.Errorf("host %q: %v", host, err)
		}
	}
	serving := func(p *pair) error {
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{p.cert}})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				_ = nc.(*tls.Conn).Handshake()
			}
		}()
		_, err = tls.Dial("tcp", ln.Addr().String(), ClientTLS(peer, "127.0.0.1"))
		return err
	}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	like := k.state.Load().pair.leaf()
	forged, err := i.authority.standing().sign(&x509.Certificate{
		Subject: like.Subject, DNSNames: like.DNSNames, IPAddresses: like.IPAddresses, ExtKeyUsage: like.ExtKeyUsage,
	}, key.Public(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	forgery, err := newPair(key, []*x509.Certificate{forged})
	if err != nil {
		t.Fatal(err)
	}
	if err := serving(forgery); !errors.Is(err, ErrRefused) {
		t.Errorf("a server that is no node: %v", err)
	}
	old := k.state.Load().pair
	if err := serving(old); err != nil {
		t.Errorf("a node: %v", err)
	}
	if _, err := i.authority.Revoke(t.Context(), RevokeRequest{Serial: old.serial()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the peer knows", func() bool { return peer.state.Load().view.revoked[old.serial()] })
	if err := serving(old); !errors.Is(err, ErrRefused) {
		t.Errorf("a node that is revoked: %v", err)
	}
	until(t, "the node has another", func() bool { return k.Status().Serial != old.serial() })
	meet(t, k, peer)
	if c, err := e.dial(ClientTLS(peer, "127.0.0.1")); err != nil {
		t.Errorf("the node with its new certificate: %v", err)
	} else {
		_ = c.Close()
	}
}

// TestWhatIsAgreedOn: the best that both know, and nothing weak.
func TestWhatIsAgreedOn(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.sign(i.authority)
	k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	e := serve(t, k, NoClientCert)
	for name, c := range map[string]struct {
		change func(*tls.Config)
		want   string // version and key exchange; "": refused
	}{
		"as is":   {func(*tls.Config) {}, "TLS 1.3 X25519MLKEM768"},
		"TLS 1.2": {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "TLS 1.2 X25519"},
		"no post-quantum": {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256, tls.X25519} },
			"TLS 1.3 X25519"},
		"P-256":             {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }, "TLS 1.3 CurveP256"},
		"classic preferred": {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.X25519MLKEM768} }, "TLS 1.3 X25519MLKEM768"},
		"TLS 1.1":           {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, ""},
		"P-521":             {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} }, ""},
		"CBC": {func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
		}, ""},
		"RSA key exchange": {func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := i.clientConfig(nil)
			c.change(cfg)
			nc, err := e.dial(cfg)
			if c.want == "" {
				if err == nil {
					t.Fatalf("agreed on %+v", nc.ConnectionState())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			s := nc.ConnectionState()
			if got := tls.VersionName(s.Version) + " " + s.CurveID.String(); got != c.want || !strings.Contains(tls.CipherSuiteName(s.CipherSuite), "_") {
				t.Errorf("agreed on %s, want %s", got, c.want)
			}
		})
	}
	if n := len(e.Metrics().TLS()); n < 3 {
		t.Errorf("%d kinds reported", n)
	}
}

// TestHandshakeBeforeReady fails, and nothing else.
func TestHandshakeBeforeReady(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	k := i.newKeeper(Broker("c", 1), testWorld(i.store), Rules{})
	e := serve(t, k, NoClientCert)
	if _, err := e.dial(i.clientConfig(nil)); err == nil {
		t.Fatal("a handshake without certificate")
	}
	i.sign(i.authority)
	background(t, k.Run)
	i.wait(k)
	if c, err := e.dial(i.clientConfig(nil)); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
}
