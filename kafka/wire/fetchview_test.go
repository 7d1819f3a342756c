package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// randomFetch is a response with everything in it.
func randomFetch(rng *rand.Rand) *FetchResponse {
	r := &FetchResponse{SessionID: rng.Int32()}
	for range rng.IntN(4) {
		t := FetchTopic{Name: fmt.Sprintf("topic-%d", rng.IntN(100))}
		copy(t.ID[:], t.Name)
		for range rng.IntN(4) {
			p := FetchPartition{Index: rng.Int32N(100), ErrorCode: int16(rng.IntN(3)), PreferredReadReplica: -1, NullAborted: rng.IntN(2) == 0}
			for range rng.IntN(3) {
				p.Aborted = append(p.Aborted, AbortedTransaction{ProducerID: rng.Int64(), FirstOffset: rng.Int64()})
			}
			if rng.IntN(2) == 0 {
				p.CurrentLeader = &LeaderEpoch{LeaderID: 1, Epoch: 2}
			}
			p.Records = net.Buffers{bytes.Repeat([]byte{7}, rng.IntN(5000))}
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	for i := range rng.IntN(3) {
		r.Nodes = append(r.Nodes, NodeEndpoint{NodeID: int32(i), Host: "inside", Port: 1, Rack: "r"})
	}
	return r
}

// TestFetchChange: a changed response is what would have been encoded with the change made before.
func TestFetchChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		for version := FetchMin; version <= FetchMax; version++ {
			r := randomFetch(rng)
			var e, again FetchEncoder
			bufs, _, err := e.Encode(version, r)
			if err != nil {
				t.Fatal(err)
			}
			body := bytes.Join(bufs, nil)
			v, err := ViewFetch(version, body)
			if err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			more := FetchTopic{Name: "more", Partitions: []FetchPartition{{Index: 1, ErrorCode: 29, NullAborted: true, PreferredReadReplica: -1}}}
			change := FetchChange{ThrottleMillis: 5, SessionID: 6, Nodes: []NodeEndpoint{{NodeID: 9, Host: "outside", Port: 2}}, More: []FetchTopic{more}}
			want := *r
			want.ThrottleMillis, want.SessionID, want.Nodes = 5, 6, change.Nodes
			want.Topics = nil
			drop := rng.IntN(2) == 0
			i := 0
			for topic := range v.Topics() {
				if drop && i%2 == 0 {
					i++
					continue
				}
				if drop {
					change.Only = append(change.Only, topic)
				}
				want.Topics = append(want.Topics, r.Topics[i])
				i++
			}
			if drop && change.Only == nil {
				change.Only = []FetchedTopic{}
			}
			want.Topics = append(want.Topics, more)
			got, err := v.Change(change)
			if err != nil {
				t.Fatal(err)
			}
			wanted, _, err := again.Encode(version, &want)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(bytes.Join(got, nil), bytes.Join(wanted, nil)) {
				t.Fatalf("version %d:\n%x\nwant\n%x", version, bytes.Join(got, nil), bytes.Join(wanted, nil))
			}
			if version >= 16 && len(v.Nodes) != len(r.Nodes) {
				t.Errorf("%d nodes, want %d", len(v.Nodes), len(r.Nodes))
			}
		}
	}
}

func FuzzViewFetch(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for version := FetchMin; version <= FetchMax; version++ {
		var e FetchEncoder
		bufs, _, err := e.Encode(version, randomFetch(rng))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(version), bytes.Join(bufs, nil))
	}
	f.Fuzz(func(t *testing.T, version uint8, body []byte) {
		v, err := ViewFetch(int16(version), body)
		if err != nil {
			return
		}
		n := 0
		for topic := range v.Topics() {
			n += len(topic.Raw)
			for p := range topic.Partitions() {
				n += 0 * len(p.Records)
			}
		}
		if n > len(body) {
			t.Errorf("topics of %d bytes in %d", n, len(body))
		}
		bufs, err := v.Change(FetchChange{SessionID: v.SessionID})
		if err != nil {
			t.Fatal(err)
		}
		if w, err := ViewFetch(int16(version), bytes.Join(bufs, nil)); err != nil || w.TopicCount() != v.TopicCount() || len(w.Nodes) != 0 {
			t.Errorf("the changed response: %v", err)
		}
	})
}

// TestProduceOnly: a request without some of its topics is what would have been sent without them.
func TestProduceOnly(t *testing.T) {
	for version := ProduceMin; version <= ProduceMax; version++ {
		for _, id := range []*string{nil, kmsg.StringPtr("tx")} {
			req := kmsg.NewPtrProduceRequest()
			req.Version, req.Acks, req.TransactionID = version, -1, id
			for i := range 5 {
				topic := kmsg.NewProduceRequestTopic()
				topic.Topic, topic.TopicID = fmt.Sprint(i), [16]byte{byte(i)}
				p := kmsg.NewProduceRequestTopicPartition()
				p.Records = bytes.Repeat([]byte{byte(i)}, 1000*i)
				topic.Partitions = append(topic.Partitions, p)
				req.Topics = append(req.Topics, topic)
			}
			view, err := DecodeProduce(version, req.AppendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			var kept []ProduceTopic
			i := 0
			for topic := range view.Topics() {
				if i%2 == 1 {
					kept = append(kept, topic)
				}
				i++
			}
			req.Topics = []kmsg.ProduceRequestTopic{req.Topics[1], req.Topics[3]}
			if got := bytes.Join(view.Only(nil, kept), nil); !bytes.Equal(got, req.AppendTo(nil)) {
				t.Errorf("version %d: %x", version, got)
			}
		}
	}
}

// fillAny puts something into every field, with n elements in each list.
func fillAny(v reflect.Value, rng *rand.Rand, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			x := reflect.New(v.Type().Elem())
			fillAny(x.Elem(), rng, depth+1)
			v.Set(x)
		}
	case reflect.Struct:
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				fillAny(v.Field(i), rng, depth+1)
			}
		}
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), rng.IntN(3), 3)
		for i := range s.Len() {
			fillAny(s.Index(i), rng, depth+1)
		}
		v.Set(s)
	case reflect.String:
		v.SetString(fmt.Sprint(rng.IntN(1000)))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rng.IntN(100)))
	}
}

// TestDecodeResponse: the guard lets through every response that kmsg writes, in every version, whole and not cut.
func TestDecodeResponse(t *testing.T) {
	d := NewDecoder(0)
	rng := rand.New(rand.NewPCG(5, 6))
	for key := range int16(kmsg.MaxKey) + 1 {
		resp := kmsg.ResponseForKey(key)
		if resp == nil || int(key) >= maxKeys {
			continue
		}
		for version := int16(0); version <= resp.MaxVersion(); version++ {
			for range 20 {
				resp.SetVersion(version)
				fillAny(reflect.ValueOf(resp).Elem(), rng, 0)
				body := resp.AppendTo(nil)
				got, err := d.DecodeResponse(key, version, body)
				if err != nil {
					t.Fatalf("key %d version %d: %v", key, version, err)
				}
				if !bytes.Equal(got.AppendTo(nil), body) {
					t.Fatalf("key %d version %d: another response", key, version)
				}
			}
		}
	}
	if _, err := d.DecodeResponse(3, 12, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 7}); err == nil {
		t.Error("a count of 2 billion brokers was believed")
	}
}
