package gateway

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/wire"
	"millrace/secure/identity"
)

// entry is one API key that passes the gateway.
type entry struct {
	min, max int16 // versions served
	listed   int16 // lowest version told in ApiVersions; below min only for Produce
	changes  bool  // an administrative call: it goes to the trail

	// One of these.
	rule   rule                         // decoded, decided, sent on
	handle func(context.Context, *call) // the same by hand, for records
	own    func(*call)                  // answered by the gateway, also before the login
}

// loggedOut says that a login has expired. The Door ends such connections too; a request must not slip in between.
func (e *entry) loggedOut(who identity.Identity, now time.Time) bool {
	return !who.Expires.IsZero() && now.After(who.Expires)
}

// on makes a rule of a function for one kind of request.
func on[Q kmsg.Request](f func(context.Context, *call, Q) verdict) rule {
	return func(ctx context.Context, c *call, req kmsg.Request) verdict { return f(ctx, c, req.(Q)) }
}

// edits makes the edit of a verdict of a function for one kind of response.
func edits[R kmsg.Response](f func(R)) func(kmsg.Response) {
	return func(resp kmsg.Response) { f(resp.(R)) }
}

// newTable lists every key that passes, with what it needs: the operations of Apache Kafka 4.3. What is not here is refused: what
// brokers say among themselves, delegation tokens (they would be the gateway's), versions without a codec.
func newTable() map[int16]entry {
	t := map[int16]entry{
		int16(kmsg.ApiVersions): {min: 0, max: 4, own: (*call).apiVersions},
		// The Door answers these; here they only say that the server lets them in.
		int16(kmsg.SASLHandshake):    {min: 0, max: 1, own: func(c *call) { c.r.Close() }},
		int16(kmsg.SASLAuthenticate): {min: 0, max: 2, own: func(c *call) { c.r.Close() }},

		int16(kmsg.Produce): {min: wire.ProduceMin, max: wire.ProduceMax, handle: func(ctx context.Context, c *call) { c.produce(ctx) }},
		int16(kmsg.Fetch):   {min: wire.FetchMin, max: wire.FetchMax, listed: wire.FetchMin, handle: func(ctx context.Context, c *call) { c.fetch(ctx) }},
	}
	reading := func(key kmsg.Key, low, high int16, r rule) {
		t[int16(key)] = entry{min: low, max: high, listed: low, rule: r}
	}
	changing := func(key kmsg.Key, low, high int16, r rule) {
		t[int16(key)] = entry{min: low, max: high, listed: low, rule: r, changes: true}
	}
	reading(kmsg.Metadata, 0, 13, on(metadata))
	reading(kmsg.FindCoordinator, 0, 6, on(findCoordinator))
	reading(kmsg.DescribeTopicPartitions, 0, 0, on(describeTopicPartitions))
	reading(kmsg.DescribeCluster, 0, 2, on(describeCluster))
	topicRules(reading, changing)
	groupRules(reading, changing)
	transactionRules(reading, changing)
	shareRules(reading, changing)
	clusterRules(reading, changing)
	return t
}

// adder adds a key to the table.
type adder func(key kmsg.Key, low, high int16, r rule)

// clusterOnly is the rule of keys that are about the whole cluster: all or nothing.
func clusterOnly(op kmsg.ACLOperation, refuse func(kmsg.Request, kerr.Code) verdict) rule {
	return func(_ context.Context, c *call, req kmsg.Request) verdict {
		if !c.mayCluster(op) {
			return refuse(req, kerr.ClusterAuthorizationFailed)
		}
		return verdict{}
	}
}

// byTopic is the rule of keys that name topics and need one operation on each: what is refused is taken out, and put into the answer.
func byTopic[Q kmsg.Request, R kmsg.Response, QT, RT any](
	op kmsg.ACLOperation, name func(*QT) string, in func(Q) *[]QT, out func(R) *[]RT,
) rule {
	return func(_ context.Context, c *call, r kmsg.Request) verdict {
		req := r.(Q)
		return pruneTopics(c, req, in(req), out, func(t *QT) kerr.Code {
			return c.judgeName(op, name(t))
		})
	}
}

// judgeName decides on one topic.
func (c *call) judgeName(op kmsg.ACLOperation, topic string) kerr.Code {
	if c.mayTopic(op, topic) {
		return kerr.None
	}
	return kerr.TopicAuthorizationFailed
}

// pruneTopics takes out of a request what judge refuses, and has it put into the answer. A request of nothing but refusals is answered.
func pruneTopics[R kmsg.Response, QT, RT any](
	c *call, req kmsg.Request, topics *[]QT, out func(R) *[]RT, judge func(*QT) kerr.Code,
) verdict {
	var more []RT
	kept, _ := split(*topics, func(t *QT) bool {
		code := judge(t)
		if code != kerr.None {
			more = append(more, mirrorOf[RT](t, code))
		}
		return code == kerr.None
	})
	if len(more) == 0 {
		return verdict{}
	}
	add := func(r R) { *out(r) = append(*out(r), more...) }
	if len(kept) == 0 {
		resp := kmsg.ResponseForKey(req.Key())
		resp.SetVersion(c.r.Header.Version)
		add(resp.(R))
		return verdict{answer: resp}
	}
	*topics = kept
	return verdict{pruned: true, edit: edits(add)}
}

// judge decides on a topic by its id. The ids of the request have been resolved.
func (c *call) judge(op kmsg.ACLOperation, id [16]byte) kerr.Code {
	name, ok := c.g.names.get(id)
	switch {
	case !ok:
		return kerr.UnknownTopicID
	case !c.mayTopic(op, name):
		return kerr.TopicAuthorizationFailed
	default:
		return kerr.None
	}
}

// mustResolve is resolve for rules.
func (c *call) mustResolve(ctx context.Context, ids [][16]byte) {
	if err := c.resolve(ctx, ids); err != nil {
		panic(lookupFailed{err})
	}
}
