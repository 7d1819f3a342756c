package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func franzIsolation(r request) kgo.ConsumerOpt {
	if r.Isolation == readCommitted {
		return kgo.FetchIsolationLevel(kgo.ReadCommitted())
	}
	return kgo.FetchIsolationLevel(kgo.ReadUncommitted())
}

// transactional are the options of a transactional producer.
func (f *franz) transactional(r request) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), franzCodec(r), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(r.ID),
		kgo.TransactionTimeout(time.Duration(r.TimeoutMS) * time.Millisecond),
	}
}

func (f *franz) txnOpen(ctx context.Context, r request) (any, error) {
	client, err := kgo.NewClient(f.transactional(r)...)
	if err != nil {
		return nil, err
	}
	if _, _, err := client.ProducerID(ctx); err != nil { // otherwise asked for with the first record
		client.Close()
		return nil, err
	}
	f.producers[r.Producer] = client
	return nil, nil
}

func (f *franz) txnBegin(_ context.Context, r request) (any, error) {
	return nil, f.producers[r.Producer].BeginTransaction()
}

func (f *franz) txnSend(ctx context.Context, r request) (any, error) {
	return franzSend(ctx, f.producers[r.Producer], r)
}

func (f *franz) txnEnd(ctx context.Context, r request) (any, error) {
	return nil, f.producers[r.Producer].EndTransaction(ctx, kgo.TransactionEndTry(r.Commit))
}

func (f *franz) txnClose(_ context.Context, r request) (any, error) {
	f.producers[r.Producer].Close()
	delete(f.producers, r.Producer)
	return nil, nil
}

func (f *franz) txnTransform(ctx context.Context, r request) (any, error) {
	session, err := kgo.NewGroupTransactSession(append(f.transactional(r),
		kgo.ConsumeTopics(r.Topic), kgo.ConsumerGroup(r.Group), kgo.RequireStableFetchOffsets(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	if err := session.Begin(); err != nil {
		return nil, err
	}
	var made []*kgo.Record
	err = f.read(ctx, session.Client(), r.Count, func(one *kgo.Record) {
		made = append(made, &kgo.Record{Topic: r.Topics[0], Key: one.Key, Value: transformed(one.Value)})
	})
	if err != nil {
		return nil, err
	}
	if err := session.ProduceSync(ctx, made...).FirstErr(); err != nil {
		return nil, err
	}
	ended, err := session.End(ctx, kgo.TransactionEndTry(r.Commit))
	if err == nil && ended != r.Commit {
		err = errors.New("the session did not commit")
	}
	return count{Count: len(made)}, err
}

func (f *franz) describeTransaction(ctx context.Context, r request) (any, error) {
	all, err := f.admin.DescribeTransactions(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	one := all[r.ID]
	return transaction{State: one.State, Epoch: one.ProducerEpoch, TimeoutMS: one.TimeoutMillis}, one.Err
}
