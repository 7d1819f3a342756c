package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func franz(ctx context.Context, c testCase) (consumed []string, err error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Bootstrap), kgo.RetryTimeout(time.Duration(c.TimeoutMS) * time.Millisecond),
		kgo.RecordDeliveryTimeout(time.Duration(c.TimeoutMS) * time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: {0: kgo.NewOffset().AtStart()}}),
	}
	cfg, err := c.tls()
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		opts = append(opts, kgo.DialTLSConfig(cfg))
	}
	switch c.Method {
	case "scram":
		opts = append(opts, kgo.SASL(scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism()))
	case "iam":
		opts = append(opts, kgo.SASL(aws.Auth{AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken}.AsManagedStreamingIAMMechanism()))
	case "oauth", "token":
		opts = append(opts, kgo.SASL(oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := c.token(ctx)
			return oauth.Auth{Token: token}, err
		})))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	// A ping says at once what a produce would say when its time is up.
	if err := client.Ping(ctx); err != nil {
		return nil, err
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: c.Topic, Value: []byte(c.Value)}).FirstErr(); err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, time.Duration(c.TimeoutMS)*time.Millisecond)
	defer cancel()
	for !slices.Contains(consumed, c.Value) {
		fetches := client.PollFetches(limit)
		if limit.Err() != nil {
			return consumed, errNoReturn
		}
		if err := fetches.Err(); err != nil {
			return consumed, fmt.Errorf("fetch: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) { consumed = append(consumed, string(r.Value)) })
	}
	return consumed, nil
}
