package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/wire"
	"millrace/secure/authz"
)

// produceRequest returns a Produce request of some topics, each with one partition whose records are given.
func produceRequest(version int16, topics map[string][]byte, order ...string) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 1000
	for _, name := range order {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = name
		copy(t.TopicID[:], name)
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = 7, topics[name]
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// produced answers a Produce request with an offset for each partition.
func produced(a asked) kmsg.Response {
	req := kmsg.NewPtrProduceRequest()
	req.Version = a.header.Version
	if err := req.ReadFrom(a.body); err != nil {
		panic(err)
	}
	resp := kmsg.NewPtrProduceResponse()
	for _, t := range req.Topics {
		out := kmsg.NewProduceResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			op := kmsg.NewProduceResponseTopicPartition()
			op.Partition, op.BaseOffset = p.Partition, int64(len(p.Records))
			out.Partitions = append(out.Partitions, op)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func noise(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestProducePassesInParts: what is refused of a Produce request does not reach the broker, what is allowed reaches it byte for byte (GW4),
// and the client is told of both.
func TestProducePassesInParts(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return produced(a) })
	for _, name := range []string{"open-1", "secret", "open-2"} {
		var id [16]byte
		copy(id[:], name)
		b.names[id] = name
	}
	f := open(t, b, nil)
	f.judge.deny(opWrite, "secret")
	p := f.dial()
	for version := wire.ProduceMin; version <= wire.ProduceMax; version++ {
		data := map[string][]byte{"open-1": noise(70_000, 1), "secret": noise(500, 2), "open-2": noise(300, 3)}
		req := produceRequest(version, data, "open-1", "secret", "open-2")
		resp := ask[*kmsg.ProduceResponse](p, req)
		codes := map[string]int16{}
		for _, topic := range resp.Topics {
			name := topic.Topic
			if version >= 13 {
				name = string(bytes.TrimRight(topic.TopicID[:], "\x00"))
			}
			codes[name] = topic.Partitions[0].ErrorCode
			if topic.Partitions[0].Partition != 7 {
				t.Errorf("partition %d", topic.Partitions[0].Partition)
			}
		}
		if len(codes) != 3 || codes["open-1"] != 0 || codes["open-2"] != 0 || codes["secret"] != int16(kerr.TopicAuthorizationFailed) {
			t.Errorf("version %d: codes %v", version, codes)
		}
		all := b.requests()
		last := all[len(all)-1]
		got := kmsg.NewPtrProduceRequest()
		got.Version = version
		if err := got.ReadFrom(last.body); err != nil {
			t.Fatal(err)
		}
		want := produceRequest(version, data, "open-1", "open-2")
		if !bytes.Equal(want.AppendTo(nil), last.body) {
			t.Errorf("version %d: the broker got another request", version)
		}
	}
}

// TestAllRefusedProduceStaysHere and is answered; without acks the connection ends, as it does with Kafka.
func TestAllRefusedProduceStaysHere(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return produced(a) })
	f := open(t, b, nil)
	f.judge.deny(opWrite, "secret")
	p := f.dial()
	req := produceRequest(9, map[string][]byte{"secret": noise(10, 1)}, "secret")
	if resp := ask[*kmsg.ProduceResponse](p, req); resp.Topics[0].Partitions[0].ErrorCode != int16(kerr.TopicAuthorizationFailed) {
		t.Errorf("%+v", resp)
	}
	req.Acks = 0
	p.send(req)
	p.ended()
	if n := len(b.requests()); n != 0 {
		t.Errorf("the broker got %d requests", n)
	}
}

// TestTransactionalRecordsNeedTheirID looks into the batch: the id alone is not what Kafka goes by.
func TestTransactionalRecordsNeedTheirID(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return produced(a) })
	f := open(t, b, nil)
	f.judge.set(func(a authz.Access) bool { return a.Resource != kmsg.ACLResourceTypeTransactionalId })
	p := f.dial()
	builder := record.NewBuilder(record.Options{Producer: &record.Producer{ID: 5}, Transactional: true})
	if err := builder.Add(1, nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	batch, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []*string{nil, kmsg.StringPtr("tx")} {
		req := produceRequest(9, map[string][]byte{"open": batch}, "open")
		req.TransactionID = id
		if resp := ask[*kmsg.ProduceResponse](p, req); resp.Topics[0].Partitions[0].ErrorCode != int16(kerr.TransactionalIDAuthorizationFailed) {
			t.Errorf("%+v", resp)
		}
	}
	if n := len(b.requests()); n != 0 {
		t.Errorf("the broker got %d requests", n)
	}
}

