package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// spread makes a topic and fails unless its leaders are spread over n brokers.
func spread(t *testing.T, c *harness.Cluster, name string, partitions, n int) {
	t.Helper()
	if _, err := kadm.NewClient(newClient(t, c)).CreateTopic(t.Context(), int32(partitions), 1, nil, name); err != nil {
		t.Fatal(err)
	}
	// A broker that is asked may not know it yet.
	harness.Eventually(t, 10*time.Second, fmt.Sprintf("leaders of %s at %d brokers", name, n), func(context.Context) error {
		if got := leaders(t, c, name); len(got) != n {
			return fmt.Errorf("leaders by broker: %v", got)
		}
		return nil
	})
}

// leaders counts the partitions of a topic by leader. It asks with a client of its own, because clients keep metadata.
func leaders(t *testing.T, c *harness.Cluster, name string) map[int32]int {
	t.Helper()
	m, err := kadm.NewClient(newClient(t, c)).Metadata(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int32]int{}
	for _, p := range m.Topics[name].Partitions {
		counts[p.Leader]++
	}
	return counts
}

// produceAll writes one record to each partition.
func produceAll(t *testing.T, c *harness.Cluster, topic string, partitions int, value string) {
	t.Helper()
	client := newClient(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	records := make([]*kgo.Record, partitions)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(i), Value: []byte(value)}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consumeAll reads n records from the beginning.
func consumeAll(t *testing.T, c *harness.Cluster, topic string, n int) {
	t.Helper()
	client := newClient(t, c, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := 0; got < n; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v after %d of %d records", err, got, n)
		}
		got += fetches.NumRecords()
	}
}

// comesBack waits until broker id runs as another process than pid and the cluster is healthy.
func comesBack(t *testing.T, c *harness.Cluster, id, pid int) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, fmt.Sprintf("broker %d again", id), func(context.Context) error {
		now, err := c.BrokerPIDOf(id)
		if err != nil {
			return err
		}
		if code, body := get(t, "http://"+c.API+"/healthz"); now == pid || code != 200 {
			return fmt.Errorf("pid %d, healthz %d %s", now, code, body)
		}
		return nil
	})
}

func brokerPID(t *testing.T, c *harness.Cluster, id int) int {
	t.Helper()
	pid, err := c.BrokerPIDOf(id)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestThreeBrokersServeDieHangAndStop(t *testing.T) {
	const partitions = 6
	c := harness.StartMillrace(t, harness.MillraceOptions{Brokers: 3})
	spread(t, c, "t", partitions, 3)
	produceAll(t, c, "t", partitions, "one")
	var described struct {
		Brokers []struct {
			Rack string
		}
	}
	decode(t, ok(t, "", "cluster", "describe", "--output", "json", "--bootstrap="+c.Bootstrap), &described)
	racks := map[string]bool{}
	for _, b := range described.Brokers {
		racks[b.Rack] = true
	}
	if len(described.Brokers) != 3 || len(racks) != 3 {
		t.Errorf("described as %+v, want 3 brokers in 3 zones", described)
	}
	t.Run("killed", func(t *testing.T) {
		pid := brokerPID(t, c, 2)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		comesBack(t, c, 2, pid)
		produceAll(t, c, "t", partitions, "two")
		consumeAll(t, c, "t", 2*partitions)
	})
	t.Run("hung", func(t *testing.T) {
		pid := brokerPID(t, c, 3)
		began := time.Now()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		comesBack(t, c, 3, pid)
		t.Logf("a hung broker was replaced after %v", time.Since(began))
		produceAll(t, c, "t", partitions, "three")
		consumeAll(t, c, "t", 3*partitions)
	})
	began := time.Now()
	c.Stop(t)
	t.Logf("clean stop of three brokers took %v", time.Since(began))
}

func portOf(t *testing.T, c *harness.Cluster) int {
	t.Helper()
	_, text, err := net.SplitHostPort(c.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestAddressesThatAreTakenAreNamed(t *testing.T) {
	other := harness.StartMillrace(t, harness.MillraceOptions{})
	taken := portOf(t, other)
	c := harness.StartMillrace(t, harness.MillraceOptions{KafkaPort: taken - 100})
	r := millrace(t, "", "cluster", "scale", "--brokers", "2", "--api", c.API)
	if r.code != 1 || !strings.Contains(r.err, "address of broker 2") || !strings.Contains(r.err, other.Bootstrap) || !strings.Contains(r.err, "--kafka") {
		t.Errorf("scaled onto an address that is taken: exit code %d: %s", r.code, r.err)
	}
	c.Stop(t)

	name, api := filepath.Join(t.TempDir(), "serve.log"), net.JoinHostPort("127.0.0.1", strconv.Itoa(harness.FreePorts(t, 1)))
	command := exec.Command(harness.MillraceBinary(t), "serve", "--data", c.Dir, "--listen", api, "--kafka", c.Bootstrap, "--brokers", "2")
	harness.StartProcess(t, "serve with two brokers", name, command)
	harness.Eventually(t, 30*time.Second, "the reason, and the one broker that can run", func(context.Context) error {
		if log, err := os.ReadFile(name); err != nil || !strings.Contains(string(log), "address of broker 2") {
			return fmt.Errorf("the log is %s (%w)", log, err)
		}
		if code, body := get(t, "http://"+api+"/readyz"); code != 503 || !strings.Contains(body, "broker 2") || strings.Contains(body, "broker 1") {
			return fmt.Errorf("/readyz: %d %s", code, body)
		}
		return nil
	})

	dir := filepath.Join(t.TempDir(), "data")
	r = millrace(t, "", "serve", "--data", dir, "--listen", "127.0.0.1:19192", "--kafka", "127.0.0.1:19092", "--brokers", "2")
	if r.code != 2 || !strings.Contains(r.err, "broker 2") {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
	r = millrace(t, "", "cluster", "scale", "--brokers", "2", "--api", "http://127.0.0.1:1")
	if r.code != 1 || !strings.Contains(r.err, "millrace serve") {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
}

// load writes to every partition of a topic, with a client's defaults, until it is stopped.
type load struct {
	cancel  context.CancelFunc
	done    sync.WaitGroup
	mu      sync.Mutex
	acked   int
	failed  []error
	longest time.Duration
	by      []int     // acks by partition
	asked   time.Time // when the client asked for metadata last
}

func startLoad(t *testing.T, c *harness.Cluster, topic string, partitions int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, by: make([]int, partitions)}
	client := newClient(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(), kgo.WithHooks(l))
	for p := range partitions {
		l.done.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				err := client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte("v")}).FirstErr()
				l.note(p, err, time.Since(began))
			}
		})
	}
	t.Cleanup(func() { cancel(); l.done.Wait() })
	return l
}

