package coord

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group"
	"millrace/kafka/kerr"
)

// ConsumerGroupHeartbeat handles versions 0 and 1. It blocks until what it tells is durable. mayDescribe says which topics
// the client may see, nil: all; it must not block, and may be called until the answer is there.
func (c *Coordinator) ConsumerGroupHeartbeat(
	ctx context.Context, clientID, clientHost string, req *kmsg.ConsumerGroupHeartbeatRequest, mayDescribe func(topic string) bool,
) *kmsg.ConsumerGroupHeartbeatResponse {
	client := group.Client{ID: clientID, Host: clientHost}
	r, code := call[*kmsg.ConsumerGroupHeartbeatResponse](ctx, c.Runtime, req.Group,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.ConsumerGroupHeartbeat(now, t, client, req, mayDescribe)
		})
	if code != kerr.None {
		r = kmsg.NewPtrConsumerGroupHeartbeatResponse()
		r.ErrorCode = int16(code)
	}
	r.Version = req.Version
	return r
}

// ConsumerGroupDescribe handles versions 0 and 1. It leaves the authorized operations to the caller.
func (c *Coordinator) ConsumerGroupDescribe(
	ctx context.Context, req *kmsg.ConsumerGroupDescribeRequest,
) *kmsg.ConsumerGroupDescribeResponse {
	r := kmsg.NewPtrConsumerGroupDescribeResponse()
	r.Version = req.Version
	for _, name := range req.Groups {
		one, code := callNamed[*kmsg.ConsumerGroupDescribeResponse](ctx, c.Runtime, name,
			func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
				return m.ConsumerGroupDescribe(now, t, name)
			})
		if code != kerr.None {
			g := kmsg.NewConsumerGroupDescribeResponseGroup()
			g.Group, g.ErrorCode = name, int16(code)
			r.Groups = append(r.Groups, g)
			continue
		}
		r.Groups = append(r.Groups, one.Groups...)
	}
	return r
}
