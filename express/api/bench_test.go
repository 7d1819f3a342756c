package api

import (
	"log/slog"
	"testing"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/express/meter"
	"millrace/express/quota"
	"millrace/kafka/record"
)

// BenchmarkProduce sends one batch of 16 KiB a request and keeps sixteen requests under way.
func BenchmarkProduce(b *testing.B) { benchmarkProduce(b, options{}) }

// BenchmarkProduceMetered is BenchmarkProduce at a broker that counts what clients use and holds them to limits that are far away.
func BenchmarkProduceMetered(b *testing.B) {
	objects := object.NewMemory(clock.System{})
	far := quota.Flow{Sustained: 1 << 40, Max: 1 << 40}
	benchmarkProduce(b, options{config: Config{Limits: quota.Limits{In: far, Out: far, Requests: 1 << 30}}, usage: meter.New(meter.Config{}, meter.World{
		Objects: objects, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Stored: func() []meter.Stored { return nil },
	})})
}

func benchmarkProduce(b *testing.B, o options) {
	e := newEnv(b, o)
	tp := e.create("orders", 1, map[string]string{"max.message.bytes": "10000000"})
	c := e.dial()
	builder := record.NewBuilder(record.Options{})
	for range 16 {
		must(b, builder.Add(1_700_000_000_000, []byte("key"), make([]byte, 1000)))
	}
	records, err := builder.Build(nil)
	must(b, err)
	q := produceRequest(tp, 0, records)
	q.SetVersion(9)
	body := q.AppendTo(nil)
	b.SetBytes(int64(len(records)))
	b.ReportAllocs()
	const underWay = 16
	for i := range b.N + underWay {
		if i < b.N {
			c.send(0, 9, body)
		}
		if i >= underWay {
			if _, _, err := c.receive(0, 9); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkFetch reads a megabyte a request, in a session of 100 partitions.
func BenchmarkFetch(b *testing.B) {
	e := newEnv(b, options{})
	tp := e.create("orders", 100, nil)
	c := e.dial()
	for range 4 {
		c.produce(tp, 7, 5000)
	}
	q := fetchRequest(tp, 100, 0)
	q.SetVersion(12)
	body := q.AppendTo(nil)
	c.send(1, 12, body)
	_, reply, err := c.receive(1, 12)
	must(b, err)
	b.SetBytes(int64(len(reply)))
	b.ReportAllocs()
	for b.Loop() {
		c.send(1, 12, body)
		if _, _, err := c.receive(1, 12); err != nil {
			b.Fatal(err)
		}
	}
}
