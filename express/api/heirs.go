package api

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/server"
)

// A client asks for Metadata at once when it loses the connection to a leader, and some do not ask again for seconds (franz-go: 5).
// The cluster may need longer than that first question to know that the leader is gone, and who follows it. So an answer that names
// a leader which does not answer waits until it does, or another one leads.

// Presence tells which brokers are there.
type Presence interface {
	// Silent gives those of the brokers that do not answer though they were asked just now, and that are worth waiting for: it
	// bounds for how long a broker is given again and again. It waits for a moment at most, and, for those that did not answer
	// before, not beyond the close of news.
	Silent(ctx context.Context, brokers []int32, news <-chan struct{}) []int32
}

const (
	// heirsMost bounds how long an answer waits, whatever Presence says.
	heirsMost = 5 * time.Second
	// heirsPause lies between two looks at what changes while an answer waits: each makes the answer anew.
	heirsPause = 20 * time.Millisecond
	// heirsAgain is when a broker that is silent is asked again though nothing has changed.
	heirsAgain = 100 * time.Millisecond
)

// handleMetadata answers a Metadata request, with leaders that are there where it can.
func (a *API) handleMetadata(ctx context.Context, r *server.Request) {
	req, err := decode[*kmsg.MetadataRequest](a, r)
	if err != nil {
		a.refuse(r, err)
		return
	}
	c := a.callerOf(r)
	resp, waited := a.settledMetadata(ctx, c, req)
	a.replyAfter(r, c.quotas, resp, waited)
}

// settledMetadata is metadata with the wait for heirs, and gives the time that it waited. Requests for all topics, which tools send,
// do not wait. Nor do those on a connection that has carried records: answers leave a connection in order, and an ack for a
// partition that is well must not wait for the heir of one that is not.
func (a *API) settledMetadata(ctx context.Context, c caller, req *kmsg.MetadataRequest) (*kmsg.MetadataResponse, time.Duration) {
	if a.world.Presence == nil || len(req.Topics) == 0 || c.records {
		return a.metadata(ctx, c, req), 0
	}
	ctx, cancel := context.WithTimeout(ctx, heirsMost)
	defer cancel()
	var waited time.Duration
	var news <-chan struct{} // of the view that the answer is made of; nil: it is the first
	for {
		changed := a.catalog.Changed()
		resp := a.metadata(ctx, c, req)
		leaders := a.otherLeaders(resp)
		if len(leaders) == 0 || ctx.Err() != nil {
			return resp, waited
		}
		began := a.world.Clock.Now()
		silent := a.world.Presence.Silent(ctx, leaders, news)
		if len(silent) > 0 {
			news = changed
			pause(ctx, heirsPause, nil)
			pause(ctx, heirsAgain-heirsPause, news)
		}
		waited += a.world.Clock.Now().Sub(began)
		if len(silent) == 0 {
			return a.fresh(ctx, c, req, resp, changed), waited
		}
	}
}

// fresh is the answer, or one made anew where something has changed while others were asked: an answer is never older than that wait.
func (a *API) fresh(ctx context.Context, c caller, req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse, changed <-chan struct{}) *kmsg.MetadataResponse {
	select {
	case <-changed:
		return a.metadata(ctx, c, req)
	default:
		return resp
	}
}

// otherLeaders gives the other brokers that lead a partition of an answer, or own one that has no leader, each once.
func (a *API) otherLeaders(resp *kmsg.MetadataResponse) []int32 {
	var all []int32
	self := a.catalog.Self().ID
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			leader := t.Partitions[j].Leader
			if leader < 0 && t.Topic != nil {
				leader = a.owner(*t.Topic, t.Partitions[j].Partition)
			}
			if leader >= 0 && leader != self && !slices.Contains(all, leader) {
				all = append(all, leader)
			}
		}
	}
	return all
}

// owner is the broker that owns a partition by the view; -1: none.
func (a *API) owner(name string, index int32) int32 {
	t, ok := a.catalog.Topic(name)
	if !ok || int(index) >= len(t.Partitions) {
		return -1
	}
	return t.Partitions[index].Owner
}

// pause ends after d, when news is closed, or with ctx.
func pause(ctx context.Context, d time.Duration, news <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-news:
	case <-ctx.Done():
	}
}
