package acl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/express/node"
	"millrace/kafka/server"
	"millrace/kafka/wire"
	"millrace/secure/identity"
	"millrace/secure/trail"
	"millrace/test/harness"
)

// Users. admin is a super user; all have the same password on Apache Kafka's side.
const (
	admin    = "admin"
	alice    = "alice"
	bob      = "bob"
	stranger = "stranger" // on express: nobody who logged in
	password = "not-secret"
)

// Addresses of loopback that users call from.
const (
	home    = "127.0.0.1"
	abroad  = "127.0.0.2"
	seconds = 30 * time.Second // for an answer
)

// side is one of the two servers.
type side struct {
	t       testing.TB
	name    string
	address string
	sasl    bool
	conns   map[string]*conn // by user and address
}

// conn is a client that speaks the protocol by hand.
type conn struct {
	net.Conn
	user string
	next int32
}

// startKafka starts Apache Kafka with its StandardAuthorizer.
func startKafka(t testing.TB, everyone bool) *side {
	t.Helper()
	port := harness.FreePorts(t, 1)
	users := ""
	for _, u := range []string{admin, alice, bob} {
		users += fmt.Sprintf(` user_%s="%s"`, u, password)
	}
	harness.StartKafka(t, harness.KafkaOptions{Properties: map[string]string{
		"listeners":                                  fmt.Sprintf("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},LOGIN://127.0.0.1:%d", port),
		"advertised.listeners":                       fmt.Sprintf("PLAINTEXT://127.0.0.1:{port},LOGIN://127.0.0.1:%d", port),
		"listener.security.protocol.map":             "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
		"sasl.enabled.mechanisms":                    "PLAIN",
		"listener.name.login.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required" + users + ";",
		"authorizer.class.name":                      "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                "User:" + admin + ";User:ANONYMOUS",
		"allow.everyone.if.no.acl.found":             strconv.FormatBool(everyone),
		"auto.create.topics.enable":                  "true",
		"group.coordinator.append.linger.ms":         "0",
		"offsets.topic.num.partitions":               "50",
		"transaction.state.log.num.partitions":       "50",
		"log.initial.task.delay.ms":                  "600000",
	}})
	return newSide(t, "kafka", "127.0.0.1:"+strconv.Itoa(port), true)
}

// startExpress starts a broker in this process. recorder may be nil.
func startExpress(t testing.TB, everyone bool, recorder trail.Recorder) (*side, *kv.Memory) {
	t.Helper()
	address := "127.0.0.1:" + strconv.Itoa(harness.FreePorts(t, 1))
	store := kv.NewMemory()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() {
		ran <- node.Run(ctx, node.Config{ID: 1, Listen: address, Dir: "broker", Prefix: "clusters/c/"}, node.World{
			KV: store, Objects: object.NewMemory(clock.System{}), FS: disk.NewMem(), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
			Secure: node.Secure{
				Authorize: true, Super: []string{"User:" + admin}, Trail: recorder,
				Identify: func(c *server.Conn) *identity.Identity {
					if c.ClientID() == stranger {
						return nil
					}
					return &identity.Identity{Mechanism: identity.ScramSHA512, Principal: "User:" + c.ClientID()}
				},
			},
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("express: %v", err)
		}
	})
	s := newSide(t, "express", address, false)
	ready := func(context.Context) error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	ctx2, done := context.WithTimeout(t.Context(), seconds)
	defer done()
	if err := harness.Poll(ctx2, ready); err != nil {
		t.Fatal(err)
	}
	s.config("allow.everyone.if.no.acl.found", strconv.FormatBool(everyone))
	s.config("auto.create.topics.enable", "true")
	return s, store
}

func newSide(t testing.TB, name, address string, sasl bool) *side {
	s := &side{t: t, name: name, address: address, sasl: sasl, conns: map[string]*conn{}}
	t.Cleanup(func() {
		for _, c := range s.conns {
			_ = c.Close()
		}
	})
	return s
}

