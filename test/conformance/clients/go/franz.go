package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataAge is how old a list of topics may be: tests ask for what they have just changed.
const metadataAge = 50 * time.Millisecond

// franz drives franz-go. Requests come one at a time; only members works from several goroutines.
type franz struct {
	bootstrap string
	client    *kgo.Client
	admin     *kadm.Client

	producers map[string]*kgo.Client // the transactional ones that are open
	shares    map[string]*franzShare // the open members of share groups

	mu      sync.Mutex
	members map[string]*franzMember
}

// franzMember is an open member of a group; franz.mu guards assigned.
type franzMember struct {
	client   *kgo.Client
	assigned []int32
	cancel   context.CancelFunc
	done     chan struct{}
}

func newFranz(bootstrap string) (*driver, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.MetadataMinAge(metadataAge))
	if err != nil {
		return nil, err
	}
	f := &franz{
		bootstrap: bootstrap, client: client, admin: kadm.NewClient(client),
		producers: make(map[string]*kgo.Client), shares: make(map[string]*franzShare), members: make(map[string]*franzMember),
	}
	return &driver{
		module: "github.com/twmb/franz-go",
		operations: map[string]operation{
			"create_topic": f.createTopic, "delete_topic": f.deleteTopic, "list_topics": f.listTopics,
			"describe_topic": f.describeTopic, "create_partitions": f.createPartitions,
			"describe_configs": f.describeConfigs, "alter_configs": f.alterConfigs,
			"produce": f.produce, "consume": f.consume, "list_offsets": f.listOffsets, "offset_for_time": f.offsetForTime,
			"delete_records": f.deleteRecords, "group_read": f.groupRead, "committed": f.committed,
			"list_groups": f.listGroups, "describe_group": f.describeGroup, "delete_group": f.deleteGroup,
			"member_open": f.memberOpen, "member_state": f.memberState, "member_close": f.memberClose,
			"digest_group": f.digestGroup, "group_kind": f.groupKind,
			"txn_open": f.txnOpen, "txn_begin": f.txnBegin, "txn_send": f.txnSend, "txn_end": f.txnEnd, "txn_close": f.txnClose,
			"share_open": f.shareOpen, "share_read": f.shareRead, "share_close": f.shareClose,
			"group_configs": f.groupConfigs, "share_lag": f.shareLag,
			"txn_transform": f.txnTransform, "describe_transaction": f.describeTransaction,
		},
		code: func(err error) (int16, bool) {
			if broker, ok := errors.AsType[*kerr.Error](err); ok {
				return broker.Code, true
			}
			return 0, false
		},
		codecs: []string{"none", "gzip", "snappy", "lz4", "zstd"},
		features: []string{
			"partition", "timestamp", "headers", "null_key", "null_value", "null_header", "reads_null", "idempotence",
			"read_committed", "committed_bounds", "consumer_protocol",
		},
	}, nil
}

func pointers(configs map[string]string) map[string]*string {
	out := make(map[string]*string, len(configs))
	for name, value := range configs {
		out[name] = &value
	}
	return out
}

func (f *franz) createTopic(ctx context.Context, r request) (any, error) {
	response, err := f.admin.CreateTopic(ctx, r.Partitions, -1, pointers(r.Configs), r.Topic)
	return nil, errors.Join(err, response.Err)
}

func (f *franz) deleteTopic(ctx context.Context, r request) (any, error) {
	response, err := f.admin.DeleteTopic(ctx, r.Topic)
	return nil, errors.Join(err, response.Err)
}

func (f *franz) listTopics(ctx context.Context, _ request) (any, error) {
	details, err := f.admin.ListTopics(ctx)
	return sorted(details.Names()), err
}

