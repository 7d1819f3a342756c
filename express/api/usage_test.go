package api

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/engine"
	"millrace/express/meter"
	"millrace/express/quota"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// metered is a broker that counts what clients use; used ends the counting and tells of it.
func metered(t *testing.T, o options) (e *env, used func() meter.Row) {
	objects := object.NewMemory(clock.System{})
	o.usage = meter.New(meter.Config{Cluster: "c", Broker: selfID, Incarnation: 1}, meter.World{
		Objects: objects, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Stored: func() []meter.Stored { return nil },
	})
	return newEnv(t, o), func() meter.Row {
		t.Helper()
		must(t, o.usage.Close(context.Background()))
		u, err := meter.Report(context.Background(), objects, meter.Query{From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(time.Hour)})
		must(t, err)
		return u.Total()
	}
}

// What is refused or withheld is not counted; what is not answered, and what share groups get, is.
func TestUsageIsWhatClientsSentAndGot(t *testing.T) {
	clk := clock.NewManual(time.Unix(1_700_000_000, 0))
	e, used := metered(t, options{clock: clk, config: Config{Limits: quota.Limits{Out: quota.Flow{Sustained: 1000, Max: 1000}}}})
	topic := e.create("orders", 1, nil)
	records := batch(t, 100, record.Options{})
	c := e.dial()
	in, out := 0, 0
	send := func(acks int16, batch []byte, want kerr.Code) {
		t.Helper()
		q := produceRequest(topic, 0, batch)
		q.Acks = acks
		resp := ask[*kmsg.ProduceResponse](c, 9, q)
		c.wantCode(resp.Topics[0].Partitions[0].ErrorCode, want)
	}
	send(-1, records, kerr.None)
	in += len(records)
	broken := append([]byte(nil), records...)
	broken[len(broken)-1] ^= 1
	send(-1, broken, kerr.CorruptMessage)
	silent := produceRequest(topic, 0, records)
	silent.Acks = 0
	silent.SetVersion(9)
	c.send(silent.Key(), 9, silent.AppendTo(nil))
	in += len(records)
	send(1, records, kerr.None) // comes behind it
	in += len(records)

	got := func() int {
		resp := ask[*kmsg.FetchResponse](e.dial(), 12, fetchRequest(topic, 1, 0))
		n := 0
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				n += len(p.RecordBatches)
			}
		}
		return n
	}
	first := got()
	out += first
	if withheld := got(); first == 0 || withheld != 0 {
		t.Fatalf("%d bytes, then %d; want some, then none", first, withheld)
	}
	clk.Advance(time.Minute)
	out += got()
	if u := used(); u.In != int64(in) || u.Out != int64(out) {
		t.Errorf("counted %d bytes in and %d out, clients sent %d and got %d", u.In, u.Out, in, out)
	}
}

func TestNodesUseNothing(t *testing.T) {
	e, used := metered(t, options{listener: engine.Internal})
	topic := e.create("orders", 1, nil)
	e.dial().produce(topic, 0, 100)
	ask[*kmsg.FetchResponse](e.dial(), 12, fetchRequest(topic, 1, 0))
	if u := used(); u.In != 0 || u.Out != 0 {
		t.Errorf("counted %+v", u)
	}
}