// config changes a configuration of the broker.
func (s *side) config(key, value string) {
	s.t.Helper()
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType = kmsg.ConfigResourceTypeBroker
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Value: &value}}
	q.Resources = append(q.Resources, r)
	q.Version = 1
	resp := s.must(admin, home, q).(*kmsg.IncrementalAlterConfigsResponse)
	if resp.Resources[0].ErrorCode != 0 {
		s.t.Fatalf("%s: %s: %v", s.name, key, resp.Resources[0])
	}
}

// must is ask for requests that are answered.
func (s *side) must(user, from string, q kmsg.Request) kmsg.Response {
	s.t.Helper()
	resp, err := s.ask(user, from, q)
	if err != nil {
		s.t.Fatalf("%s: %s as %s: %v", s.name, kmsg.NameForKey(q.Key()), user, err)
	}
	return resp
}

// errClosed says that the connection was closed instead of an answer.
var errClosed = errors.New("closed")

// ask sends a request as a user from an address, and returns the answer, or errClosed.
func (s *side) ask(user, from string, q kmsg.Request) (kmsg.Response, error) {
	c, err := s.dial(user, from)
	if err != nil {
		return nil, err
	}
	resp, err := c.ask(q)
	if err != nil {
		_ = c.Close()
		delete(s.conns, user+from)
	}
	return resp, err
}

func (s *side) dial(user, from string) (*conn, error) {
	if c, ok := s.conns[user+from]; ok {
		return c, nil
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: seconds}
	nc, err := dialer.Dial("tcp", s.address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, user: user}
	if s.sasl {
		shake := kmsg.NewPtrSASLHandshakeRequest()
		shake.Mechanism, shake.Version = "PLAIN", 1
		if _, err := c.ask(shake); err != nil {
			return nil, err
		}
		auth := kmsg.NewPtrSASLAuthenticateRequest()
		auth.SASLAuthBytes, auth.Version = []byte("\x00"+user+"\x00"+password), 2
		resp, err := c.ask(auth)
		if err != nil {
			return nil, err
		}
		if code := resp.(*kmsg.SASLAuthenticateResponse).ErrorCode; code != 0 {
			return nil, fmt.Errorf("login of %s: code %d", user, code)
		}
	}
	s.conns[user+from] = c
	return c, nil
}

func (c *conn) ask(q kmsg.Request) (kmsg.Response, error) {
	c.next++
	b := make([]byte, wire.SizeBytes)
	b = wire.AppendHeader(b, wire.RequestHeader{Key: q.Key(), Version: q.GetVersion(), CorrelationID: c.next, ClientID: c.user})
	b = q.AppendTo(b)
	wire.PutFrameSize(b, len(b)-wire.SizeBytes)
	if err := c.SetDeadline(time.Now().Add(seconds)); err != nil {
		return nil, err
	}
	if _, err := c.Write(b); err != nil {
		return nil, errClosed
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, closed(err)
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, frame); err != nil {
		return nil, closed(err)
	}
	head := len(wire.AppendResponseHeader(nil, q.Key(), q.GetVersion(), 0))
	resp := q.ResponseKind()
	resp.SetVersion(q.GetVersion())
	if err := resp.ReadFrom(frame[head:]); err != nil {
		return nil, fmt.Errorf("answer to %s v%d: %w", kmsg.NameForKey(q.Key()), q.GetVersion(), err)
	}
	return resp, nil
}

func closed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "reset") {
		return errClosed
	}
	return err
}

// await polls until ok.
func (s *side) await(what string, ok func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), seconds)
	defer cancel()
	if err := harness.Poll(ctx, func(context.Context) error {
		if ok() {
			return nil
		}
		return errors.New("not yet")
	}); err != nil {
		s.t.Fatalf("%s: %s never came: %v", s.name, what, err)
	}
}
