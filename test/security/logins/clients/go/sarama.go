package main

import (
	"context"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// conversation is sarama's view of a SCRAM exchange.
type conversation struct{ *scram.ClientConversation }

func (c *conversation) Begin(user, password, authzID string) error {
	client, err := scram.SHA512.NewClient(user, password, authzID)
	if err != nil {
		return err
	}
	c.ClientConversation = client.NewConversation()
	return nil
}

// tokens gives the token of a case.
type tokens struct {
	ctx context.Context
	c   testCase
}

func (t tokens) Token() (*sarama.AccessToken, error) {
	token, err := t.c.token(t.ctx)
	return &sarama.AccessToken{Token: token}, err
}

func saramaClient(ctx context.Context, c testCase) (consumed []string, err error) {
	limit := time.Duration(c.TimeoutMS) * time.Millisecond
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V3_6_0_0
	cfg.Producer.Return.Successes = true
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	cfg.Metadata.Retry.Max = 1
	cfg.Consumer.Return.Errors = true
	cfg.Net.DialTimeout, cfg.Net.ReadTimeout, cfg.Net.WriteTimeout = limit, limit, limit
	if cfg.Net.TLS.Config, err = c.tls(); err != nil {
		return nil, err
	}
	cfg.Net.TLS.Enable = cfg.Net.TLS.Config != nil
	switch c.Method {
	case "scram":
		cfg.Net.SASL.Enable, cfg.Net.SASL.Mechanism = true, sarama.SASLTypeSCRAMSHA512
		cfg.Net.SASL.User, cfg.Net.SASL.Password = c.User, c.Password
		cfg.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{} }
	case "oauth", "token":
		cfg.Net.SASL.Enable, cfg.Net.SASL.Mechanism = true, sarama.SASLTypeOAuth
		cfg.Net.SASL.TokenProvider = tokens{ctx, c}
	}
	client, err := sarama.NewClient([]string{c.Bootstrap}, cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: c.Topic, Value: sarama.StringEncoder(c.Value)}); err != nil {
		return nil, err
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(c.Topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	end := time.After(limit)
	for !slices.Contains(consumed, c.Value) {
		select {
		case err := <-partition.Errors():
			return consumed, err
		case m := <-partition.Messages():
			consumed = append(consumed, string(m.Value))
		case <-end:
			return consumed, errNoReturn
		}
	}
	return consumed, nil
}
