package gateway

import (
	"context"
	"encoding/binary"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/server"
	"millrace/kafka/wire"
)

// fetch authorizes a Fetch request. Fetch sessions (KIP-227) are the broker's: a session passes as long as all that is asked for in it is
// allowed. A request with something refused gets no session, and so every request tells everything, and every answer can say what is refused.
// What an incremental request gets is looked at in the answer: something that is no longer allowed ends the session (GW7).
func (c *call) fetch(ctx context.Context) {
	decoded, err := c.g.decoder.Decode(c.key, c.version, c.r.Body)
	if err != nil {
		c.r.Refuse(err)
		return
	}
	req := decoded.(*kmsg.FetchRequest)
	if c.version >= 13 {
		ids := make([][16]byte, len(req.Topics))
		for i := range req.Topics {
			ids[i] = req.Topics[i].TopicID
		}
		if err := c.resolve(ctx, ids); err != nil {
			c.s.fail(c.r, err)
			return
		}
	}
	follower := (req.ReplicaID >= 0 || req.ReplicaState.ID >= 0) && !c.mayCluster(opClusterAction)
	var refused []wire.FetchTopic
	kept, _ := split(req.Topics, func(t *kmsg.FetchRequestTopic) bool {
		code := c.judgeFetch(t, follower)
		if code != kerr.None {
			refused = append(refused, refusedFetch(t, code))
		}
		return code == kerr.None
	})
	inSession := c.version >= 7 && req.SessionID != 0
	switch {
	case len(refused) == 0 && !(follower && inSession):
		c.raw = c.fetched(inSession, nil)
		c.limitFetch(req)
		c.send(ctx, net.Buffers{c.r.Body})
	case inSession:
		c.r.Reply(server.Response{Msg: noSession()})
	case len(kept) == 0:
		c.answerFetch(refused)
	default:
		req.Topics, req.MaxBytes = kept, min(req.MaxBytes, c.g.cfg.FetchMaxBytes)
		req.SessionEpoch = -1 // no session
		c.raw = c.fetched(false, refused)
		c.send(ctx, net.Buffers{req.AppendTo(nil)})
	}
}

func (c *call) judgeFetch(t *kmsg.FetchRequestTopic, follower bool) kerr.Code {
	switch {
	case follower:
		return kerr.TopicAuthorizationFailed
	case c.version >= 13:
		return c.judge(opRead, t.TopicID)
	case c.mayTopic(opRead, t.Topic):
		return kerr.None
	default:
		return kerr.TopicAuthorizationFailed
	}
}

// limitFetch lowers what the request asks for at most, in the client's frame.
func (c *call) limitFetch(req *kmsg.FetchRequest) {
	if req.MaxBytes <= c.g.cfg.FetchMaxBytes {
		return
	}
	at := 12 // replica id, longest wait, least bytes
	if c.version >= 15 {
		at = 8 // the replica id has become a tag
	}
	binary.BigEndian.PutUint32(c.r.Body[at:], uint32(c.g.cfg.FetchMaxBytes))
}

func noSession() *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	resp.ErrorCode = int16(kerr.FetchSessionIDNotFound)
	return resp
}

func refusedFetch(t *kmsg.FetchRequestTopic, code kerr.Code) wire.FetchTopic {
	out := wire.FetchTopic{Name: t.Topic, ID: t.TopicID}
	for i := range t.Partitions {
		out.Partitions = append(out.Partitions, wire.FetchPartition{
			Index: t.Partitions[i].Partition, ErrorCode: int16(code), HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1,
			PreferredReadReplica: -1, NullAborted: true,
		})
	}
	return out
}

func (c *call) answerFetch(refused []wire.FetchTopic) {
	var e wire.FetchEncoder
	bufs, _, err := e.Encode(c.version, &wire.FetchResponse{Topics: refused})
	if err != nil {
		c.r.Refuse(err)
		return
	}
	c.r.Reply(server.Response{Buffers: bufs})
}

// fetched makes the answer: addresses of the gateway, and the refusals. The records stay where they are.
func (c *call) fetched(inSession bool, refused []wire.FetchTopic) func([]byte, time.Duration) (server.Response, error) {
	return func(body []byte, wait time.Duration) (server.Response, error) {
		v, err := wire.ViewFetch(c.version, body)
		if err != nil {
			return server.Response{}, err
		}
		if inSession && !c.stillMay(&v) {
			return server.Response{Msg: noSession()}, nil
		}
		throttle := max(int32(binary.BigEndian.Uint32(body)), int32(wait.Milliseconds()))
		if refused == nil && len(v.Nodes) == 0 {
			binary.BigEndian.PutUint32(body, uint32(throttle))
			return server.Response{Buffers: net.Buffers{body}}, nil
		}
		for i := range v.Nodes {
			n := &v.Nodes[i]
			c.s.translate(n.NodeID, &n.Host, &n.Port, nil)
		}
		bufs, err := v.Change(wire.FetchChange{ThrottleMillis: throttle, SessionID: v.SessionID, Nodes: v.Nodes, More: refused})
		return server.Response{Buffers: bufs}, err
	}
}

// stillMay says whether all that a session's answer holds may be read now.
func (c *call) stillMay(v *wire.FetchView) bool {
	for t := range v.Topics() {
		name := string(t.Name)
		if v.Version >= 13 {
			known, ok := c.g.names.get(t.ID)
			if !ok {
				return false // a session that was begun through another gateway, which knows the name
			}
			name = known
		}
		if !c.sees(opRead, kmsg.ACLResourceTypeTopic, name) {
			return false
		}
	}
	return true
}
