package share

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// full says that all is to run: it waits for locks to run out, for Apache Kafka and for brokers to die, which takes minutes.
func full() bool { return os.Getenv("MILLRACE_SHARE") == "full" }

// long leaves a test to `make share`.
func long(t *testing.T) {
	t.Helper()
	if !full() {
		t.Skip("a long suite; make share runs it")
	}
}

func TestExpress(t *testing.T) {
	harness.Long(t, "make share")
	suite(t, harness.StartMillrace(t, harness.MillraceOptions{}))
}

// TestApacheKafka is the same script on the original: what it shows is what express must show.
func TestApacheKafka(t *testing.T) {
	long(t)
	suite(t, harness.StartKafka(t, harness.KafkaOptions{Properties: map[string]string{
		"group.share.min.record.lock.duration.ms": "1000",
	}}))
}

func suite(t *testing.T, cluster *harness.Cluster) {
	for _, tc := range []struct {
		name string
		long bool
		run  func(*driver)
	}{
		{"lock runs out and is renewed", true, locks},
		{"offsets", true, admin},
		{"implicit acknowledgement", true, implicit},
		{"a consumer that is closed", false, closed},
		{"accept, release, reject", false, explicit},
		{"worn out", false, wornOut},
		{"strict record limit", false, recordLimit},
		{"read committed", false, committed},
		{"two consumers of one partition", true, twoConsumers},
		{"partitions are spread", true, spread},
	} {
		if tc.long && !full() {
			continue
		}
		// Each waits for its consumers to join, which takes a heartbeat of five seconds.
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.run(start(t, cluster))
		})
	}
}

func implicit(d *driver) {
	d.topic("implicit", 1)
	d.earliest("implicit-g")
	d.produce("implicit", 0, 10, true)
	d.want("ok", "open a implicit-g implicit implicit")
	d.same(offsets(d.take("a", 10)), upTo(10), "first read")
	d.want("committed 0=ok", "commit a")
	d.want("ok", "close a")
	d.produce("implicit", 0, 2, true)
	d.want("ok", "open b implicit-g implicit implicit")
	d.same(offsets(d.take("b", 2)), []int64{10, 11}, "second read")
	d.want("ok", "close b")
}

func explicit(d *driver) {
	d.topic("explicit", 1)
	d.earliest("explicit-g")
	d.produce("explicit", 0, 6, true)
	d.want("ok", "open a explicit-g explicit explicit")
	d.same(offsets(d.take("a", 6)), upTo(6), "first read")
	d.want("ok", "ack a 0 0 1 ACCEPT")
	d.want("ok", "ack a 0 2 3 RELEASE")
	d.want("ok", "ack a 0 4 4 REJECT")
	d.want("ok", "ack a 0 5 5 RELEASE")
	d.want("committed 0=ok", "commit a")
	again := d.take("a", 3)
	d.same(offsets(again), []int64{2, 3, 5}, "released records")
	for _, r := range again {
		if r.deliveries != 2 {
			d.Errorf("%+v was delivered twice", r)
		}
	}
	d.want("ok", "ack a 0 2 5 ACCEPT")
	d.want("committed 0=ok", "commit a")
	// The start offset is the one that went with the last write, which moves it further: 4.3.1 stores it so.
	d.want("explicit-0=2/0", "offsets explicit-g")
	d.want("ok", "close a")
}

// wornOut releases a record until there is no delivery left: five are all, then it is archived.
func wornOut(d *driver) {
	d.topic("worn", 1)
	d.earliest("worn-g")
	d.produce("worn", 0, 1, true)
	d.want("ok", "open a worn-g worn explicit")
	for n := 1; n <= 5; n++ {
		got := d.take("a", 1)
		if got[0].deliveries != n {
			d.Fatalf("delivery %d says %d", n, got[0].deliveries)
		}
		d.want("ok", "ack a 0 0 0 RELEASE")
		d.want("committed 0=ok", "commit a")
	}
	d.produce("worn", 0, 1, true)
	d.same(offsets(d.take("a", 1)), []int64{1}, "after the last delivery")
	d.want("ok", "ack a 0 1 1 ACCEPT")
	d.want("committed 0=ok", "commit a")
	d.want("ok", "close a")
}