// TestOrder sends requests of which some are answered by the gateway at once and others by a slow broker: the answers come in their
// order (GW3).
func TestOrder(t *testing.T) {
	let := make(chan struct{}, 100)
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response {
		<-let
		resp := kmsg.ResponseForKey(a.header.Key)
		return resp
	})
	f := open(t, b, nil)
	f.judge.deny(opRead, "secret")
	p := f.dial()
	const n = 60
	var sent []int32
	slow := 0
	for i := range n {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version, req.Group = 4, "open"
		if i%3 == 1 {
			req.Group = "secret"
		} else {
			slow++
		}
		sent = append(sent, p.send(req))
	}
	for range slow {
		let <- struct{}{}
	}
	for i, want := range sent {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version = 4
		got, body, err := p.next(req)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("answer %d is to request %d, want %d", i, got, want)
		}
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.Version = 4
		if err := resp.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		if refused := resp.ErrorCode == int16(kerr.GroupAuthorizationFailed); refused != (i%3 == 1) {
			t.Errorf("answer %d has code %d", i, resp.ErrorCode)
		}
	}
}

// fetchBody is a Fetch response of one topic, with records.
func fetchBody(version int16, session int32, name string, records []byte) []byte {
	var e wire.FetchEncoder
	topic := wire.FetchTopic{Name: name, Partitions: []wire.FetchPartition{{Index: 3, HighWatermark: 9, Records: net.Buffers{records}}}}
	copy(topic.ID[:], name)
	bufs, _, err := e.Encode(version, &wire.FetchResponse{
		SessionID: session, Topics: []wire.FetchTopic{topic},
		Nodes: []wire.NodeEndpoint{{NodeID: 1, Host: "inside.example", Port: 9}},
	})
	if err != nil {
		panic(err)
	}
	return bytes.Join(bufs, nil)
}

// raw writes an answer whose body is given.
func raw(nc net.Conn, a asked, body []byte) {
	out := wire.AppendResponseHeader(make([]byte, 4), a.header.Key, a.header.Version, a.header.CorrelationID)
	out = append(out, body...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	_, _ = nc.Write(out)
}

func fetchRequest(version int16, session, epoch int32, names ...string) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.SessionID, req.SessionEpoch = version, 1<<30, session, epoch
	for _, name := range names {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = name
		copy(t.TopicID[:], name)
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition = 3
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// TestFetchPassesInParts: records come byte for byte, what is refused is told beside them, sessions are the broker's only while everything is
// allowed, and a session that holds what may no longer be read ends.
func TestFetchPassesInParts(t *testing.T) {
	data := noise(200_000, 9)
	b := newBroker(t, func(nc net.Conn, a asked) kmsg.Response {
		raw(nc, a, fetchBody(a.header.Version, 77, "open", data))
		return nil
	})
	for _, name := range []string{"open", "secret"} {
		var id [16]byte
		copy(id[:], name)
		b.names[id] = name
	}
	f := open(t, b, func(_ *Config, w *World) {
		w.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, b.address())
		}
	})
	for version := wire.FetchMin; version <= wire.FetchMax; version++ {
		f.judge.deny(opRead, "secret")
		p := f.dial()
		resp := ask[*kmsg.FetchResponse](p, fetchRequest(version, 0, 0, "open", "secret"))
		if len(resp.Topics) != 2 || !bytes.Equal(resp.Topics[0].Partitions[0].RecordBatches, data) {
			t.Fatalf("version %d: %d topics, records differ", version, len(resp.Topics))
		}
		if code := resp.Topics[1].Partitions[0].ErrorCode; code != int16(kerr.TopicAuthorizationFailed) {
			t.Errorf("version %d: code %d", version, code)
		}
		all := b.requests()
		got := kmsg.NewPtrFetchRequest()
		got.Version = version
		if err := got.ReadFrom(all[len(all)-1].body); err != nil {
			t.Fatal(err)
		}
		if len(got.Topics) != 1 || version >= 7 && got.SessionEpoch != -1 || got.MaxBytes != f.cfg.FetchMaxBytes {
			t.Errorf("version %d: the broker got %+v", version, got)
		}
		resp = ask[*kmsg.FetchResponse](p, fetchRequest(version, 0, 0, "open"))
		if !bytes.Equal(resp.Topics[0].Partitions[0].RecordBatches, data) || version >= 7 && resp.SessionID != 77 {
			t.Errorf("version %d: whole answer differs", version)
		}
		if len(resp.Brokers) > 0 && resp.Brokers[0].Host == "inside.example" {
			t.Errorf("version %d: address of the broker", version)
		}
		if version < 7 {
			continue
		}
		before := len(b.requests())
		if resp = ask[*kmsg.FetchResponse](p, fetchRequest(version, 77, 1, "secret")); resp.ErrorCode != int16(kerr.FetchSessionIDNotFound) {
			t.Errorf("version %d: code %d for something refused in a session", version, resp.ErrorCode)
		}
		if len(b.requests()) != before {
			t.Errorf("version %d: it has passed", version)
		}
		f.judge.deny(opRead, "open")
		if resp = ask[*kmsg.FetchResponse](p, fetchRequest(version, 77, 1)); resp.ErrorCode != int16(kerr.FetchSessionIDNotFound) || len(resp.Topics) != 0 {
			t.Errorf("version %d: code %d, %d topics for a session with something revoked", version, resp.ErrorCode, len(resp.Topics))
		}
	}
}