func (l *load) note(p int, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = max(l.longest, took)
	if err != nil {
		l.failed = append(l.failed, err)
		return
	}
	l.acked++
	l.by[p]++
}

// stop ends the load and checks it: no error, and every acknowledged record there once.
func (l *load) stop(t *testing.T, c *harness.Cluster, topic string) {
	t.Helper()
	l.cancel()
	l.done.Wait()
	if len(l.failed) > 0 {
		t.Errorf("%d of %d produces failed: %v", len(l.failed), l.acked+len(l.failed), errors.Join(l.failed[:min(3, len(l.failed))]...))
	}
	total := end(t, c, topic)
	if total != int64(l.acked) {
		t.Errorf("%d records are there, %d were acknowledged", total, l.acked)
	}
	t.Logf("%d records acknowledged; the slowest took %v", l.acked, l.longest)
}

// reader is a group of one, with a client's defaults, that reads a topic while things happen to its cluster.
type reader struct {
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	next   map[int32]int64 // by partition: the offset that must come next
	read   int
	faults []error
}

func startReader(t *testing.T, c *harness.Cluster, topic string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &reader{cancel: cancel, done: make(chan struct{}), next: map[int32]int64{}}
	client := newClient(t, c, kgo.ConsumerGroup("readers"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics())
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			r.mu.Lock()
			fetches.EachError(func(topic string, p int32, err error) {
				if ctx.Err() == nil {
					r.faults = append(r.faults, fmt.Errorf("%s-%d: %w", topic, p, err))
				}
			})
			fetches.EachRecord(func(rec *kgo.Record) {
				if want := r.next[rec.Partition]; rec.Offset != want {
					r.faults = append(r.faults, fmt.Errorf("partition %d: offset %d where %d comes next", rec.Partition, rec.Offset, want))
				}
				r.next[rec.Partition] = rec.Offset + 1
				r.read++
			})
			r.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// stop waits until n records have come, each once and in order.
func (r *reader) stop(t *testing.T, n int) {
	t.Helper()
	harness.Eventually(t, time.Minute, "the reader to have read all", func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.read < n {
			return fmt.Errorf("%d of %d records", r.read, n)
		}
		return nil
	})
	r.cancel()
	<-r.done
	if len(r.faults) > 0 || r.read != n {
		t.Errorf("%d of %d records read, %d faults: %v", r.read, n, len(r.faults), errors.Join(r.faults[:min(3, len(r.faults))]...))
	}
}

// operation is what the verbs print with --output json.
type operation struct {
	State string
	Steps []struct{ Name, Detail, State string }
}

func operate(t *testing.T, c *harness.Cluster, args ...string) operation {
	t.Helper()
	var op operation
	began := time.Now()
	decode(t, ok(t, "", append([]string{"cluster"}, append(args, "--api", "http://"+c.API, "--output", "json")...)...), &op)
	t.Logf("millrace cluster %s: %s in %v", strings.Join(args, " "), op.State, time.Since(began))
	for _, s := range op.Steps {
		t.Logf("  %s: %s (%s)", s.Name, s.State, s.Detail)
	}
	return op
}

func TestScaleOutRollAndScaleInUnderLoad(t *testing.T) {
	const partitions = 12
	c := harness.StartMillrace(t, harness.MillraceOptions{MostBrokers: 3})
	spread(t, c, "t", partitions, 1)
	l, r := startLoad(t, c, "t", partitions), startReader(t, c, "t")
	operate(t, c, "scale", "--brokers", "3")
	if got := leaders(t, c, "t"); len(got) != 3 {
		t.Errorf("leaders after scaling out: %v", got)
	}
	before := []int{brokerPID(t, c, 1), brokerPID(t, c, 2), brokerPID(t, c, 3)}
	operate(t, c, "roll")
	for i, pid := range before {
		if brokerPID(t, c, i+1) == pid {
			t.Errorf("broker %d was not restarted", i+1)
		}
	}
	if got := leaders(t, c, "t"); len(got) != 3 {
		t.Errorf("leaders after the roll: %v", got)
	}
	operate(t, c, "upgrade", "--binary", c.Binary())
	operate(t, c, "scale", "--brokers", "1")
	if got := leaders(t, c, "t"); got[1] != partitions {
		t.Errorf("leaders after scaling in: %v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "brokers", "*")); len(left) != 1 {
		t.Errorf("directories of brokers: %v", left)
	}
	l.stop(t, c, "t")
	r.stop(t, l.acked)
	if out := ok(t, "", "cluster", "operations", "--api", "http://"+c.API); strings.Count(out, "DONE") != 4 {
		t.Errorf("operations:\n%s", out)
	}
}

// TestServeWithAnotherNumberOfBrokers: more at once; fewer when the others have handed over; none said: as many as there are.
func TestServeWithAnotherNumberOfBrokers(t *testing.T) {
	const partitions = 6
	c := harness.StartMillrace(t, harness.MillraceOptions{MostBrokers: 3})
	port := portOf(t, c)
	c.Stop(t)
	again := func(brokers int) *harness.Cluster {
		c = harness.StartMillrace(t, harness.MillraceOptions{Dir: c.Dir, KafkaPort: port, Brokers: brokers})
		return c
	}
	again(3)
	spread(t, c, "t", partitions, 3)
	produceAll(t, c, "t", partitions, "v")
	c.Stop(t)
	again(0)
	brokerPID(t, c, 3)
	consumeAll(t, c, "t", partitions)
	c.Stop(t)
	again(2)
	harness.Eventually(t, time.Minute, "two brokers", func(context.Context) error {
		left, err := filepath.Glob(filepath.Join(c.Dir, "brokers", "*"))
		if err == nil && len(left) != 2 {
			err = fmt.Errorf("directories %v", left)
		}
		return err
	})
	consumeAll(t, c, "t", partitions)
}

// TestOperationsAreNotForStrangers: no web page and no other host name reaches what changes the cluster.
func TestOperationsAreNotForStrangers(t *testing.T) {
	c := harness.StartMillrace(t, harness.MillraceOptions{})
	url := "http://" + c.API + "/millrace/v1/clusters/default/operations"
	post := func(url, body string, change func(*http.Request)) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		change(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	plain := func(*http.Request) {}
	theirs := filepath.Join(t.TempDir(), "theirs")
	if err := os.WriteFile(theirs, []byte("#!/bin/sh\necho millrace 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(theirs, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name   string
		body   string
		change func(*http.Request)
		code   int
		word   string
	}{
		{"a form of a web page", `{"kind":"ROLL"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 403, "application/json"},
		{"a page's script", `{"kind":"ROLL"}`, func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403, "web pages"},
		{"a name that was made to lead here", `{"kind":"ROLL"}`, func(r *http.Request) { r.Host = "evil.example:8480" }, 403, "web pages"},
		{"no operation", `{"kind":"SING"}`, plain, 400, "SING"},
		{"no JSON", `{"kind"`, plain, 400, "request"},
		{"a field that nobody knows", `{"kind":"ROLL","force":true}`, plain, 400, "force"},
		{"a program that anybody can write", `{"kind":"UPGRADE","binary":"` + theirs + `"}`, plain, 400, "nobody else"},
		{"a program that is none of ours", `{"kind":"UPGRADE","binary":"/bin/echo"}`, plain, 400, "not a millrace program"},
		{"too many brokers", `{"kind":"SCALE","brokers":16}`, plain, 400, "1 to 15"},
	} {
		if code, answer := post(url, f.body, f.change); code != f.code || !strings.Contains(answer, f.word) {
			t.Errorf("%s: %d %s, want %d and %q", f.name, code, answer, f.code, f.word)
		}
	}
	if code, answer := post("http://"+c.API+"/millrace/v1/clusters/other/operations", `{"kind":"ROLL"}`, plain); code != 404 {
		t.Errorf("another cluster: %d %s", code, answer)
	}
	if op := operate(t, c, "roll"); op.State != "DONE" {
		t.Errorf("a roll of one broker: %+v", op)
	}
	if out := ok(t, "", "cluster", "scale", "--brokers", "1", "--api", c.API); !strings.Contains(out, "Nothing to do") {
		t.Errorf("scaled to what it is: %s", out)
	}
}

// TestJavaClientRidesARoll: Kafka's own producer with its default settings notices nothing but a pause.
func TestJavaClientRidesARoll(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const partitions, records = 6, 20_000
	c := harness.StartMillrace(t, harness.MillraceOptions{Brokers: 3})
	java := harness.Require(t, harness.Java)
	spread(t, c, "t", partitions, 3)
	type result struct {
		out string
		err error
	}
	printed := make(chan result, 1)
	go func() {
		out, err := runKafkaTool(java, "org.apache.kafka.tools.ProducerPerformance", "--topic", "t", "--num-records", strconv.Itoa(records),
			"--throughput", "2000", "--record-size", "100", "--producer-props", "bootstrap.servers="+c.Bootstrap)
		printed <- result{out, err}
	}()
	harness.Eventually(t, time.Minute, "the first records", func(context.Context) error {
		if end(t, c, "t") == 0 {
			return errors.New("none")
		}
		return nil
	})
	operate(t, c, "roll")
	if end(t, c, "t") == records {
		t.Error("the producer was done before the roll was")
	}
	done := <-printed
	out := done.out
	if done.err != nil || strings.Contains(out, "Exception") || end(t, c, "t") != records {
		t.Errorf("%d records are there, %d were sent:\n%s", end(t, c, "t"), records, out)
	}
	t.Logf("%s", out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])
}

// end adds up the end offsets of a topic.
func end(t *testing.T, c *harness.Cluster, topic string) (total int64) {
	t.Helper()
	ends, err := kadm.NewClient(newClient(t, c)).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			t.Error(o.Err)
		}
		total += o.Offset
	})
	return total
}

// TestOperationSurvivesItsControlPlane: serve is killed in the middle of a roll, and the next one ends it.
func TestOperationSurvivesItsControlPlane(t *testing.T) {
	const partitions = 6
	c := harness.StartMillrace(t, harness.MillraceOptions{Brokers: 3})
	spread(t, c, "t", partitions, 3)
	l := startLoad(t, c, "t", partitions)
	var op struct {
		Number int64
		State  string
		Steps  []struct{ State string }
	}
	ok(t, "", "cluster", "roll", "--no-wait", "--api", "http://"+c.API)
	look := func(c *harness.Cluster) string {
		_, body := get(t, "http://"+c.API+"/millrace/v1/clusters/default/operations/1")
		op.Steps = nil
		decode(t, body, &op)
		return op.State
	}
	harness.Eventually(t, 30*time.Second, "the first broker's restart", func(context.Context) error {
		if look(c); op.Steps[0].State != "DONE" {
			return errors.New(op.Steps[0].State)
		}
		return nil
	})
	c.Process().Kill()
	if op.State != "RUNNING" {
		t.Fatalf("the roll was over before serve was killed: %s", op.State)
	}
	port := portOf(t, c)
	again := harness.StartMillrace(t, harness.MillraceOptions{Dir: c.Dir, KafkaPort: port})
	harness.Eventually(t, time.Minute, "the end of the roll", func(context.Context) error {
		if state := look(again); state != "DONE" {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	l.stop(t, again, "t")
}
