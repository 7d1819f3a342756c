package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// newSession asks for a session.
func newSession(tp *catalog.Topic) *kmsg.FetchRequest {
	q := fetchRequest(tp, 2, 0)
	q.SessionEpoch = 0
	return q
}

// FuzzHandle sends one request of any key and version to a whole broker. The connection is either answered or
// closed; the broker goes on, and what it must not log it does not log.
func FuzzHandle(f *testing.F) {
	e := newEnv(f, options{})
	tp := e.create("orders", 2, nil)
	keys := make([]int16, 0, len(e.api.table))
	for key, entry := range e.api.table {
		keys = append(keys, key)
		for _, version := range []int16{entry.min, entry.max} {
			q := kmsg.RequestForKey(key)
			q.SetVersion(version)
			f.Add(key, version, q.AppendTo(nil))
		}
	}
	slices.Sort(keys)
	for _, q := range []kmsg.Request{
		produceRequest(tp, 0, batch(f, 2, record.Options{})), fetchRequest(tp, 2, 0), newSession(tp),
		metadataRequest("orders", "x"), createRequest("fuzz", 2, 1), describeConfigsRequest(2, "orders"),
		describeConfigsRequest(4, "1"),
	} {
		for _, version := range []int16{9, 12, 13, 4, 7} {
			if entry := e.api.table[q.Key()]; version >= entry.min && version <= entry.max {
				q.SetVersion(version)
				f.Add(q.Key(), version, q.AppendTo(nil))
			}
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		entry, ok := e.api.table[key]
		if !ok || version < entry.min || version > entry.max || key == int16(kmsg.JoinGroup) && len(body) > 0 {
			return // a join may wait for long, by right
		}
		if key == int16(kmsg.CreateTopics) && len(e.catalog.Topics()) > 500 {
			return
		}
		if at := map[bool]int{true: 0, false: 4}[version >= 15]; key == int16(kmsg.Fetch) && len(body) >= at+4 {
			clear(body[at : at+4]) // how long it may wait
		}
		c := e.dialFor(t)
		c.send(key, version, body)
		// The second request shows that the first was dealt with, and is answered unless it closed.
		check := kmsg.NewPtrApiVersionsRequest()
		id := c.send(18, 0, check.AppendTo(nil))
		for {
			got, reply, err := c.receive(key, version)
			if err != nil {
				break
			}
			if got == id {
				break
			}
			if key == int16(kmsg.Produce) {
				checkProduced(t, version, reply)
			}
		}
		if n := e.logs.count("handler panicked") + e.logs.count("error without a code") + e.logs.count("reply not encoded"); n > 0 {
			t.Fatalf("key %d version %d % x: %v", key, version, body, e.logs.counts)
		}
	})
}

// checkProduced holds an answer to A2.
func checkProduced(t *testing.T, version int16, body []byte) {
	t.Helper()
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(version)
	if resp.ReadFrom(body) != nil {
		t.Fatal("an answer that cannot be read")
	}
	for _, tp := range resp.Topics {
		for _, p := range tp.Partitions {
			if (kerr.Code(p.ErrorCode) != kerr.None) != (p.BaseOffset == -1) {
				t.Fatalf("%+v", p)
			}
		}
	}
}
