package node_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
	"millrace/express/node"
)

// startedWith runs a broker with one property more than others, until the end of the test.
func startedWith(t *testing.T, properties map[string]string) *env {
	t.Helper()
	e := newEnv(t)
	e.cfg.Properties = properties
	stop := e.run()
	t.Cleanup(func() { must(t, stop()) })
	return e
}

// dial opens a connection of a client's, which is closed with the test.
func (e *env) dial() net.Conn {
	e.t.Helper()
	c, err := net.Dial("tcp", e.cfg.Listen)
	must(e.t, err)
	e.t.Cleanup(func() { _ = c.Close() })
	must(e.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

// asks sends ApiVersions with a client id of so many bytes, and says whether it is answered; otherwise the connection was closed.
func asks(t *testing.T, c net.Conn, idBytes int) bool {
	t.Helper()
	q := kmsg.NewPtrApiVersionsRequest()
	b := kmsg.NewRequestFormatter(kmsg.FormatterClientID(string(make([]byte, idBytes)))).AppendRequest(nil, q, 7)
	if _, err := c.Write(b); err != nil {
		return false
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			t.Fatal("neither answered nor closed")
		}
		return false
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:])))
	must(t, err)
	return true
}

// What a broker was started with is described as such, over what is set at runtime, and what it cannot be started with is refused.
func TestPropertiesAreDescribed(t *testing.T) {
	values := map[string]string{"max.connections": "77", "connections.max.idle.ms": "55000", "transaction.max.timeout.ms": "66000", "num.partitions": "4"}
	e := startedWith(t, values)
	admin := e.admin()
	all, err := admin.DescribeBrokerConfigs(t.Context(), 1)
	must(t, err)
	found := 0
	for _, c := range all[0].Configs {
		if want, ok := values[c.Key]; ok {
			found++
			if c.MaybeValue() != want || c.Source != kmsg.ConfigSourceStaticBrokerConfig {
				t.Errorf("%s is %q by %v", c.Key, c.MaybeValue(), c.Source)
			}
		}
	}
	if found != len(values) {
		t.Errorf("%d of %d are described", found, len(values))
	}
	for _, bad := range []map[string]string{
		{"broker.id": "4"}, {"listeners": "PLAINTEXT://:1"}, {"nonsense": "1"}, {"max.connections": "0"}, {"max.connections": "many"},
		{"socket.request.max.bytes": "99999999999"}, {"max.connection.creation.rate": "-1"}, {"socket.send.buffer.bytes": "-2"},
	} {
		e := newEnv(t)
		e.cfg.Properties = bad
		if err := node.Run(t.Context(), e.cfg, e.world); !errors.Is(err, node.ErrConfig) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	e := startedWith(t, map[string]string{"connections.max.idle.ms": "100"})
	c := e.dial()
	if !asks(t, c, 1) {
		t.Fatal("not answered")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection without requests: %v", err)
	}
}

func TestMaxConnections(t *testing.T) {
	for _, name := range []string{"max.connections", "max.connections.per.ip"} {
		t.Run(name, func(t *testing.T) {
			e := startedWith(t, map[string]string{name: "2"})
			harbour := func() (net.Conn, bool) {
				c := e.dial()
				return c, asks(t, c, 1)
			}
			var open []net.Conn
			for len(open) < 2 { // that of the probe may have to end first
				if c, ok := harbour(); ok {
					open = append(open, c)
				}
			}
			if _, ok := harbour(); ok {
				t.Error("a third connection is served")
			}
			for _, c := range open {
				if !asks(t, c, 1) {
					t.Error("one of the two is not served any more")
				}
			}
		})
	}
}

func TestLargestRequest(t *testing.T) {
	e := startedWith(t, map[string]string{"socket.request.max.bytes": "2000"})
	if c := e.dial(); !asks(t, c, 1500) {
		t.Error("a request of 1,500 bytes is not answered")
	}
	if c := e.dial(); asks(t, c, 2500) {
		t.Error("a request of 2,500 bytes is answered")
	}
}

func TestFetchSessionSlots(t *testing.T) {
	for slots, want := range map[string]bool{"0": false, "10": true} {
		e := startedWith(t, map[string]string{"max.incremental.fetch.session.cache.slots": slots})
		q := kmsg.NewPtrFetchRequest()
		q.MaxBytes, q.SessionEpoch = 1<<20, 0
		made, err := e.admin().CreateTopic(t.Context(), 1, 1, nil, "t")
		must(t, err)
		topic, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		topic.Topic, topic.TopicID, part.PartitionMaxBytes = "t", made.ID, 1<<20
		topic.Partitions = append(topic.Partitions, part)
		q.Topics = append(q.Topics, topic)
		answer, err := q.RequestWith(t.Context(), e.client())
		must(t, err)
		if got := answer.SessionID != 0; got != want {
			t.Errorf("with %s slots: session %d", slots, answer.SessionID)
		}
	}
}

// initProducer asks for a producer id for a transactional one.
func (e *env) initProducer(c *kgo.Client, id string, timeoutMs int32) error {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		q := kmsg.NewPtrInitProducerIDRequest()
		q.TransactionalID, q.TransactionTimeoutMillis = &id, timeoutMs
		answer, err := q.RequestWith(ctx, c)
		must(e.t, err)
		if err := kerr.ErrorForCode(answer.ErrorCode); !kerr.IsRetriable(err) {
			return err
		}
	}
}