func locks(d *driver) {
	d.topic("locks", 1)
	d.earliest("locks-g")
	d.want("ok", "config locks-g share.record.lock.duration.ms 15000")
	d.produce("locks", 0, 2, false)
	d.want("ok", "open a locks-g locks explicit")
	d.want("ok", "open b locks-g locks explicit")
	held := d.take("a", 2)
	d.same(offsets(held), upTo(2), "held")
	again := d.take("b", 2)
	d.same(offsets(again), upTo(2), "after the locks have run out")
	for _, r := range again {
		if r.deliveries != 2 {
			d.Errorf("%+v was delivered twice", r)
		}
	}
	d.want("ok", "ack a 0 0 1 ACCEPT")
	if got := d.do("commit a"); got != "committed 0=InvalidRecordStateException" {
		d.Errorf("acknowledging after the lock: %q", got)
	}
	d.want("ok", "ack b 0 0 1 RENEW")
	d.want("committed 0=ok", "commit b")
	renewed := d.take("b", 2) // the consumer hands out again what it has renewed
	d.same(offsets(renewed), upTo(2), "renewed")
	for _, r := range renewed {
		if r.deliveries != 2 {
			d.Errorf("%+v was delivered twice, and its lock renewed", r)
		}
	}
	d.want("ok", "ack b 0 0 1 ACCEPT")
	d.want("committed 0=ok", "commit b")
	d.want("locks-0=0/0", "offsets locks-g")
	d.want("ok", "close a")
	d.want("ok", "close b")
}

func twoConsumers(d *driver) {
	const n = 40
	d.topic("two", 1)
	d.earliest("two-g")
	d.want("ok", "open a two-g two explicit max.poll.records=5")
	d.want("ok", "open b two-g two explicit max.poll.records=5")
	d.poll("a", 1) // both are about to join
	d.poll("b", 1)
	d.produce("two", 0, n, false)
	var got []int64
	per := map[string]int{}
	for len(got) < n {
		for _, name := range []string{"a", "b"} {
			records := d.poll(name, 2000)
			for _, r := range records {
				if r.deliveries != 1 {
					d.Fatalf("%s got %+v", name, r)
				}
				d.want("ok", "ack %s 0 %d %d ACCEPT", name, r.offset, r.offset)
			}
			per[name] += len(records)
			got = append(got, offsets(records)...)
			if len(records) > 0 {
				d.want("committed 0=ok", "commit %s", name)
			}
		}
	}
	slices.Sort(got)
	d.same(got, upTo(n), "both together")
	if per["a"] == 0 || per["b"] == 0 {
		d.Errorf("one of them got nothing: %v", per)
	}
	d.want("Stable 2 2", "describe two-g")
	d.want("ok", "close a")
	d.want("ok", "close b")
}

func spread(d *driver) {
	d.topic("spread", 4)
	d.earliest("spread-g")
	for p := range int32(4) {
		d.produce("spread", p, 3, true)
	}
	d.want("ok", "open a spread-g spread implicit")
	got := d.take("a", 12)
	for p := range int32(4) {
		var of []record
		for _, r := range got {
			if r.partition == p {
				of = append(of, r)
			}
		}
		d.same(offsets(of), upTo(3), fmt.Sprintf("partition %d", p))
	}
	if said := d.do("commit a"); !strings.HasPrefix(said, "committed") || strings.Contains(said, "Exception") {
		d.Errorf("commit: %q", said)
	}
	d.want("spread-0=0/0 spread-1=0/0 spread-2=0/0 spread-3=0/0", "offsets spread-g")
	d.want("Stable 1 4", "describe spread-g")
	d.want("ok", "close a")
}

