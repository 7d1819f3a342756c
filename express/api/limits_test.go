package api

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/engine"
	"millrace/express/quota"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// limited is a broker of these limits, under a clock that stands still.
func limited(t *testing.T, l quota.Limits, listener string) (*env, *clock.Manual) {
	clk := clock.NewManual(time.Unix(1_700_000_000, 0))
	return newEnv(t, options{clock: clk, listener: listener, config: Config{Limits: l}, static: map[string]string{"auto.create.topics.enable": "true"}}), clk
}

func (e *env) throttleOf(name string, records []byte) time.Duration {
	e.t.Helper()
	c := e.dial() // each time anew: this one may be muted
	topic, _ := e.catalog.Topic(name)
	resp := ask[*kmsg.ProduceResponse](c, 9, produceRequest(topic, 0, records))
	c.wantCode(resp.Topics[0].Partitions[0].ErrorCode, kerr.None)
	return time.Duration(resp.ThrottleMillis) * time.Millisecond
}

// What is beyond the limit of the broker is taken all the same, and its client told to wait.
func TestBrokerThrottlesWhatAllProduce(t *testing.T) {
	e, clk := limited(t, quota.Limits{In: quota.Flow{Sustained: 10_000, Max: 10_000}}, "")
	e.create("orders", 1, nil)
	records := batch(t, 50, record.Options{})
	if wait := e.throttleOf("orders", records); wait != 0 {
		t.Fatalf("the first waits %v", wait)
	}
	for range 50 {
		e.throttleOf("orders", records)
	}
	wait := e.throttleOf("orders", records)
	if wait == 0 {
		t.Fatal("nobody waits")
	}
	clk.Advance(wait + time.Second)
	if wait := e.throttleOf("orders", records); wait != 0 {
		t.Errorf("after the wait it waits %v", wait)
	}
	if got := e.api.Whole().Traffic(); got.In < 50*int64(len(records)) || got.Throttled == 0 {
		t.Errorf("counted %+v", got)
	}
}

func TestBrokerWithholdsWhatIsTooMuchToFetch(t *testing.T) {
	e, clk := limited(t, quota.Limits{Out: quota.Flow{Sustained: 2000, Max: 2000}}, "")
	topic := e.create("orders", 1, nil)
	e.dial().produce(topic, 0, 900)
	first := ask[*kmsg.FetchResponse](e.dial(), 12, fetchRequest(topic, 1, 0))
	if len(first.Topics) != 1 || len(first.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Fatalf("first: %+v", first)
	}
	again := ask[*kmsg.FetchResponse](e.dial(), 12, fetchRequest(topic, 1, 0))
	if again.ErrorCode != 0 || again.ThrottleMillis == 0 || len(again.Topics) != 0 {
		t.Fatalf("again: %+v; want an empty answer and a throttle", again)
	}
	clk.Advance(time.Duration(again.ThrottleMillis) * time.Millisecond)
	third := ask[*kmsg.FetchResponse](e.dial(), 12, fetchRequest(topic, 1, 0))
	if len(third.Topics) != 1 {
		t.Errorf("third: %+v; want the records", third)
	}
}

func TestRequestsBeyondTheLimitAreThrottled(t *testing.T) {
	e, _ := limited(t, quota.Limits{Requests: 5}, "")
	c := e.dial()
	for range 4 {
		ask[*kmsg.ListGroupsResponse](c, 4, kmsg.NewPtrListGroupsRequest())
	}
	ask[*kmsg.ListGroupsResponse](c, 4, kmsg.NewPtrListGroupsRequest())
	if resp := ask[*kmsg.ListGroupsResponse](e.dial(), 4, kmsg.NewPtrListGroupsRequest()); resp.ThrottleMillis == 0 {
		t.Errorf("one too many: %+v", resp)
	}
}

// Q6: nodes of the installation are held to nothing.
func TestNodesAreNotHeldToLimits(t *testing.T) {
	l := quota.Limits{In: quota.Flow{Sustained: 1, Max: 1}, Out: quota.Flow{Sustained: 1, Max: 1}, Requests: 1, Connections: 1, ConnectionRate: 1,
		MessageBytes: 1, FetchBytes: 1, Partitions: 1, TopicChanges: 1}
	e, _ := limited(t, l, engine.Internal)
	for _, name := range []string{"a", "b", "c"} {
		resp := ask[*kmsg.CreateTopicsResponse](e.dial(), 7, createRequest(name, 2, 1))
		e.dial().wantCode(resp.Topics[0].ErrorCode, kerr.None)
		for range 3 {
			if wait := e.throttleOf(name, batch(t, 10, record.Options{})); wait != 0 {
				t.Fatalf("a node waits %v", wait)
			}
			if resp := ask[*kmsg.ListGroupsResponse](e.dial(), 4, kmsg.NewPtrListGroupsRequest()); resp.ThrottleMillis != 0 {
				t.Fatalf("a node is throttled: %+v", resp)
			}
		}
	}
	if got := e.api.Whole().Traffic(); got != (quota.Traffic{}) {
		t.Errorf("counted %+v", got)
	}
}