// TestUnknownIDIsRefusedHere: an id without a name cannot be judged, so it does not pass.
func TestUnknownIDIsRefusedHere(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, nil)
	p := f.dial()
	if resp := ask[*kmsg.FetchResponse](p, fetchRequest(13, 0, -1, "nobody")); resp.Topics[0].Partitions[0].ErrorCode != int16(kerr.UnknownTopicID) {
		t.Errorf("%+v", resp)
	}
	if n := len(b.requests()); n != 0 {
		t.Errorf("the broker got %d requests", n)
	}
}

// TestAllowList: who is not on the list does not get in, and who is taken off it is cut off.
func TestAllowList(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, nil)
	p := f.dial()
	ask[*kmsg.HeartbeatResponse](p, kmsg.NewPtrHeartbeatRequest())
	if err := f.Allow("CLIENT", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err != nil {
		t.Fatal(err)
	}
	p.ended()
	f.dial().ended()
	if err := f.Allow("CLIENT", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}); err != nil {
		t.Fatal(err)
	}
	ask[*kmsg.HeartbeatResponse](f.dial(), kmsg.NewPtrHeartbeatRequest())
	if err := f.Allow("OTHER", nil); err == nil {
		t.Error("no error for a listener that there is not")
	}
}

// TestDrain: what is asked when the gateway stops is still answered.
func TestDrain(t *testing.T) {
	asking, let := make(chan struct{}), make(chan struct{})
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response {
		close(asking)
		<-let
		return kmsg.ResponseForKey(a.header.Key)
	})
	f := open(t, b, nil)
	p := f.dial()
	req := kmsg.NewPtrHeartbeatRequest()
	id := p.send(req)
	<-asking
	var closed sync.WaitGroup
	closed.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	for f.Ready() == nil { // until Close has begun
		if nc, err := net.Dial("tcp", f.Bootstrap("CLIENT")); err != nil {
			break
		} else {
			nc.Close()
		}
	}
	close(let)
	if got, _, err := p.next(req); err != nil || got != id {
		t.Errorf("answer to %d: %v", got, err)
	}
	p.ended()
	closed.Wait()
}

// TestQuotaIsTold: the throttle time is in the answer of Produce and Fetch.
func TestQuotaIsTold(t *testing.T) {
	b := newBroker(t, func(nc net.Conn, a asked) kmsg.Response {
		if a.header.Key == int16(kmsg.Produce) {
			return produced(a)
		}
		raw(nc, a, fetchBody(a.header.Version, 0, "open", noise(20_000, 1)))
		return nil
	})
	f := open(t, b, func(c *Config, _ *World) { c.ProduceBytesPerSecond, c.FetchBytesPerSecond = 10_000, 10_000 })
	resp := ask[*kmsg.ProduceResponse](f.dial(), produceRequest(8, map[string][]byte{"open": noise(12_000, 1)}, "open"))
	if resp.ThrottleMillis < 100 || resp.ThrottleMillis > 400 {
		t.Errorf("produce: %d ms", resp.ThrottleMillis)
	}
	fetched := ask[*kmsg.FetchResponse](f.dial(), fetchRequest(11, 0, -1, "open"))
	if fetched.ThrottleMillis < 900 || fetched.ThrottleMillis > 1200 {
		t.Errorf("fetch: %d ms", fetched.ThrottleMillis)
	}
}

// TestTrail: an administrative call is on record, with who and what, refused or not; nothing of its values is.
func TestTrail(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, nil)
	p := f.dial()
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.SaltedPassword, u.Salt = "bob", []byte("hush-hush"), []byte("salty")
	req.Upsertions = append(req.Upsertions, u)
	ask[*kmsg.AlterUserSCRAMCredentialsResponse](p, req)
	f.judge.set(func(authz.Access) bool { return false })
	ask[*kmsg.AlterUserSCRAMCredentialsResponse](p, req)
	f.events.mu.Lock()
	defer f.events.mu.Unlock()
	if len(f.events.all) != 2 {
		t.Fatalf("%d events", len(f.events.all))
	}
	if e := f.events.all[0]; e.Outcome != "accepted" || e.Principal != "User:alice" || e.Action != "kafka:AlterUserSCRAMCredentials" {
		t.Errorf("%+v", e)
	}
	if e := f.events.all[1]; e.Outcome != "refused" || e.Resource != "cluster/kafka-cluster" {
		t.Errorf("%+v", e)
	}
	text := fmt.Sprintf("%+v %s", f.events.all, f.log)
	for _, secret := range []string{"hush-hush", "salty"} {
		b := []byte(secret)
		for _, form := range []string{secret, strings.Trim(fmt.Sprint(b), "[]"), base64.StdEncoding.EncodeToString(b), hex.EncodeToString(b)} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
				t.Errorf("a secret is on record, as %s", form)
			}
		}
	}
}