// closed: what a consumer holds when it closes comes back at once.
func closed(d *driver) {
	d.topic("closed", 1)
	d.earliest("closed-g")
	d.produce("closed", 0, 3, true)
	d.want("ok", "open a closed-g closed explicit")
	d.same(offsets(d.take("a", 3)), upTo(3), "held")
	d.want("ok", "ack a 0 0 0 ACCEPT")
	d.want("ok", "close a") // acknowledges what was said and releases the rest
	d.want("ok", "open b closed-g closed explicit")
	again := d.take("b", 2)
	d.same(offsets(again), []int64{1, 2}, "released by closing")
	for _, r := range again {
		if r.deliveries != 2 {
			d.Errorf("%+v was delivered twice", r)
		}
	}
	d.want("ok", "ack b 0 1 2 ACCEPT")
	d.want("ok", "close b")
}

func recordLimit(d *driver) {
	d.topic("limit", 1)
	d.earliest("limit-g")
	d.produce("limit", 0, 10, true)
	d.want("ok", "open a limit-g limit explicit max.poll.records=4 share.acquire.mode=record_limit")
	for _, want := range [][]int64{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}} {
		got := d.poll("a", pollMs)
		d.same(offsets(got), want, "at most four")
		d.want("ok", "ack a 0 0 9 ACCEPT")
		d.want("committed 0=ok", "commit a")
	}
	d.want("ok", "close a")
}

func admin(d *driver) {
	d.topic("admin", 2)
	d.earliest("admin-g")
	d.produce("admin", 0, 8, true)
	d.want("ok", "open a admin-g admin implicit")
	d.take("a", 8)
	d.want("committed 0=ok", "commit a")
	if got := d.do("alter admin-g admin 0 5"); !strings.HasPrefix(got, "error GroupNotEmptyException") {
		d.Errorf("altering a group with members: %q", got)
	}
	if got := d.do("delete-group admin-g"); !strings.HasPrefix(got, "error GroupNotEmptyException") {
		d.Errorf("deleting a group with members: %q", got)
	}
	d.want("ok", "close a")
	if got := d.do("list"); !strings.Contains(got, "admin-g=Share/Empty") {
		d.Errorf("listed: %q", got)
	}
	d.want("ok", "alter admin-g admin 0 5")
	d.want("ok", "open b admin-g admin implicit")
	d.same(offsets(d.take("b", 3)), []int64{5, 6, 7}, "after altering")
	d.want("committed 0=ok", "commit b")
	d.want("ok", "close b")
	d.want("ok", "delete-offsets admin-g admin")
	d.want("", "offsets admin-g")
	d.want("ok", "open c admin-g admin implicit")
	d.same(offsets(d.take("c", 8)), upTo(8), "after deleting the offsets")
	d.want("ok", "close c")
	d.want("ok", "delete-group admin-g")
	if got := d.do("describe admin-g"); !strings.HasPrefix(got, "error GroupIdNotFoundException") {
		d.Errorf("a deleted group: %q", got)
	}
}

// committed: a group that reads committed records only never sees those of an aborted transaction.
func committed(d *driver) {
	d.topic("committed", 1)
	d.earliest("committed-g")
	d.want("ok", "config committed-g share.isolation.level read_committed")
	tx, err := kgo.NewClient(kgo.SeedBrokers(d.cluster.Bootstrap), kgo.TransactionalID("committed-tx"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		d.Fatal(err)
	}
	defer tx.Close()
	begin := func() {
		if err := tx.BeginTransaction(); err != nil {
			d.Fatal(err)
		}
		for range 3 {
			if err := tx.ProduceSync(d.Context(), &kgo.Record{Topic: "committed", Value: []byte("v")}).FirstErr(); err != nil {
				d.Fatal(err)
			}
		}
	}
	end := func(how kgo.TransactionEndTry) {
		if err := tx.EndTransaction(d.Context(), how); err != nil {
			d.Fatal(err)
		}
	}
	for _, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		begin()
		end(how)
	}
	// Ending a transaction is answered before its marker is in the partition: the last three may come by a poll of their own.
	d.want("ok", "open a committed-g committed explicit")
	d.same(offsets(d.accept("a", 6)), []int64{0, 1, 2, 8, 9, 10}, "committed records")
	begin()
	if got := d.poll("a", 1000); len(got) > 0 {
		d.Errorf("of an open transaction: %v", got)
	}
	end(kgo.TryCommit)
	d.same(offsets(d.accept("a", 3)), []int64{12, 13, 14}, "once it is committed")
	d.want("ok", "close a")
}
