package share

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// Limits of single steps. They are for machines with other work; no step needs more than seconds.
const (
	stepLimit = 60 * time.Second
	pollMs    = 30_000
)

// driver is a running Share.java.
type driver struct {
	*testing.T
	in      io.WriteCloser
	answers chan string
	admin   *kadm.Client
	client  *kgo.Client
	cluster *harness.Cluster
}

func start(t *testing.T, cluster *harness.Cluster) *driver {
	t.Helper()
	classPath := harness.Javac(t, "java")
	command := exec.Command("java", harness.JavaArgs(classPath, "Share", cluster.Bootstrap)...)
	stderr := &bytes.Buffer{}
	command.Stderr = stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	d := &driver{T: t, in: in, answers: make(chan string), cluster: cluster}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(d.answers)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			d.answers <- lines.Text()
		}
	}()
	if d.client, err = kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	d.admin = kadm.NewClient(d.client)
	t.Cleanup(func() {
		d.client.Close()
		in.Close()
		for range d.answers { // let it end
		}
		<-read
		_ = command.Wait()
		if t.Failed() {
			t.Logf("the Java client says:\n%s", stderr)
		}
	})
	return d
}

// do gives a command and returns the answer.
func (d *driver) do(format string, args ...any) string {
	d.Helper()
	line := fmt.Sprintf(format, args...)
	if _, err := io.WriteString(d.in, line+"\n"); err != nil {
		d.Fatal(err)
	}
	timer := time.NewTimer(stepLimit + pollMs*time.Millisecond)
	defer timer.Stop()
	select {
	case answer, ok := <-d.answers:
		if !ok {
			d.Fatalf("%s: the client has ended", line)
		}
		d.Logf("%s: %s", line, answer)
		return answer
	case <-timer.C:
		d.Fatalf("%s: no answer", line)
		return ""
	}
}

// want gives a command that must answer that.
func (d *driver) want(want, format string, args ...any) {
	d.Helper()
	if got := d.do(format, args...); got != want {
		d.Fatalf("%s: %q, want %q", fmt.Sprintf(format, args...), got, want)
	}
}

func (d *driver) topic(name string, partitions int32) {
	d.Helper()
	if _, err := d.admin.CreateTopic(d.Context(), partitions, 1, nil, name); err != nil {
		d.Fatal(err)
	}
}

// produce writes n records, each in a batch of its own unless together is set.
func (d *driver) produce(topic string, partition int32, n int, together bool) {
	d.Helper()
	var all []*kgo.Record
	for i := range n {
		all = append(all, &kgo.Record{Topic: topic, Partition: partition, Value: []byte("v" + strconv.Itoa(i))})
		if !together {
			if err := d.client.ProduceSync(d.Context(), all...).FirstErr(); err != nil {
				d.Fatal(err)
			}
			all = nil
		}
	}
	if err := d.client.ProduceSync(d.Context(), all...).FirstErr(); err != nil {
		d.Fatal(err)
	}
}

// earliest makes a group begin at the start of its topics.
func (d *driver) earliest(group string) {
	d.want("ok", "config %s share.auto.offset.reset earliest", group)
}

// record is one delivery.
type record struct {
	partition  int32
	offset     int64
	deliveries int
}

