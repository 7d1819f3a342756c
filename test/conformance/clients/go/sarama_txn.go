package main

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

func saramaIsolation(r request) sarama.IsolationLevel {
	if r.Isolation == readCommitted {
		return sarama.ReadCommitted
	}
	return sarama.ReadUncommitted
}

func (s *saramaDriver) transactional(r request) (sarama.SyncProducer, error) {
	r.Idempotent = true
	config := producerConfig(r)
	config.Producer.Transaction.ID = r.ID
	config.Producer.Transaction.Timeout = time.Duration(r.TimeoutMS) * time.Millisecond
	return sarama.NewSyncProducer([]string{s.bootstrap}, config)
}

func (s *saramaDriver) txnOpen(_ context.Context, r request) (any, error) {
	producer, err := s.transactional(r)
	if err != nil {
		return nil, err
	}
	s.producers[r.Producer] = producer
	return nil, nil
}

func (s *saramaDriver) txnBegin(_ context.Context, r request) (any, error) {
	return nil, s.producers[r.Producer].BeginTxn()
}

func (s *saramaDriver) txnSend(_ context.Context, r request) (any, error) {
	return saramaSend(s.producers[r.Producer], r)
}

func (s *saramaDriver) txnEnd(_ context.Context, r request) (any, error) {
	return nil, saramaEnd(s.producers[r.Producer], r.Commit)
}

func saramaEnd(producer sarama.SyncProducer, commit bool) error {
	if commit {
		return producer.CommitTxn()
	}
	return producer.AbortTxn()
}

func (s *saramaDriver) txnClose(_ context.Context, r request) (any, error) {
	producer := s.producers[r.Producer]
	delete(s.producers, r.Producer)
	return nil, producer.Close()
}

// transformer is a member of a group that makes one transaction of the first records that it gets.
type transformer struct {
	request  request
	producer sarama.SyncProducer
	leave    context.CancelFunc
	done     bool
	err      error
}

func (*transformer) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*transformer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim runs the transaction; the topic has one partition, so there is one claim.
func (t *transformer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	var last *sarama.ConsumerMessage
	var made []*sarama.ProducerMessage
	for len(made) < t.request.Count {
		select {
		case <-session.Context().Done():
			return nil
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			last = message
			made = append(made, &sarama.ProducerMessage{
				Topic: t.request.Topics[0], Key: sarama.ByteEncoder(message.Key), Value: sarama.ByteEncoder(transformed(message.Value)),
			})
		}
	}
	t.err = t.transact(session, made, last)
	t.done = true
	t.leave()
	return nil
}

func (t *transformer) transact(session sarama.ConsumerGroupSession, made []*sarama.ProducerMessage, last *sarama.ConsumerMessage) error {
	if err := t.producer.BeginTxn(); err != nil {
		return err
	}
	if err := t.producer.SendMessages(made); err != nil {
		return err
	}
	member := sarama.NewConsumerGroupMetadataFromSession(session, t.request.Group, nil)
	if err := t.producer.AddMessageToTxnWithGroupMetadata(last, member, nil); err != nil {
		return err
	}
	return saramaEnd(t.producer, t.request.Commit)
}

func (s *saramaDriver) txnTransform(ctx context.Context, r request) (any, error) {
	producer, err := s.transactional(r)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	config := saramaConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	group, err := sarama.NewConsumerGroup([]string{s.bootstrap}, r.Group, config)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	member, leave := context.WithCancel(ctx)
	defer leave()
	t := &transformer{request: r, producer: producer, leave: leave}
	for !t.done {
		if err := group.Consume(member, []string{r.Topic}, t); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return count{Count: r.Count}, t.err
}
