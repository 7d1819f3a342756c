package api

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/express/quota"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// setQuota gives everybody with the client id of the tests a quota.
func (e *env) setQuota(kind quota.Kind, value float64) {
	e.t.Helper()
	entity := quota.Entity{User: quota.Default(), ClientID: quota.Exactly("test")}
	if kind == quota.Connections {
		entity = quota.Entity{IP: quota.Default()}
	}
	must(e.t, e.catalog.SetQuotas(context.Background(), entity, []quota.Op{{Key: kind.String(), Value: value}}, false))
}

// later is a clock that is ahead of the machine's, so that every request seems to take an hour.
func later() *clock.Manual { return clock.NewManual(time.Now().Add(time.Hour)) }

// Over many windows a client that waits as it is told gets its quota: not more, and not less.
func TestProducerKeepsToItsQuota(t *testing.T) {
	const perSecond = 10_000
	clk := clock.NewManual(time.Unix(1_700_000_000, 0))
	e := newEnv(t, options{clock: clk})
	topic := e.create("orders", 1, nil)
	e.setQuota(quota.Produce, perSecond)
	records := batch(t, 100, record.Options{})
	start, sent, waits := clk.Now(), 0, 0
	for clk.Now().Sub(start) < 60*time.Second {
		c := e.dial() // each time anew: this one would be muted by the machine's clock
		q := produceRequest(topic, 0, records)
		q.SetVersion(9)
		body := q.AppendTo(nil)
		id := c.send(q.Key(), 9, body)
		resp := receive[*kmsg.ProduceResponse](c, id, 9, q)
		c.wantCode(resp.Topics[0].Partitions[0].ErrorCode, kerr.None)
		sent += len(body) + len("test") + 11 // the header
		if resp.ThrottleMillis > 0 {
			waits++
		}
		clk.Advance(max(time.Duration(resp.ThrottleMillis)*time.Millisecond, 10*time.Millisecond))
		must(t, c.nc.Close())
	}
	seconds := clk.Now().Sub(start).Seconds()
	if most := perSecond * (seconds + 12); float64(sent) > most || float64(sent) < perSecond*seconds*0.9 {
		t.Errorf("%d bytes in %.1f s, at most %.0f", sent, seconds, most)
	}
	if waits == 0 {
		t.Error("it never waited")
	}
}

func TestThrottledFetchIsEmptyAndComesAgain(t *testing.T) {
	clk := clock.NewManual(time.Unix(1_700_000_000, 0))
	e := newEnv(t, options{clock: clk})
	topic := e.create("orders", 1, nil)
	e.dial().produce(topic, 0, 900) // below the quota whatever the distances of their times
	e.setQuota(quota.Fetch, 2000)
	q := fetchRequest(topic, 1, 0)
	q.SessionEpoch = 0
	first := ask[*kmsg.FetchResponse](e.dial(), 12, q)
	got := len(first.Topics[0].Partitions[0].RecordBatches)
	if first.SessionID == 0 || first.ThrottleMillis != 0 || got < 15_000 || got > 20_000 {
		t.Fatalf("first: session %d, throttle %d, %d bytes; want most of the quota's 20,000", first.SessionID, first.ThrottleMillis, got)
	}
	next := fetchRequest(topic, 1, 0)
	next.SessionID, next.SessionEpoch = first.SessionID, 1
	second := ask[*kmsg.FetchResponse](e.dial(), 12, next)
	if second.ErrorCode != 0 || second.SessionID != first.SessionID || second.ThrottleMillis == 0 || len(second.Topics) != 0 {
		t.Fatalf("second: %+v; want an empty answer of the session, and a throttle", second)
	}
	clk.Advance(12 * time.Second)
	next.SessionEpoch = 2
	third := ask[*kmsg.FetchResponse](e.dial(), 12, next)
	if third.ErrorCode != 0 || third.ThrottleMillis != 0 || len(third.Topics) != 1 || len(third.Topics[0].Partitions[0].RecordBatches) != got {
		t.Errorf("third: %+v; want the records", third)
	}
}