func (d *driver) poll(name string, ms int) []record {
	d.Helper()
	answer := d.do("poll %s %d", name, ms)
	words := strings.Fields(answer)
	if len(words) == 0 || words[0] != "records" {
		d.Fatalf("poll %s: %s", name, answer)
	}
	var out []record
	for _, w := range words[1:] {
		var r record
		if _, err := fmt.Sscanf(w, "%d:%d:%d", &r.partition, &r.offset, &r.deliveries); err != nil {
			d.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// take polls until n records have come.
func (d *driver) take(name string, n int) []record {
	d.Helper()
	var out []record
	for len(out) < n {
		got := d.poll(name, pollMs)
		if len(got) == 0 {
			d.Fatalf("%s: %d of %d records", name, len(out), n)
		}
		out = append(out, got...)
	}
	return out
}

func offsets(all []record) []int64 {
	var out []int64
	for _, r := range all {
		out = append(out, r.offset)
	}
	slices.Sort(out)
	return out
}

func upTo(n int64) []int64 {
	var out []int64
	for i := range n {
		out = append(out, i)
	}
	return out
}

func (d *driver) same(got, want []int64, what string) {
	d.Helper()
	if !slices.Equal(got, want) {
		d.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// long leaves the suites to `make share`: they wait for locks to run out, which takes minutes.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("MILLRACE_SHARE") != "full" {
		t.Skip("a long suite; make share runs it")
	}
}

func TestExpress(t *testing.T) {
	long(t)
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
		run  func(*driver)
	}{
		{"implicit acknowledgement", implicit},
		{"accept, release, reject", explicit},
		{"worn out", wornOut},
		{"lock runs out and is renewed", locks},
		{"two consumers of one partition", twoConsumers},
		{"partitions are spread", spread},
		{"a consumer that is closed", closed},
		{"strict record limit", recordLimit},
		{"offsets", admin},
		{"read committed", committed},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(start(t, cluster)) })
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
	for i, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := tx.BeginTransaction(); err != nil {
			d.Fatal(err)
		}
		for range 3 {
			if err := tx.ProduceSync(d.Context(), &kgo.Record{Topic: "committed", Value: []byte{byte(i)}}).FirstErr(); err != nil {
				d.Fatal(err)
			}
		}
		if err := tx.EndTransaction(d.Context(), commit); err != nil {
			d.Fatal(err)
		}
	}
	d.want("ok", "open a committed-g committed explicit")
	got := d.take("a", 6)
	d.same(offsets(got), []int64{0, 1, 2, 8, 9, 10}, "committed records")
	for _, r := range got {
		d.want("ok", "ack a 0 %d %d ACCEPT", r.offset, r.offset)
	}
	d.want("committed 0=ok", "commit a")
	d.want("ok", "close a")
}

// TestKill kills the broker between reads: nothing that was acknowledged comes again, nothing that was not is lost.
func TestKill(t *testing.T) {
	long(t)
	cluster := harness.StartMillrace(t, harness.MillraceOptions{})
	d := start(t, cluster)
	const n = 300
	d.topic("kill", 1)
	d.earliest("kill-g")
	d.produce("kill", 0, n, false)
	d.want("ok", "open a kill-g kill explicit max.poll.records=20")
	done := map[int64]bool{}   // accepted or rejected, and the broker said so
	unsure := map[int64]bool{} // asked for, and no answer
	for round := 0; len(done) < n; round++ {
		if round > 400 {
			t.Fatalf("%d of %d records are done", len(done), n)
		}
		got := d.poll("a", 3000)
		for i, r := range got {
			if done[r.offset] {
				t.Fatalf("round %d: %d was acknowledged and came again", round, r.offset)
			}
			kind := "ACCEPT"
			if i%5 == 4 {
				kind = "RELEASE"
			}
			d.want("ok", "ack a 0 %d %d %s", r.offset, r.offset, kind)
			if kind == "ACCEPT" {
				unsure[r.offset] = true
			}
		}
		if round%5 == 3 {
			kill(t, cluster)
		}
		if len(got) == 0 {
			continue
		}
		ok := d.do("commit a") == "committed 0=ok"
		for o := range unsure {
			if ok {
				done[o] = true
			}
			delete(unsure, o)
		}
		if !ok { // what was not confirmed may be done all the same; it is, if it does not come again
			d.settle(done, got)
		}
	}
	if got := d.do("offsets kill-g"); !strings.HasSuffix(got, "/0") {
		t.Errorf("all is done, and yet there is a lag: %s", got)
	}
	d.want("ok", "close a")
}

// settle finds out what became of acknowledgements that were not answered: once the group has let go of everything, what is not
// delivered again was stored.
func (d *driver) settle(done map[int64]bool, asked []record) {
	d.Helper()
	open := map[int64]bool{}
	for _, r := range asked {
		open[r.offset] = true
	}
	d.want("ok", "close a")
	start, _, _ := strings.Cut(strings.TrimPrefix(d.do("offsets kill-g"), "kill-0="), "/")
	from, err := strconv.ParseInt(start, 10, 64)
	if err != nil {
		d.Fatalf("offsets: %q", start)
	}
	for o := range open {
		if o < from {
			done[o] = true
		}
	}
	d.want("ok", "open a kill-g kill explicit max.poll.records=20")
}

func kill(t *testing.T, cluster *harness.Cluster) {
	t.Helper()
	pid, err := cluster.BrokerPID()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, stepLimit, "another broker is there", func(context.Context) error {
		now, err := cluster.BrokerPID()
		if err == nil && now == pid {
			err = fmt.Errorf("broker %d is still there", pid)
		}
		return err
	})
}
