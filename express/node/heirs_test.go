package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderOf asks a broker who leads partition 0 of a topic.
func leaderOf(cl *kgo.Client, broker int32, name string) (int32, error) {
	q := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(name)
	q.Topics = append(q.Topics, t)
	r, err := cl.Broker(int(broker)).Request(context.Background(), q)
	if err != nil {
		return -1, err
	}
	return r.(*kmsg.MetadataResponse).Topics[0].Partitions[0].Leader, nil
}

// TestTheFirstMetadataNamesTheHeir: a client that asks while a dead broker's lease still holds hears of its heir, or of its next
// incarnation, and not of the dead (N12).
func TestTheFirstMetadataNamesTheHeir(t *testing.T) {
	for name, comeBack := range map[string]bool{"taken over": false, "started again": true} {
		t.Run(name, func(t *testing.T) {
			c := newObjectCluster(t, 3)
			c.topic("t", 1, 2)
			cl := c.client()
			defer cl.Close()
			if leader, err := leaderOf(cl, 1, "t"); err != nil || leader != 2 {
				t.Fatalf("leader %d, %v", leader, err)
			}
			dead := c.members[2]
			delete(c.members, 2)
			c.dead = append(c.dead, dead)
			dead.wire.mu.Lock()
			dead.wire.cut = true
			dead.wire.mu.Unlock()
			_ = dead.stop() // it fails, as it must; nobody listens there from here on
			type answer struct {
				leader int32
				err    error
			}
			first := make(chan answer, 1)
			go func() {
				leader, err := leaderOf(cl, 1, "t")
				first <- answer{leader, err}
			}()
			// However long this is, nobody is told a leader before there is one; the time only gives a fault the chance to show.
			select {
			case a := <-first:
				t.Fatalf("leader %d, %v while nobody leads", a.leader, a.err)
			case <-time.After(200 * time.Millisecond):
			}
			if comeBack {
				c.restart(2)
			} else {
				c.expire(dead)
			}
			a := <-first
			if a.err != nil || (a.leader == 2) != comeBack {
				t.Errorf("leader %d, %v", a.leader, a.err)
			}
		})
	}
}
