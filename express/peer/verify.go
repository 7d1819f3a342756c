package peer

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// addVersion is the version of AddPartitionsToTxn that is sent; it tells TRANSACTION_ABORTABLE.
const addVersion = 5

// Addition is what a broker asks the coordinator of a transactional id.
type Addition struct {
	TransactionalID string
	Producer        machine.Producer
	Partitions      []machine.TopicPartition // at least one; not changed until the answer is there, and not kept
	VerifyOnly      bool                     // whether they are part of the transaction; otherwise they become part of it
}

type verifying struct {
	Addition
	reply[[]kerr.Code]
}

// AddPartitions asks the coordinator of a transactional id about partitions, and returns a code for each of them in order. An error
// says that the coordinator did not answer.
func (p *Pool) AddPartitions(ctx context.Context, broker int32, a Addition) ([]kerr.Code, error) {
	a.Partitions = slices.Clone(a.Partitions) // the caller may leave before they are sent
	c := &verifying{a, newReply[[]kerr.Code](ctx)}
	enter(p, p.verifies, verifyingKind(), broker, c)
	return c.wait()
}

func verifyingKind() *kind[*verifying] {
	return &kind[*verifying]{
		name: "transactions", most: 500, ask: askAdditions, answered: additionsAnswered,
		given: func(c *verifying) bool { return c.given() },
		fail:  func(c *verifying, err error) { c.give(nil, err) },
	}
}

func askAdditions(calls []*verifying) request {
	q := kmsg.NewPtrAddPartitionsToTxnRequest()
	q.Version = addVersion
	for _, c := range calls {
		t := kmsg.NewAddPartitionsToTxnRequestTransaction()
		t.TransactionalID, t.ProducerID, t.ProducerEpoch, t.VerifyOnly = c.TransactionalID, c.Producer.ID, c.Producer.Epoch, c.VerifyOnly
		groups(c.Partitions, inTopic, func(run []machine.TopicPartition) {
			topic := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
			topic.Topic = run[0].Topic
			for _, tp := range run {
				topic.Partitions = append(topic.Partitions, tp.Partition)
			}
			t.Topics = append(t.Topics, topic)
		})
		q.Transactions = append(q.Transactions, t)
	}
	return q
}

func inTopic(a, b machine.TopicPartition) bool { return a.Topic == b.Topic }

func additionsAnswered(calls []*verifying, answer response) error {
	r, ok := answer.(*kmsg.AddPartitionsToTxnResponse)
	if !ok {
		return errAnswer
	}
	if r.ErrorCode != 0 {
		for _, c := range calls {
			c.give(slices.Repeat([]kerr.Code{kerr.Code(r.ErrorCode)}, len(c.Partitions)), nil)
		}
		return nil
	}
	if len(r.Transactions) != len(calls) {
		return fmt.Errorf("%w: %d of %d transactions", errAnswer, len(r.Transactions), len(calls))
	}
	all := make([][]kerr.Code, len(calls))
	for i, t := range r.Transactions {
		c := calls[i]
		if t.TransactionalID != c.TransactionalID {
			return fmt.Errorf("%w: another transactional id", errAnswer)
		}
		for _, topic := range t.Topics {
			for _, p := range topic.Partitions {
				n := len(all[i])
				if n == len(c.Partitions) || c.Partitions[n] != (machine.TopicPartition{Topic: topic.Topic, Partition: p.Partition}) {
					return fmt.Errorf("%w: partitions that were not asked for", errAnswer)
				}
				all[i] = append(all[i], kerr.Code(p.ErrorCode))
			}
		}
		if len(all[i]) != len(c.Partitions) {
			return fmt.Errorf("%w: %d of %d partitions", errAnswer, len(all[i]), len(c.Partitions))
		}
	}
	for i, c := range calls {
		c.give(all[i], nil)
	}
	return nil
}