func TestLongestTransaction(t *testing.T) {
	e := startedWith(t, map[string]string{"transaction.max.timeout.ms": "5000"})
	c := e.client()
	if err := e.initProducer(c, "short", 5000); err != nil {
		t.Errorf("a transaction of five seconds: %v", err)
	}
	if err := e.initProducer(c, "long", 5001); !errors.Is(err, kerr.InvalidTransactionTimeout) {
		t.Errorf("a longer one: %v", err)
	}
}

func TestTransactionalIDsExpire(t *testing.T) {
	e := startedWith(t, map[string]string{
		"transactional.id.expiration.ms": "200", "transaction.remove.expired.transaction.cleanup.interval.ms": "50",
	})
	c := e.client()
	must(t, e.initProducer(c, "idle", 5000))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		q := kmsg.NewPtrDescribeTransactionsRequest()
		q.TransactionalIDs = []string{"idle"}
		answer, err := q.RequestWith(ctx, c)
		must(t, err) // the deadline is that it stays known
		if errors.Is(kerr.ErrorForCode(answer.TransactionStates[0].ErrorCode), kerr.TransactionalIDNotFound) {
			return
		}
	}
}

// sizing is a connection that notes which buffers it was given.
type sizing struct {
	net.Conn
	receive, send *atomic.Int64
}

func (s sizing) SetReadBuffer(bytes int) error  { s.receive.Store(int64(bytes)); return nil }
func (s sizing) SetWriteBuffer(bytes int) error { s.send.Store(int64(bytes)); return nil }

type sizingListener struct {
	net.Listener
	of sizing
}

func (l sizingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.of.Conn = c
	return l.of, err
}

func TestSocketBuffers(t *testing.T) {
	for _, f := range []struct {
		properties    map[string]string
		receive, send int64
	}{
		{nil, -1, -1},
		{map[string]string{"socket.receive.buffer.bytes": "65536", "socket.send.buffer.bytes": "131072"}, 65536, 131072},
		{map[string]string{"socket.send.buffer.bytes": "131072", "socket.receive.buffer.bytes": "-1"}, -1, 131072},
	} {
		e := newEnv(t)
		var receive, send atomic.Int64
		receive.Store(-1)
		send.Store(-1)
		e.world.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
			l, err := new(net.ListenConfig).Listen(ctx, network, address)
			return sizingListener{l, sizing{nil, &receive, &send}}, err
		}
		e.cfg.Properties = f.properties
		must(t, e.run()())
		if receive.Load() != f.receive || send.Load() != f.send {
			t.Errorf("%v: buffers of %d and %d bytes", f.properties, receive.Load(), send.Load())
		}
	}
}

// More connections than a second's worth of the rate are told to wait.
func TestConnectionRate(t *testing.T) {
	e := newEnv(t)
	e.cfg.Properties = map[string]string{"max.connection.creation.rate": "1"}
	e.cfg.Limits = engine.Limits{ConnectionRate: 50} // of the broker's type, which holds too
	stop := e.run()
	began := time.Now()
	const connections = 4
	for range connections {
		if !asks(t, e.dial(), 1) {
			t.Fatal("a connection is refused")
		}
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("%d connections at one for each second took %v", connections, took)
	}
	must(t, stop())
}

func TestPropertiesGoWithTheCommand(t *testing.T) {
	_, args, err := node.Engine{Store: "file:///s"}.Command(engine.NodeSpec{Cluster: "c", ID: 1, Listen: "h:1", Properties: "a=1\nb=2"})
	must(t, err)
	for i, a := range args {
		if a == "--properties" && args[i+1] == "a=1\nb=2" {
			return
		}
	}
	t.Errorf("%q", args)
}
