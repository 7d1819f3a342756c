package api

import (
	"context"
	"log/slog"
	"net"
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
	e = newEnv(t, o)
	return e, func() meter.Row {
		t.Helper()
		must(t, e.server.Close(context.Background())) // a broker counts what it has written, and so until it writes no more
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

// In a session the answer has only partitions of which there is something new, each of which counts once.
func TestUsageOfFetchSessions(t *testing.T) {
	e, used := metered(t, options{})
	topic := e.create("orders", 3, nil)
	c := e.dial()
	fetch := fetchRequest(topic, 3, 0)
	fetch.SessionEpoch, fetch.MinBytes = 0, 0
	first := ask[*kmsg.FetchResponse](c, 12, fetch)
	c.produce(topic, 2, 100)
	next := kmsg.NewPtrFetchRequest()
	next.ReplicaID, next.MaxBytes, next.SessionID, next.SessionEpoch = -1, 1<<20, first.SessionID, 1
	out := 0
	for _, t := range ask[*kmsg.FetchResponse](c, 12, next).Topics {
		for _, p := range t.Partitions {
			out += len(p.RecordBatches)
		}
	}
	if u := used(); first.SessionID == 0 || out == 0 || u.Out != int64(out) {
		t.Errorf("session %d: counted %d bytes out, the client got %d", first.SessionID, u.Out, out)
	}
}

// A client that goes while its first fetch waits is sent neither that answer nor the one behind it: neither is counted.
func TestWhoHasGoneUsesNothing(t *testing.T) {
	e, used := metered(t, options{})
	topic := e.create("orders", 2, nil)
	gone, writer := e.dial(), e.dial()
	writer.produce(topic, 1, 100)
	waiting, behind := fetchRequest(topic, 1, 0), fetchRequest(topic, 2, 0)
	waiting.MaxWaitMillis, waiting.MinBytes = 60_000, 1
	for _, q := range []*kmsg.FetchRequest{waiting, behind} {
		q.SetVersion(12)
		gone.send(q.Key(), 12, q.AppendTo(nil))
	}
	e.eventually(func() bool { return e.server.Metrics().Requests[waiting.Key()].Load() > 0 })
	must(t, gone.nc.(*net.TCPConn).SetLinger(0)) // the end of its machine, and not a farewell, which may come after an answer
	must(t, gone.nc.Close())
	writer.produce(topic, 0, 100)
	if u := used(); u.Out != 0 {
		t.Errorf("counted %d bytes out, and nobody got them", u.Out)
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
