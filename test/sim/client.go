package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/topic"
	"millrace/test/sim/network"
)

// requestTimeout is how long a client waits for an answer.
const requestTimeout = 4 * time.Second

// client speaks Kafka to the cluster, one request after the other. It belongs to one goroutine.
type client struct {
	world *World
	name  string
	rng   *rand.Rand
	host  *network.Host
	links map[string]*link // by address
	topic map[string]*known
	wait  time.Duration // for an answer

	// Of a client whose topic is made anew under one name, see churn; the zero value is that of the others.
	gone   map[topic.ID]bool // the lives of the topic that are over: no metadata that tells of them counts
	names  naming
	mapped map[string]topic.ID // by address: what the broker there was heard to call the topic of the life that is
}

// naming is how a client names topics to the brokers that it writes to and reads from.
type naming int

const (
	byName        naming = iota
	byMutualNames        // by name, once the broker has told the id that the client knows: nobody may mean another topic then
	byID
)

// known is what a client knows of a topic.
type known struct {
	id      topic.ID
	leaders []leader // by partition
}

type leader struct {
	address string // "": none
	epoch   int32
}

// link is a connection to one broker.
type link struct {
	conn      net.Conn
	formatter *kmsg.RequestFormatter
	last      int32 // correlation id
}

// newClient makes a client on a machine of its own.
func (w *World) newClient(name string, number int, rng *rand.Rand) *client {
	return &client{
		world: w, name: name, rng: rng, host: w.network.Host(clientMachine(number), nil),
		links: map[string]*link{}, topic: map[string]*known{}, wait: requestTimeout,
	}
}

func clientMachine(number int) string { return "10.0.1." + strconv.Itoa(number) }

func (c *client) close() {
	for address := range c.links {
		c.hangUp(address)
	}
}

func (c *client) hangUp(address string) {
	if l := c.links[address]; l != nil {
		_ = l.conn.Close()
		delete(c.links, address)
	}
}

// ask sends a request and waits for its answer. After an error nobody knows whether it was carried out.
func (c *client) ask(ctx context.Context, address string, req kmsg.Request) (kmsg.Response, error) {
	if err := c.send(ctx, address, req); err != nil {
		return nil, err
	}
	return c.receive(ctx, address, req)
}

// send sends a request. Several may be sent before their answers are received, in the same order.
func (c *client) send(ctx context.Context, address string, req kmsg.Request) error {
	l := c.links[address]
	if l == nil {
		dialing, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		conn, err := c.host.Dial(dialing, "tcp", address)
		if err != nil {
			return err
		}
		l = &link{conn: conn, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.name))}
		c.links[address] = l
	}
	l.last++
	_, err := l.conn.Write(l.formatter.AppendRequest(nil, req, l.last))
	if err != nil {
		c.hangUp(address)
	}
	return err
}

// receive waits for the answer to a request that was sent.
func (c *client) receive(ctx context.Context, address string, req kmsg.Request) (kmsg.Response, error) {
	l := c.links[address]
	if l == nil {
		return nil, net.ErrClosed
	}
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	defer stop()
	resp, err := l.read(req, c.wait)
	if err != nil {
		c.hangUp(address)
	}
	return resp, err
}

func (l *link) read(req kmsg.Request, wait time.Duration) (kmsg.Response, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(l.conn, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(l.conn, body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	body = body[4:] // the correlation id
	if resp.IsFlexible() {
		body = body[1:] // no tags
	}
	return resp, resp.ReadFrom(body)
}

// somebody is the address of any broker.
func (c *client) somebody() string {
	return c.world.machines[c.rng.IntN(len(c.world.machines))].address()
}

// refresh asks a broker for metadata of topics. What the client knows of a partition never goes back to an older epoch.
func (c *client) refresh(ctx context.Context, address string, names ...string) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	answer, err := c.ask(ctx, address, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.MetadataResponse)
	brokers := map[int32]string{}
	for _, b := range resp.Brokers {
		brokers[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	var faults error
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 {
			faults = errors.Join(faults, kerr.Code(t.ErrorCode))
			continue
		}
		if c.gone[t.TopicID] {
			continue
		}
		c.learn(*t.Topic, t, brokers)
		if c.names == byMutualNames {
			c.mapped[address] = t.TopicID
		}
	}
	return faults
}

func (c *client) learn(name string, t kmsg.MetadataResponseTopic, brokers map[int32]string) {
	k := c.topic[name]
	if k == nil || k.id != topic.ID(t.TopicID) {
		k = &known{id: topic.ID(t.TopicID)}
		c.topic[name] = k
	}
	for len(k.leaders) < len(t.Partitions) {
		k.leaders = append(k.leaders, leader{epoch: -1})
	}
	for _, p := range t.Partitions {
		if old := &k.leaders[p.Partition]; p.LeaderEpoch >= old.epoch {
			*old = leader{address: brokers[p.Leader], epoch: p.LeaderEpoch}
		}
	}
}

// leader finds the leader of a partition; it waits until there is one, or ctx ends.
func (c *client) leader(ctx context.Context, name string, partition int32) (leader, error) {
	for {
		whom := c.somebody()
		if k := c.topic[name]; k != nil && int(partition) < len(k.leaders) && k.leaders[partition].address != "" {
			l := k.leaders[partition]
			if c.names != byMutualNames || c.mapped[l.address] == k.id {
				return l, nil
			}
			whom = l.address
		}
		if c.refresh(ctx, whom, name) != nil {
			c.forget(name, partition)
		}
		if !c.pause(ctx) {
			return leader{}, ctx.Err()
		}
	}
}

// forget drops who leads a partition, so that it is asked for again.
func (c *client) forget(name string, partition int32) {
	if k := c.topic[name]; k != nil && int(partition) < len(k.leaders) {
		k.leaders[partition].address = ""
	}
}

// pause is what a client waits before it tries again.
func (c *client) pause(ctx context.Context) bool {
	return sleep(ctx, 20*time.Millisecond+time.Duration(c.rng.Int64N(int64(200*time.Millisecond))))
}

// coordinator finds who coordinates a group (0) or a transactional id (1).
func (c *client) coordinator(ctx context.Context, key string, kind int8) (string, error) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorKey, req.CoordinatorType = 3, key, kind
	answer, err := c.ask(ctx, c.somebody(), req)
	if err != nil {
		return "", err
	}
	resp := answer.(*kmsg.FindCoordinatorResponse)
	if resp.ErrorCode != 0 {
		return "", kerr.Code(resp.ErrorCode)
	}
	return net.JoinHostPort(resp.Host, strconv.Itoa(int(resp.Port))), nil
}

// createTopic makes a topic, if need be after several attempts.
func (c *client) createTopic(ctx context.Context, name string, partitions int32, configs map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 3000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, -1
	for key, value := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = key, kmsg.StringPtr(value)
		t.Configs = append(t.Configs, config)
	}
	req.Topics = append(req.Topics, t)
	for {
		answer, err := c.ask(ctx, c.somebody(), req)
		if err == nil {
			made := answer.(*kmsg.CreateTopicsResponse).Topics[0]
			code := kerr.Code(made.ErrorCode)
			switch {
			case code == kerr.None && c.gone[made.TopicID]:
				return fmt.Errorf("create topic %s: it has the id of one that was deleted, %s", name, topic.ID(made.TopicID))
			case code == kerr.None || code == kerr.TopicAlreadyExists:
				return nil
			}
			err = code
		}
		if !c.pause(ctx) {
			return fmt.Errorf("create topic %s: %w", name, errors.Join(ctx.Err(), err))
		}
	}
}
