package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// toKmsg builds kmsg's form of what we decoded.
func toKmsg(p *ProduceRequest) *kmsg.ProduceRequest {
	k := kmsg.NewPtrProduceRequest()
	k.SetVersion(p.Version)
	if p.TransactionalID != nil {
		k.TransactionID = kmsg.StringPtr(string(p.TransactionalID))
	}
	k.Acks, k.TimeoutMillis = p.Acks, p.TimeoutMillis
	for t := range p.Topics() {
		kt := kmsg.NewProduceRequestTopic()
		kt.Topic, kt.TopicID = string(t.Name), t.ID
		for part := range t.Partitions() {
			kp := kmsg.NewProduceRequestTopicPartition()
			kp.Partition, kp.Records = part.Index, part.Records
			kt.Partitions = append(kt.Partitions, kp)
		}
		k.Topics = append(k.Topics, kt)
	}
	return k
}

func TestProduceAgreesWithKmsg(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for version := ProduceMin; version <= ProduceMax; version++ {
		for range 50 {
			k := kmsg.NewPtrProduceRequest()
			fill(rnd, reflect.ValueOf(k).Elem(), 4)
			k.SetVersion(version)
			if IsFlexible(KeyProduce, version) {
				k.UnknownTags.Set(7, []byte("?"))
				for i := range k.Topics {
					k.Topics[i].UnknownTags.Set(9, nil)
					for j := range k.Topics[i].Partitions {
						k.Topics[i].Partitions[j].UnknownTags.Set(300, []byte("tag"))
					}
				}
			}
			body := k.AppendTo(nil)
			p, err := DecodeProduce(version, body)
			if err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			for i := range k.Topics {
				k.Topics[i].UnknownTags = kmsg.Tags{}
				for j := range k.Topics[i].Partitions {
					k.Topics[i].Partitions[j].UnknownTags = kmsg.Tags{}
				}
			}
			k.UnknownTags = kmsg.Tags{}
			if got, want := toKmsg(&p).AppendTo(nil), k.AppendTo(nil); !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
			parts := 0
			for i := range k.Topics {
				parts += len(k.Topics[i].Partitions)
			}
			if p.Partitions != parts || p.TopicCount() != len(k.Topics) {
				t.Fatalf("version %d: %d topics, %d partitions", version, p.TopicCount(), p.Partitions)
			}
			for cut := range body {
				if _, err := DecodeProduce(version, body[:cut]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("version %d cut at %d of %d: %v", version, cut, len(body), err)
				}
			}
		}
	}
}

func TestProduceVersions(t *testing.T) {
	for _, v := range []int16{-1, 0, 2, 14} {
		if _, err := DecodeProduce(v, nil); !errors.Is(err, ErrVersion) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

func TestProduceRefusesNull(t *testing.T) {
	for name, body := range map[string][]byte{
		"topics":     {0xff, 0xff, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		"topic name": {0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0},
		"partitions": {0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := DecodeProduce(3, body); !errors.Is(err, ErrMalformed) {
			t.Errorf("null %s: %v", name, err)
		}
	}
}

// produceBody is one partition with 64 KiB of records, in the version of today's Java client.
func produceBody(version int16) []byte {
	k := kmsg.NewPtrProduceRequest()
	k.SetVersion(version)
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "orders"
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = make([]byte, 64<<10)
	topic.Partitions = append(topic.Partitions, part)
	k.Topics = append(k.Topics, topic)
	return k.AppendTo(nil)
}

// produceAll decodes and goes over everything.
func produceAll(tb testing.TB, version int16, body []byte) (n int) {
	p, err := DecodeProduce(version, body)
	if err != nil {
		tb.Fatal(err)
	}
	for t := range p.Topics() {
		for part := range t.Partitions() {
			n += len(part.Records)
		}
	}
	return n
}

func TestProduceDoesNotAllocate(t *testing.T) {
	body := produceBody(12)
	if n := testing.AllocsPerRun(100, func() { produceAll(t, 12, body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestProduceRecordsAreSlicesOfTheBody(t *testing.T) {
	body := produceBody(12)
	p, err := DecodeProduce(12, body)
	if err != nil {
		t.Fatal(err)
	}
	for topic := range p.Topics() {
		for part := range topic.Partitions() {
			part.Records[5] = 0x5a
		}
	}
	if !bytes.Contains(body, []byte{0x5a}) {
		t.Error("records were copied")
	}
}

func FuzzProduce(f *testing.F) {
	for v := ProduceMin; v <= ProduceMax; v++ {
		f.Add(v, produceBody(v)[:60])
		k := kmsg.NewPtrProduceRequest()
		fill(rand.New(rand.NewPCG(1, uint64(v))), reflect.ValueOf(k).Elem(), 2)
		k.SetVersion(v)
		f.Add(v, k.AppendTo(nil))
	}
	d := NewDecoder(0)
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		p, err := DecodeProduce(version, body)
		if err != nil {
			return
		}
		n := 0
		for topic := range p.Topics() {
			for range topic.Partitions() {
				n++
			}
		}
		if n != p.Partitions || n > len(body) {
			t.Fatalf("%d partitions, %d counted, of %d bytes", n, p.Partitions, len(body))
		}
		other, err := d.Decode(KeyProduce, version, body)
		if err != nil && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("the other decoder says %v", err)
		}
		if err == nil && len(other.(*kmsg.ProduceRequest).Topics) != p.TopicCount() {
			t.Fatal("the other decoder sees other topics")
		}
	})
}

func BenchmarkDecodeProduce(b *testing.B) {
	body := produceBody(12)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		produceAll(b, 12, body)
	}
}
