package gateway

import (
	"context"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/server"
	"millrace/kafka/wire"
)

// produce authorizes a Produce request by a walk over it in place. Its records go on as they are, out of the client's own frame.
func (c *call) produce(ctx context.Context) {
	req, err := wire.DecodeProduce(c.version, c.r.Body)
	if err != nil {
		c.r.Refuse(err)
		return
	}
	if isTransactional(&req) && (req.TransactionalID == nil || !c.mayTxn(opWrite, string(req.TransactionalID))) {
		c.refuseProduce(&req, kerr.TransactionalIDAuthorizationFailed)
		return
	}
	if c.version >= 13 {
		var ids [][16]byte
		for t := range req.Topics() {
			ids = append(ids, t.ID)
		}
		if err := c.resolve(ctx, ids); err != nil {
			c.s.fail(c.r, err)
			return
		}
	}
	var kept []wire.ProduceTopic
	var refused []kmsg.ProduceResponseTopic
	for t := range req.Topics() {
		code := c.judgeProduce(&t)
		if code == kerr.None {
			kept = append(kept, t)
			continue
		}
		refused = append(refused, refusedProduce(&t, code))
	}
	silent := req.Acks == 0
	switch {
	case silent && len(refused) > 0: // Kafka has no other way to tell
		c.r.Close()
	case len(refused) > 0 && len(kept) == 0:
		c.answerProduce(refused)
	case len(refused) > 0:
		c.raw = c.producedRaw(refused)
		c.send(ctx, req.Only(nil, kept))
	case silent:
		c.sendSilent(ctx)
	default:
		c.raw = c.producedRaw(nil)
		c.send(ctx, net.Buffers{c.r.Body})
	}
}

func (c *call) judgeProduce(t *wire.ProduceTopic) kerr.Code {
	if c.version >= 13 {
		return c.judge(opWrite, t.ID)
	}
	return c.judgeName(opWrite, string(t.Name))
}

// sendSilent sends a request that gets no answer. The client may be muted all the same.
func (c *call) sendSilent(ctx context.Context) {
	u, err := c.s.upstream(ctx)
	if err == nil {
		err = u.send(c.key, c.version, c.r.Header.ClientID, net.Buffers{c.r.Body}, nil)
	}
	if err != nil {
		c.s.fail(c.r, err)
		return
	}
	c.r.Conn.Mute(c.throttle(0))
	c.r.NoReply()
}

// isTransactional says whether the request has transactional records, as Kafka sees it: by the first batch of each partition.
func isTransactional(req *wire.ProduceRequest) bool {
	for t := range req.Topics() {
		for p := range t.Partitions() {
			if b, _, err := record.Next(p.Records); err == nil && b.IsTransactional() {
				return true
			}
		}
	}
	return false
}

func refusedProduce(t *wire.ProduceTopic, code kerr.Code) kmsg.ProduceResponseTopic {
	out := kmsg.NewProduceResponseTopic()
	out.Topic, out.TopicID = string(t.Name), t.ID
	for p := range t.Partitions() {
		part := kmsg.NewProduceResponseTopicPartition()
		part.Partition, part.ErrorCode, part.BaseOffset = p.Index, int16(code), -1
		out.Partitions = append(out.Partitions, part)
	}
	return out
}

func (c *call) refuseProduce(req *wire.ProduceRequest, code kerr.Code) {
	if req.Acks == 0 {
		c.r.Close()
		return
	}
	var all []kmsg.ProduceResponseTopic
	for t := range req.Topics() {
		all = append(all, refusedProduce(&t, code))
	}
	c.answerProduce(all)
}

func (c *call) answerProduce(topics []kmsg.ProduceResponseTopic) {
	resp := kmsg.NewPtrProduceResponse()
	resp.Topics = topics
	c.r.Reply(server.Response{Msg: resp})
}

// producedRaw makes the answer: addresses of the gateway, and the refusals.
func (c *call) producedRaw(refused []kmsg.ProduceResponseTopic) func([]byte, time.Duration) (server.Response, error) {
	return func(body []byte, wait time.Duration) (server.Response, error) {
		if refused == nil && c.version < 9 && wait == 0 {
			return server.Response{Buffers: net.Buffers{body}}, nil
		}
		decoded, err := c.g.decoder.DecodeResponse(c.key, c.version, body)
		if err != nil {
			return server.Response{}, err
		}
		resp := decoded.(*kmsg.ProduceResponse)
		for i := range resp.Brokers {
			b := &resp.Brokers[i]
			c.s.translate(b.NodeID, &b.Host, &b.Port, b.Rack)
		}
		resp.Topics = append(resp.Topics, refused...)
		setThrottle(resp, wait)
		return server.Response{Msg: resp}, nil
	}
}
