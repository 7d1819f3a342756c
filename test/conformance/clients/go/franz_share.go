package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// franzShare is an open member of a share group.
type franzShare struct {
	client *kgo.Client

	mu  sync.Mutex
	err error // the first of an acknowledgement
}

func (f *franz) shareOpen(_ context.Context, r request) (any, error) {
	m := new(franzShare)
	client, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.ConsumeTopics(r.Topic), kgo.ShareGroup(r.Group),
		kgo.ShareAckCallback(func(_ *kgo.Client, results kgo.ShareAckResults) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.err == nil {
				m.err = results.Error()
			}
		}))
	if err != nil {
		return nil, err
	}
	m.client = client
	f.shares[r.Member] = m
	return nil, nil
}

func (f *franz) shareRead(ctx context.Context, r request) (any, error) {
	m := f.shares[r.Member]
	var out deliveries
	for len(out.Deliveries) < r.Count {
		fetches := m.client.PollRecords(ctx, r.Count-len(out.Deliveries))
		for _, failed := range fetches.Errors() {
			return nil, failed.Err
		}
		for _, one := range fetches.Records() {
			out.Deliveries = append(out.Deliveries, delivery{Offset: one.Offset, Count: one.DeliveryCount()})
			switch {
			case r.Hold:
			case slices.Contains(r.Release, one.Offset) && one.DeliveryCount() == 1:
				one.Ack(kgo.AckRelease)
			case slices.Contains(r.Reject, one.Offset):
				one.Ack(kgo.AckReject)
			default:
				one.Ack(kgo.AckAccept)
			}
		}
		if err := m.client.FlushAcks(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return out, m.err
}

func (f *franz) shareClose(_ context.Context, r request) (any, error) {
	f.shares[r.Member].client.Close()
	delete(f.shares, r.Member)
	return nil, nil
}

// groupConfigs sets configurations of a group.
func (f *franz) groupConfigs(ctx context.Context, r request) (any, error) {
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, r.Group
	for name, value := range r.Configs {
		resource.Configs = append(resource.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Value: &value})
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	response, err := req.RequestWith(ctx, f.client)
	if err != nil {
		return nil, err
	}
	for _, one := range response.Resources {
		if err := kerr.ErrorForCode(one.ErrorCode); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// shareLag is how many records of one partition a share group has still to do.
func (f *franz) shareLag(ctx context.Context, r request) (any, error) {
	groups, err := f.admin.DescribeShareGroupOffsets(ctx, r.Group)
	if err != nil {
		return nil, err
	}
	group := groups[r.Group]
	if group.Err != nil {
		return nil, group.Err
	}
	one, ok := group.Offsets[r.Topic][r.Partition]
	if !ok {
		return nil, fmt.Errorf("nothing is known of partition %d of %s", r.Partition, r.Topic)
	}
	return map[string]int64{"lag": one.Lag}, one.Err
}
