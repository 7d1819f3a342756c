package api

import (
	"context"

	"millrace/express/api/batches"
	"millrace/express/machine"
	"millrace/express/partition"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
)

// addsPartitions is the version of Produce from which on the broker adds partitions to the transaction by itself
// (KIP-890, transaction version 2); with older ones the client has done so, and it is verified.
const addsPartitions = 12

// knowsAbortable is the version of Produce from which on producers know TRANSACTION_ABORTABLE.
const knowsAbortable = 11

// verdict says whether a transaction may begin on a partition.
type verdict struct {
	guard *partition.Guard
	code  kerr.Code
}

// guard returns the permission that verify got for a batch of a partition; nil where none is needed. A partition that was not
// here when verify looked may have come while it waited for the coordinator: nobody was asked about it then, so the batch is to
// come again.
func (p *produceCall) guard(part *partition.Partition, b []byte) (*partition.Guard, kerr.Code) {
	v, looked := p.begun[part]
	if !looked && p.verified && batches.IsTransactional(b) {
		return nil, kerr.NotLeaderOrFollower
	}
	return v.guard, v.code
}

// verify asks the coordinator about all partitions of the request at once on which the producer's transaction has not begun,
// so that no record is written that belongs to no transaction. It waits for the answer, which is why a client's
// first batch of a transaction takes longer than the others.
func (p *produceCall) verify(ctx context.Context, req *wire.ProduceRequest) {
	a := p.api
	p.verified = true
	byID := p.r.Header.Version >= 13
	asked := map[machine.Producer][]machine.TopicPartition{}
	parts := map[machine.TopicPartition]*partition.Partition{}
	for t := range req.Topics() {
		known, ok := a.catalog.Topic(string(t.Name))
		if byID {
			known, ok = a.catalog.TopicByID(topic.ID(t.ID))
		}
		if !ok {
			continue // refused later, as is all that is passed over here
		}
		for in := range t.Partitions() {
			b, _, err := record.Next(in.Records)
			if err != nil || !b.IsTransactional() {
				continue
			}
			part, code := a.find(known, in.Index)
			if code != kerr.None {
				continue
			}
			p.note(part, verdict{})
			if b.ProducerID() < 0 {
				continue
			}
			if g := part.Begin(b, p.r.Header.Version >= addsPartitions); g != nil {
				producer := machine.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
				tp := machine.TopicPartition{Topic: known.Name, Partition: in.Index}
				asked[producer] = append(asked[producer], tp)
				parts[tp] = part
				p.note(part, verdict{guard: g})
			}
		}
	}
	for producer, tps := range asked {
		codes := a.world.Verifier.AddPartitions(ctx, string(req.TransactionalID), producer, tps, p.r.Header.Version < addsPartitions)
		for i, tp := range tps {
			if code := verificationCode(codes[i], p.r.Header.Version); code != kerr.None {
				p.note(parts[tp], verdict{code: code})
			}
		}
	}
}

func (p *produceCall) note(part *partition.Partition, v verdict) {
	if p.begun == nil {
		p.begun = map[*partition.Partition]verdict{}
	}
	p.begun[part] = v
}

// verificationCode is the coordinator's error as producers of that version know to handle it: what passes by itself is
// retried under a code that they retry.
func verificationCode(code kerr.Code, version int16) kerr.Code {
	switch code {
	case kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.NetworkException,
		kerr.OperationNotAttempted: // of a partition that the coordinator is about to hear of, or of one beside it
		return kerr.NotEnoughReplicas
	case kerr.ConcurrentTransactions:
		if version < addsPartitions {
			return kerr.NotEnoughReplicas
		}
	case kerr.TransactionAbortable:
		if version < knowsAbortable {
			return kerr.InvalidTxnState
		}
	case kerr.ProducerFenced:
		return kerr.InvalidProducerEpoch // what Produce has always said
	}
	return code
}
