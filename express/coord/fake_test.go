package coord

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/express/group"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// readBytes makes even small logs take several reads.
const readBytes = 300

// memLog is a Log in memory, with faults.
type memLog struct {
	mu      sync.Mutex
	batches []record.Batch // durable
	next    int64
	hold    bool          // appends become durable by release only
	held    []func(error) // their outcomes, in order
	fail    func() error  // nil: none; asked for each append
	gate    chan struct{} // if set, Read waits for it or ctx
	once    sync.Once
	started chan struct{}  // closed by the first Read that waits
	settle  func(f func()) // if set, called instead of settling at once
	appends int

	markerVersions []int16 // of AppendMarker
}

func (l *memLog) AppendMarker(ctx context.Context, m record.Marker, version int16, done func(int64, error)) {
	l.mu.Lock()
	l.markerVersions = append(l.markerVersions, version)
	l.mu.Unlock()
	l.Append(ctx, record.EncodeMarker(nil, m), done)
}

func (l *memLog) Append(_ context.Context, b record.Batch, done func(int64, error)) {
	l.mu.Lock()
	l.appends++
	var fault error
	if l.fail != nil {
		fault = l.fail()
	}
	outcome := func(err error) {
		err = errors.Join(err, fault)
		l.mu.Lock()
		base := int64(-1)
		if err == nil {
			base = l.next
			b.SetBaseOffset(base)
			l.next = b.LastOffset() + 1
			l.batches = append(l.batches, b)
		}
		l.mu.Unlock()
		done(base, err)
	}
	settle := l.settle
	if l.hold {
		l.held = append(l.held, outcome)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	if settle != nil {
		settle(func() { outcome(nil) })
		return
	}
	outcome(nil)
}

// release settles the oldest append that is held.
func (l *memLog) release(err error) {
	l.mu.Lock()
	outcome := l.held[0]
	l.held = l.held[1:]
	l.mu.Unlock()
	outcome(err)
}

func (l *memLog) Offsets() (start, high int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, l.next
}

func (l *memLog) Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) error {
	if l.gate != nil {
		l.once.Do(func() { close(l.started) })
		select {
		case <-l.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for _, b := range l.batches {
		if b.LastOffset() < from {
			continue
		}
		if size += len(b); size > min(maxBytes, readBytes) && dst.Len() > 0 {
			break
		}
		dst.Append(b)
	}
	return nil
}

// crash returns the log as a restart would find it.
func (l *memLog) crash() *memLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &memLog{batches: slices.Clone(l.batches), next: l.next}
}

// add appends records as they are.
func (l *memLog) add(t testing.TB, records ...[2][]byte) {
	b := record.NewBuilder(record.Options{BaseOffset: l.next})
	for _, r := range records {
		if err := b.Add(1, r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.batches = append(l.batches, batch)
	l.next = batch.LastOffset() + 1
}

// fakeTopics knows topics by name; their ids are made of the first letter.
type fakeTopics map[string]int32

func idOf(name string) topic.ID { return topic.ID{name[0]} }

func (f fakeTopics) TopicByName(name string) (Topic, bool) {
	n, ok := f[name]
	return Topic{Name: name, ID: idOf(name), Partitions: n}, ok && n > 0
}

func (f fakeTopics) TopicByID(id topic.ID) (Topic, bool) {
	for name := range f {
		if idOf(name) == id {
			return f.TopicByName(name)
		}
	}
	return Topic{}, false
}

func (f fakeTopics) TopicNames() iter.Seq[string] { return maps.Keys(f) }

func (f fakeTopics) TopicsVersion() int64 { return int64(len(f)) }

// rig is a coordinator with one partition and readable member ids.
type rig struct {
	*Coordinator
	t    *testing.T
	log  *memLog
	text *bytes.Buffer
}

func newRig(t *testing.T, log *memLog, topics Topics) *rig {
	t.Helper()
	r := &rig{t: t, log: log, text: &bytes.Buffer{}}
	ids := 0
	limits := group.DefaultLimits()
	limits.InitialRebalanceDelay = 0
	c, err := New(GroupConfig{Partitions: 1, Settings: func() GroupSettings { return GroupSettings{Limits: limits} }}, World{
		Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(r.text, nil)), Topics: topics,
		NewID: func(prefix string) string {
			ids++
			return prefix + "-" + strconv.Itoa(ids)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Coordinator = c
	t.Cleanup(c.Close)
	return r
}

// load loads the log into a new rig and fails the test if that does not work.
func load(t *testing.T, log *memLog, topics Topics) *rig {
	t.Helper()
	r := newRig(t, log, topics)
	if err := r.Load(t.Context(), 0, log); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) join(ctx context.Context, member string) *kmsg.JoinGroupResponse {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.ProtocolType = 3, "g", member, "consumer"
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 10_000, 60_000
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
	return r.JoinGroup(ctx, "c", "/h", q)
}

func (r *rig) sync(member string, gen int32, assignments ...string) *kmsg.SyncGroupResponse {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 3, "g", member, gen
	for i := 0; i+1 < len(assignments); i += 2 {
		q.GroupAssignment = append(q.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: assignments[i], MemberAssignment: []byte(assignments[i+1]),
		})
	}
	return r.SyncGroup(r.t.Context(), q)
}

func (r *rig) heartbeat(member string, gen int32) kerr.Code {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID, q.Generation = "g", member, gen
	return kerr.Code(r.Heartbeat(r.t.Context(), q).ErrorCode)
}

// commit stores one offset as a simple consumer.
func (r *rig) commit(groupID, topicName string, partition int32, offset int64) kerr.Code {
	q := commitRequest(8, groupID, topicName, partition, offset)
	return kerr.Code(r.OffsetCommit(r.t.Context(), q).Topics[0].Partitions[0].ErrorCode)
}

func commitRequest(version int16, groupID, topicName string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group = version, groupID
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = topicName, []kmsg.OffsetCommitRequestTopicPartition{p}
	if version >= offsetsByTopicID {
		rt.Topic, rt.TopicID = "", idOf(topicName)
	}
	q.Topics = append(q.Topics, rt)
	return q
}

// fetch returns an offset, -1 for none.
func (r *rig) fetch(groupID, topicName string, partition int32) int64 {
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Version, q.Group = 5, groupID
	q.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topicName, Partitions: []int32{partition}}}
	a := r.OffsetFetch(r.t.Context(), q)
	if a.ErrorCode != 0 {
		r.t.Errorf("fetch: %v", kerr.Code(a.ErrorCode))
		return -2
	}
	return a.Topics[0].Partitions[0].Offset
}

func (r *rig) describe() kmsg.DescribeGroupsResponseGroup {
	q := kmsg.NewPtrDescribeGroupsRequest()
	q.Version, q.Groups = 6, []string{"g"}
	return r.DescribeGroups(r.t.Context(), q).Groups[0]
}
