package quota

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestQuota: a user's bytes are bounded by the cluster's quota for it, and the client is told.
func TestQuota(t *testing.T) {
	now := time.Unix(1000, 0)
	q := New(1000, 0)
	entry := func(value float64, names ...*string) kmsg.DescribeClientQuotasResponseEntry {
		e := kmsg.NewDescribeClientQuotasResponseEntry()
		for i, kind := range []string{"user", "client-id"} {
			if i < len(names) {
				x := kmsg.NewDescribeClientQuotasResponseEntryEntity()
				x.Type, x.Name = kind, names[i]
				e.Entity = append(e.Entity, x)
			}
		}
		v := kmsg.NewDescribeClientQuotasResponseEntryValue()
		v.Key, v.Value = "producer_byte_rate", value
		e.Values = append(e.Values, v)
		return e
	}
	name := kmsg.StringPtr
	q.Follow([]kmsg.DescribeClientQuotasResponseEntry{
		entry(10, name("alice")), entry(20, name("alice"), name("app")), entry(30, name("alice"), nil), entry(40, nil), entry(50, nil, name("app")), entry(60, nil, nil),
	})
	for _, c := range []struct {
		user, client string
		want         float64
	}{{"alice", "app", 20}, {"alice", "other", 30}, {"bob", "app", 50}, {"bob", "other", 60}} {
		if got, _ := q.find(false, c.user, c.client); got != c.want {
			t.Errorf("%s/%s: %v, want %v", c.user, c.client, got, c.want)
		}
	}
	if got, _ := q.find(true, "alice", "app"); got != 0 {
		t.Errorf("fetch: %v", got)
	}
	of := key{user: "x"}
	if wait := q.charge(of, 1000, 1000, now); wait != 0 {
		t.Errorf("the first second's bytes wait for %v", wait)
	}
	if wait := q.charge(of, 1000, 500, now); wait != 500*time.Millisecond {
		t.Errorf("waits %v", wait)
	}
	if wait := q.charge(of, 1000, 0, now.Add(time.Second)); wait != 0 {
		t.Errorf("waits %v after a second", wait)
	}
	for i := range 2 * mostBuckets {
		q.charge(key{user: fmt.Sprint(i)}, 1, 1, now)
	}
	if len(q.buckets) > mostBuckets {
		t.Errorf("%d buckets", len(q.buckets))
	}
}
