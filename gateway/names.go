package gateway

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// mostNames bounds the cache of names. A name takes some 300 bytes at most.
const mostNames = 50_000

// names knows the names of topic ids. An id never names another topic, so what is here stays true. The zero value is ready.
type names struct {
	mu sync.RWMutex
	m  map[[16]byte]string
}

func (n *names) get(id [16]byte) (string, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	name, ok := n.m[id]
	return name, ok
}

func (n *names) put(id [16]byte, name string) {
	if id == ([16]byte{}) || name == "" {
		return
	}
	if had, ok := n.get(id); ok && had == name {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil || len(n.m) >= mostNames {
		n.m = map[[16]byte]string{}
	}
	n.m[id] = name
}

// mostLookups bounds how many unknown ids are asked about in one request.
const mostLookups = 10_000

// resolve makes the names of ids known, asking the session's broker about those that are not. After it an id without a name is one that
// the cluster does not know.
func (c *call) resolve(ctx context.Context, ids [][16]byte) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = metadataVersion, false
	asked := map[[16]byte]bool{}
	for _, id := range ids {
		if _, ok := c.g.names.get(id); ok || id == ([16]byte{}) || asked[id] || len(asked) >= mostLookups {
			continue
		}
		asked[id] = true
		t := kmsg.NewMetadataRequestTopic()
		t.TopicID = id
		req.Topics = append(req.Topics, t)
	}
	if len(req.Topics) == 0 {
		return nil
	}
	resp, err := c.s.ask(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode == 0 && t.Topic != nil && asked[t.TopicID] {
			c.g.names.put(t.TopicID, *t.Topic)
		}
	}
	return nil
}