func (f *franz) describeTopic(ctx context.Context, r request) (any, error) {
	details, err := f.admin.ListTopics(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	detail := details[r.Topic]
	out := description{Partitions: len(detail.Partitions)}
	for _, partition := range detail.Partitions {
		if partition.Leader >= 0 {
			out.Led++
		}
	}
	return out, detail.Err
}

func (f *franz) createPartitions(ctx context.Context, r request) (any, error) {
	responses, err := f.admin.UpdatePartitions(ctx, int(r.Partitions), r.Topic)
	return nil, errors.Join(err, responses.Error())
}

func (f *franz) describeConfigs(ctx context.Context, r request) (any, error) {
	resources, err := f.admin.DescribeTopicConfigs(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	resource, err := resources.On(r.Topic, nil)
	if err = errors.Join(err, resource.Err); err != nil {
		return nil, err
	}
	out := configs{Configs: make(map[string]string)}
	for _, config := range resource.Configs {
		if slices.Contains(r.Names, config.Key) {
			out.Configs[config.Key] = config.MaybeValue()
		}
	}
	return out, nil
}

func (f *franz) alterConfigs(ctx context.Context, r request) (any, error) {
	var changes []kadm.AlterConfig
	for name, value := range r.Configs {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	responses, err := f.admin.AlterTopicConfigs(ctx, changes, r.Topic)
	if err != nil {
		return nil, err
	}
	response, err := responses.On(r.Topic, nil)
	return nil, errors.Join(err, response.Err)
}

// franzCodec is the compression of a request.
func franzCodec(r request) kgo.ProducerOpt {
	codecs := map[string]kgo.CompressionCodec{
		"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	return kgo.ProducerBatchCompression(codecs[r.Compression])
}

func (f *franz) produce(ctx context.Context, r request) (any, error) {
	options := []kgo.Opt{kgo.SeedBrokers(f.bootstrap), franzCodec(r), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return franzSend(ctx, client, r)
}

// franzSend writes the records of a request and waits for their offsets.
func franzSend(ctx context.Context, client *kgo.Client, r request) (any, error) {
	batch := make([]*kgo.Record, 0, len(r.Records))
	for _, one := range r.Records {
		out := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: one.Key, Value: one.Value}
		if one.Timestamp > 0 {
			out.Timestamp = millis(one.Timestamp)
		}
		for _, h := range one.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		batch = append(batch, out)
	}
	results := client.ProduceSync(ctx, batch...)
	if err := results.FirstErr(); err != nil {
		return nil, err
	}
	var out offsets
	for _, result := range batch { // results come in the order of completion, batch keeps the order of the request
		out.Offsets = append(out.Offsets, result.Offset)
	}
	return out, nil
}

func fromFranz(in *kgo.Record) record {
	out := record{
		Topic: in.Topic, Partition: in.Partition, Offset: in.Offset, Timestamp: in.Timestamp.UnixMilli(),
		Key: in.Key, Value: in.Value,
	}
	for _, h := range in.Headers {
		out.Headers = append(out.Headers, header{Name: h.Key, Value: h.Value})
	}
	return out
}

// read polls until each got count records; it returns the first error of a fetch that is not a time-out of ctx.
func (f *franz) read(ctx context.Context, client *kgo.Client, count int, each func(*kgo.Record)) error {
	for count > 0 {
		fetches := client.PollRecords(ctx, count)
		if err := fetches.Err0(); err != nil {
			return err
		}
		var failures []error
		fetches.EachError(func(_ string, _ int32, err error) { failures = append(failures, err) })
		if err := errors.Join(failures...); err != nil {
			return err
		}
		fetches.EachRecord(func(one *kgo.Record) {
			count--
			each(one)
		})
	}
	return nil
}

func (f *franz) consume(ctx context.Context, r request) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.ConsumeTopics(r.Topics...), franzIsolation(r),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var out records
	err = f.read(ctx, client, r.Count, func(one *kgo.Record) { out.Records = append(out.Records, fromFranz(one)) })
	return out, err
}

func (f *franz) groupClient(r request, options ...kgo.Opt) (*kgo.Client, error) {
	topics := r.Topics
	if r.Topic != "" {
		topics = []string{r.Topic}
	}
	if r.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	return kgo.NewClient(append(options, kgo.SeedBrokers(f.bootstrap), kgo.ConsumeTopics(topics...), kgo.ConsumerGroup(r.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
}

func (f *franz) groupRead(ctx context.Context, r request) (any, error) {
	client, err := f.groupClient(r)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var out records
	var last []*kgo.Record
	err = f.read(ctx, client, r.Count, func(one *kgo.Record) {
		out.Records = append(out.Records, fromFranz(one))
		last = append(last, one)
	})
	if err != nil {
		return nil, err
	}
	return out, client.CommitRecords(ctx, last...)
}

func (f *franz) digestGroup(ctx context.Context, r request) (any, error) {
	client, err := f.groupClient(r)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var out digests
	if err := f.read(ctx, client, r.Count, func(one *kgo.Record) { out.add(one.Topic, one.Key, one.Value) }); err != nil {
		return nil, err
	}
	return out.finish(), client.CommitUncommittedOffsets(ctx)
}

func (f *franz) listOffsets(ctx context.Context, r request) (any, error) {
	start, err := f.admin.ListStartOffsets(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	list := f.admin.ListEndOffsets
	if r.Isolation == readCommitted {
		list = f.admin.ListCommittedOffsets
	}
	end, err := list(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	first, _ := start.Lookup(r.Topic, r.Partition)
	last, _ := end.Lookup(r.Topic, r.Partition)
	return bounds{Earliest: first.Offset, Latest: last.Offset}, errors.Join(first.Err, last.Err)
}

func (f *franz) offsetForTime(ctx context.Context, r request) (any, error) {
	// kadm asks again for the end offset where the broker says "none later"; -1 is told apart by the time in the answer.
	listed, err := f.admin.ListOffsetsAfterMilli(ctx, r.Timestamp, r.Topic)
	if err != nil {
		return nil, err
	}
	one, _ := listed.Lookup(r.Topic, r.Partition)
	if one.Err == nil && one.Timestamp < 0 {
		one.Offset = -1
	}
	return offset{Offset: one.Offset}, one.Err
}

func (f *franz) deleteRecords(ctx context.Context, r request) (any, error) {
	var before kadm.Offsets
	before.AddOffset(r.Topic, r.Partition, r.Before, -1)
	responses, err := f.admin.DeleteRecords(ctx, before)
	if err != nil {
		return nil, err
	}
	response, _ := responses.Lookup(r.Topic, r.Partition)
	return offset{Offset: response.LowWatermark}, response.Err
}

func (f *franz) committed(ctx context.Context, r request) (any, error) {
	responses, err := f.admin.FetchOffsets(ctx, r.Group)
	if err != nil {
		return nil, err
	}
	out := byPartition{Offsets: make(map[int32]int64)}
	for partition, response := range responses[r.Topic] {
		out.Offsets[partition] = response.At
	}
	return out, responses.Error()
}

func (f *franz) listGroups(ctx context.Context, _ request) (any, error) {
	groups, err := f.admin.ListGroups(ctx)
	return sorted(groups.Groups()), err
}

func (f *franz) describeGroup(ctx context.Context, r request) (any, error) {
	groups, err := f.admin.DescribeGroups(ctx, r.Group)
	if err != nil {
		return nil, err
	}
	group := groups[r.Group]
	return groupState{State: group.State, Members: len(group.Members)}, group.Err
}

// groupKind is what ListGroups says of a group.
func (f *franz) groupKind(ctx context.Context, r request) (any, error) {
	response, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, f.client)
	if err != nil {
		return nil, err
	}
	for _, g := range response.Groups {
		if g.Group == r.Group {
			return map[string]string{"type": strings.ToLower(g.GroupType), "state": g.GroupState}, nil
		}
	}
	return map[string]string{"type": "none"}, nil
}

func (f *franz) deleteGroup(ctx context.Context, r request) (any, error) {
	response, err := f.admin.DeleteGroup(ctx, r.Group)
	return nil, errors.Join(err, response.Err)
}

func (f *franz) memberOpen(_ context.Context, r request) (any, error) {
	m := &franzMember{done: make(chan struct{})}
	change := func(edit func(map[int32]bool, []int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			f.mu.Lock()
			defer f.mu.Unlock()
			set := make(map[int32]bool)
			for _, p := range m.assigned {
				set[p] = true
			}
			edit(set, changed[r.Topic])
			m.assigned = m.assigned[:0]
			for p := range set {
				m.assigned = append(m.assigned, p)
			}
			slices.Sort(m.assigned)
		}
	}
	remove := change(func(set map[int32]bool, changed []int32) {
		for _, p := range changed {
			delete(set, p)
		}
	})
	add := change(func(set map[int32]bool, changed []int32) {
		for _, p := range changed {
			set[p] = true
		}
	})
	client, err := f.groupClient(r, kgo.OnPartitionsAssigned(add), kgo.OnPartitionsRevoked(remove), kgo.OnPartitionsLost(remove))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.client, m.cancel = client, cancel
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			client.PollFetches(ctx)
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[r.Member] = m
	return nil, nil
}

func (f *franz) memberState(context.Context, request) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := assignments{Assignments: make(map[string][]int32)}
	for name, m := range f.members {
		out.Assignments[name] = append([]int32{}, m.assigned...)
	}
	return out, nil
}

func (f *franz) memberClose(_ context.Context, r request) (any, error) {
	f.mu.Lock()
	m := f.members[r.Member]
	delete(f.members, r.Member)
	f.mu.Unlock()
	m.cancel()
	<-m.done
	m.client.Close() // outside the lock: leaving calls the revoke hook
	return nil, nil
}