func TestPartitionsBeyondTheLimitAreRefused(t *testing.T) {
	for name, l := range map[string]quota.Limits{"quota": {Partitions: 5}, "broker": {Replicas: 5}} {
		e, _ := limited(t, l, "")
		c := e.dial()
		create := func(topic string, n int32, want kerr.Code) {
			t.Helper()
			resp := ask[*kmsg.CreateTopicsResponse](c, 7, createRequest(topic, n, 3))
			c.wantCode(resp.Topics[0].ErrorCode, want)
			if want == kerr.PolicyViolation && (resp.Topics[0].ErrorMessage == nil || !strings.Contains(*resp.Topics[0].ErrorMessage, "5")) {
				t.Errorf("%s: it is told %v", name, resp.Topics[0].ErrorMessage)
			}
		}
		grow := func(topic string, to int32, want kerr.Code) {
			t.Helper()
			q := kmsg.NewPtrCreatePartitionsRequest()
			q.TimeoutMillis = 5000
			in := kmsg.NewCreatePartitionsRequestTopic()
			in.Topic, in.Count = topic, to
			q.Topics = append(q.Topics, in)
			resp := ask[*kmsg.CreatePartitionsResponse](c, 3, q)
			c.wantCode(resp.Topics[0].ErrorCode, want)
		}
		_, err := e.api.consumerOffsets(context.Background()) // internal topics are not the clients'
		must(t, err)
		create("a", 6, kerr.PolicyViolation)
		create("a", 4, kerr.None)
		create("b", 2, kerr.PolicyViolation)
		grow("a", 6, kerr.PolicyViolation)
		grow("a", 5, kerr.None)
		create("b", 1, kerr.PolicyViolation)
		q := kmsg.NewPtrMetadataRequest()
		in := kmsg.NewMetadataRequestTopic()
		in.Topic = kmsg.StringPtr("c")
		q.Topics, q.AllowAutoTopicCreation = append(q.Topics, in), true
		if got := ask[*kmsg.MetadataResponse](c, 12, q).Topics[0].ErrorCode; kerr.Code(got) != kerr.PolicyViolation {
			t.Errorf("%s: made by the way: %v", name, kerr.Code(got))
		}
	}
}

func TestChangesOfTopicsBeyondTheRateAreRefused(t *testing.T) {
	e, clk := limited(t, quota.Limits{TopicChanges: 2}, "")
	c := e.dial()
	code := kerr.None
	made := 0
	for ; code == kerr.None && made < 100; made++ {
		resp := ask[*kmsg.CreateTopicsResponse](c, 7, createRequest("t"+strings.Repeat("x", made), 1, 1))
		code = kerr.Code(resp.Topics[0].ErrorCode)
	}
	if code != kerr.ThrottlingQuotaExceeded || made != 12 {
		t.Fatalf("the topic of number %d: %v", made, code)
	}
	clk.Advance(time.Second)
	resp := ask[*kmsg.CreateTopicsResponse](e.dial(), 7, createRequest("later", 1, 1))
	c.wantCode(resp.Topics[0].ErrorCode, kerr.None)
}

func TestMessageBeyondTheLimitIsRefused(t *testing.T) {
	records := batch(t, 100, record.Options{})
	e, _ := limited(t, quota.Limits{MessageBytes: int64(len(records)) - 1}, "")
	topic := e.create("orders", 1, nil)
	c := e.dial()
	resp := ask[*kmsg.ProduceResponse](c, 9, produceRequest(topic, 0, records))
	c.wantCode(resp.Topics[0].Partitions[0].ErrorCode, kerr.MessageTooLarge)
	resp = ask[*kmsg.ProduceResponse](c, 9, produceRequest(topic, 0, batch(t, 10, record.Options{})))
	c.wantCode(resp.Topics[0].Partitions[0].ErrorCode, kerr.None)
}

func TestConnectionsBeyondTheLimitAreTurnedAway(t *testing.T) {
	e, _ := limited(t, quota.Limits{Connections: 2}, "")
	var in []*conn
	for range 2 {
		c := e.dial()
		ask[*kmsg.ListGroupsResponse](c, 4, kmsg.NewPtrListGroupsRequest())
		in = append(in, c)
	}
	nc, err := net.Dial("tcp", e.addr)
	must(t, err)
	must(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the third: %v, want the end", err)
	}
	must(t, nc.Close())
	must(t, in[0].nc.Close())
	e.eventually(func() bool { return e.api.Whole().Traffic().Connections == 1 })
	ask[*kmsg.ListGroupsResponse](e.dial(), 4, kmsg.NewPtrListGroupsRequest())
}