func TestFetchOfOneBatchBeyondTheQuotaGetsThrough(t *testing.T) {
	e := newEnv(t, options{clock: clock.NewManual(time.Unix(1_700_000_000, 0))})
	topic := e.create("orders", 1, nil)
	e.dial().produce(topic, 0, 1000)
	e.setQuota(quota.Fetch, 10)
	resp := ask[*kmsg.FetchResponse](e.dial(), 12, fetchRequest(topic, 1, 0))
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 || resp.ThrottleMillis == 0 {
		t.Errorf("throttle %d, topics %+v; want the batch, and a throttle", resp.ThrottleMillis, resp.Topics)
	}
}

func TestThrottleMutesTheConnection(t *testing.T) {
	e := newEnv(t, options{})
	topic := e.create("orders", 1, nil)
	e.setQuota(quota.Produce, 10_000)
	c := e.dial()
	b := record.NewBuilder(record.Options{})
	must(t, b.Add(time.Now().UnixMilli(), nil, make([]byte, 105_000))) // 10 s worth, and a little: a wait of about half a second
	large, err := b.Build(nil)
	must(t, err)
	start := time.Now()
	resp := ask[*kmsg.ProduceResponse](c, 9, produceRequest(topic, 0, large))
	if resp.ThrottleMillis == 0 {
		t.Fatal("not throttled")
	}
	told := time.Duration(resp.ThrottleMillis) * time.Millisecond
	ask[*kmsg.MetadataResponse](c, 9, kmsg.NewPtrMetadataRequest())
	if took := time.Since(start); took < told {
		t.Errorf("the next request was answered after %v, the client was told to wait %v", took, told)
	}
}

func TestRequestTime(t *testing.T) {
	e := newEnv(t, options{clock: later()})
	e.setQuota(quota.Request, 1)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey = "g"
	if resp := ask[*kmsg.FindCoordinatorResponse](e.dial(), 3, find); resp.ThrottleMillis != 0 {
		t.Errorf("a request that waits for others is throttled by %d ms", resp.ThrottleMillis)
	}
	if resp := ask[*kmsg.MetadataResponse](e.dial(), 9, kmsg.NewPtrMetadataRequest()); resp.ThrottleMillis != 1000 {
		t.Errorf("throttle %d ms, want a window", resp.ThrottleMillis)
	}
	if resp := ask[*kmsg.ApiVersionsResponse](e.dial(), 1, kmsg.NewPtrApiVersionsRequest()); resp.ThrottleMillis != 1000 {
		t.Errorf("ApiVersions: throttle %d ms, want a window", resp.ThrottleMillis)
	}
	topic := e.create("orders", 1, nil)
	if resp := ask[*kmsg.FetchResponse](e.dial(), 12, fetchRequest(topic, 1, 0)); resp.ThrottleMillis != 1000 || len(resp.Topics) != 0 {
		t.Errorf("Fetch: throttle %d ms, %d topics; want a window and none", resp.ThrottleMillis, len(resp.Topics))
	}
	if resp := ask[*kmsg.ProduceResponse](e.dial(), 9, produceRequest(topic, 0, batch(t, 1, record.Options{}))); resp.ThrottleMillis != 1000 {
		t.Errorf("Produce: throttle %d ms, want a window", resp.ThrottleMillis)
	}
}

