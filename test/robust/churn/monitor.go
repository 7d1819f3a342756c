package churn

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// readLog reads the log of offsets from its beginning until the load ends: every commit of the group, in its order.
func (c *Churn) readLog() {
	client, err := kgo.NewClient(c.options(kgo.WithContext(c.gone), kgo.ConsumeTopics("__consumer_offsets"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		c.fault(err)
		return
	}
	defer client.Close()
	for c.gone.Err() == nil {
		fetches := client.PollFetches(c.gone)
		if c.gone.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			c.note(fmt.Sprintf("read %s-%d", topic, partition), err)
		})
		fetches.EachRecord(func(r *kgo.Record) {
			if partition, offset, ok := commitIn(r); ok {
				c.registry.Logged(partition, offset)
			}
		})
	}
}

// commitIn returns the commit that a record of the log of offsets tells of, if it is one of our group and topic.
func commitIn(r *kgo.Record) (partition int32, offset int64, ok bool) {
	var key kmsg.OffsetCommitKey
	const version = 1 // 0 and 1 are commits, the others are of groups
	if len(r.Key) < 2 || r.Key[0] != 0 || r.Key[1] > version || key.ReadFrom(r.Key) != nil || key.Group != group || key.Topic != topic {
		return 0, 0, false
	}
	var value kmsg.OffsetCommitValue
	if r.Value == nil || value.ReadFrom(r.Value) != nil {
		return 0, 0, false
	}
	return key.Partition, value.Offset, true
}

// ask asks for the committed offsets until the load ends.
func (c *Churn) ask() {
	client, err := kgo.NewClient(c.options(kgo.WithContext(c.gone))...)
	if err != nil {
		c.fault(err)
		return
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		offsets, err := admin.FetchOffsets(c.gone, group)
		if err != nil {
			c.note("ask for committed offsets", err)
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Err == nil && o.Topic == topic {
				c.registry.Told(o.Partition, o.At)
			}
		})
		select {
		case <-c.gone.Done():
			return
		case <-ticker.C:
		}
	}
}
