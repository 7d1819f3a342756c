package peer

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// latestVersion is the version of ListOffsets that is sent.
const latestVersion = 7

type latesting struct {
	tp machine.TopicPartition
	reply[int64]
}

// Latest asks the owner of a partition for its high watermark. The error may be a kerr.Code.
func (p *Pool) Latest(ctx context.Context, broker int32, tp machine.TopicPartition) (int64, error) {
	c := &latesting{tp, newReply[int64](ctx)}
	enter(p, p.latests, latestingKind(), broker, c)
	return c.wait()
}

func latestingKind() *kind[*latesting] {
	return &kind[*latesting]{
		name: "offsets", most: 1000, ask: askLatest, answered: latestAnswered,
		given: func(c *latesting) bool { return c.given() },
		fail:  func(c *latesting, err error) { c.give(0, err) },
	}
}

// askLatest asks for each partition once: one that is listed twice is an error.
func askLatest(calls []*latesting) request {
	q := kmsg.NewPtrListOffsetsRequest()
	q.Version, q.ReplicaID = latestVersion, -1
	at := map[string]int{}
	seen := map[machine.TopicPartition]bool{}
	for _, c := range calls {
		if seen[c.tp] {
			continue
		}
		seen[c.tp] = true
		i, ok := at[c.tp.Topic]
		if !ok {
			i = len(q.Topics)
			at[c.tp.Topic] = i
			q.Topics = append(q.Topics, kmsg.ListOffsetsRequestTopic{Topic: c.tp.Topic})
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = c.tp.Partition, -1
		q.Topics[i].Partitions = append(q.Topics[i].Partitions, p)
	}
	return q
}

func latestAnswered(calls []*latesting, answer response) error {
	r, ok := answer.(*kmsg.ListOffsetsResponse)
	if !ok {
		return errAnswer
	}
	found := map[machine.TopicPartition]kmsg.ListOffsetsResponseTopicPartition{}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			found[machine.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p
		}
	}
	for _, c := range calls {
		if _, ok := found[c.tp]; !ok {
			return fmt.Errorf("%w: a partition is missing", errAnswer)
		}
	}
	for _, c := range calls {
		p := found[c.tp]
		c.give(p.Offset, codeError(kerr.Code(p.ErrorCode)))
	}
	return nil
}