func TestMutationsAreRefusedOrThrottledByVersion(t *testing.T) {
	clk := clock.NewManual(time.Unix(1_700_000_000, 0))
	e := newEnv(t, options{clock: clk})
	e.setQuota(quota.Mutation, 1) // 11 at once
	create := func(version int16, name string, partitions int32, code kerr.Code, millis int32) {
		t.Helper()
		resp := ask[*kmsg.CreateTopicsResponse](e.dial(), version, createRequest(name, partitions, 1))
		if kerr.Code(resp.Topics[0].ErrorCode) != code || resp.ThrottleMillis != millis {
			t.Errorf("%s: code %d, throttle %d; want %d, %d", name, resp.Topics[0].ErrorCode, resp.ThrottleMillis, code, millis)
		}
		if _, ok := e.catalog.Topic(name); ok != (code == kerr.None) {
			t.Errorf("%s exists: %t", name, ok)
		}
	}
	create(6, "a", 12, kerr.None, 0)
	create(6, "b", 1, kerr.ThrottlingQuotaExceeded, 1000)
	create(5, "c", 2, kerr.None, 3000)
	q := kmsg.NewPtrCreatePartitionsRequest()
	in := kmsg.NewCreatePartitionsRequestTopic()
	in.Topic, in.Count = "a", 20
	q.Topics = append(q.Topics, in)
	more := ask[*kmsg.CreatePartitionsResponse](e.dial(), 3, q)
	if kerr.Code(more.Topics[0].ErrorCode) != kerr.ThrottlingQuotaExceeded || more.ThrottleMillis != 3000 {
		t.Errorf("partitions: %+v", more)
	}
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{"a"}
	gone := ask[*kmsg.DeleteTopicsResponse](e.dial(), 5, del)
	if kerr.Code(gone.Topics[0].ErrorCode) != kerr.ThrottlingQuotaExceeded || gone.ThrottleMillis != 3000 {
		t.Errorf("deletion: %+v", gone)
	}
	clk.Advance(3 * time.Second)
	gone = ask[*kmsg.DeleteTopicsResponse](e.dial(), 5, del)
	if gone.Topics[0].ErrorCode != 0 || gone.ThrottleMillis != 0 {
		t.Errorf("deletion after the wait: %+v", gone)
	}
	create(6, "d", 1, kerr.ThrottlingQuotaExceeded, 12000)
}

func TestConnectionsBeyondTheQuotaAreClosed(t *testing.T) {
	e := newEnv(t, options{clock: clock.NewManual(time.Unix(1_700_000_000, 0))})
	e.setQuota(quota.Connections, 1)
	for range 10 {
		ask[*kmsg.MetadataResponse](e.dial(), 9, kmsg.NewPtrMetadataRequest())
	}
	e.dial().closed(3, 9)
}

func TestAlterAndDescribeClientQuotas(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	name := func(s string) *string { return &s }
	entry := func(kind string, name *string, ops ...kmsg.AlterClientQuotasRequestEntryOp) kmsg.AlterClientQuotasRequestEntry {
		return kmsg.AlterClientQuotasRequestEntry{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: kind, Name: name}}, Ops: ops}
	}
	set := func(key string, v float64) kmsg.AlterClientQuotasRequestEntryOp {
		return kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: v}
	}
	q := kmsg.NewPtrAlterClientQuotasRequest()
	q.Entries = []kmsg.AlterClientQuotasRequestEntry{
		entry("user", name("alice"), set("producer_byte_rate", 1000), set("request_percentage", 12.5)),
		entry("client-id", nil, set("consumer_byte_rate", 5)),
		entry("user", name("bob"), set("speed", 1)),
		entry("user", name("alice"), set("producer_byte_rate", 2000)),
	}
	for version := range int16(2) {
		resp := ask[*kmsg.AlterClientQuotasResponse](c, version, q)
		var got []string
		for _, e := range resp.Entries {
			text := e.Entity[0].Type + " " + kerr.Code(e.ErrorCode).Name()
			if e.ErrorMessage != nil {
				text += ": " + *e.ErrorMessage
			}
			got = append(got, text)
		}
		want := "user INVALID_REQUEST: Ignoring duplicate entity ClientQuotaEntity(entries={user=alice})|client-id NONE|" +
			"user INVALID_REQUEST: Invalid configuration key speed"
		if strings.Join(got, "|") != want {
			t.Errorf("v%d: %q", version, got)
		}
		all := ask[*kmsg.DescribeClientQuotasResponse](c, version, kmsg.NewPtrDescribeClientQuotasRequest())
		if len(all.Entries) != 2 || *all.Entries[1].Entity[0].Name != "alice" || all.Entries[0].Entity[0].Name != nil ||
			len(all.Entries[1].Values) != 2 || all.Entries[1].Values[0].Value != 1000 || all.Entries[1].Values[1].Value != 12.5 {
			t.Errorf("v%d: %+v", version, all)
		}
	}
	bad := kmsg.NewPtrDescribeClientQuotasRequest()
	bad.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "team"}}
	resp := ask[*kmsg.DescribeClientQuotasResponse](c, 1, bad)
	if kerr.Code(resp.ErrorCode) != kerr.UnsupportedVersion || resp.ErrorMessage == nil || *resp.ErrorMessage != "Unsupported entity type team" || resp.Entries != nil {
		t.Errorf("%+v", resp)
	}
}
