package share

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
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
	d.ask(line)
	return d.answer(line)
}

// ask gives a command whose answer is taken later.
func (d *driver) ask(line string) {
	d.Helper()
	if _, err := io.WriteString(d.in, line+"\n"); err != nil {
		d.Fatal(err)
	}
}

// answer takes the answer to a command.
func (d *driver) answer(line string) string {
	d.Helper()
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

// take polls until n records have come. With explicit acknowledgement a client may poll again only when it has acknowledged
// what it got: there they must be such as come at once.
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

// accept polls until n records have come, and accepts each as it comes: a poll gives what is there, not all that there will be.
func (d *driver) accept(name string, n int) []record {
	d.Helper()
	var out []record
	for len(out) < n {
		got := d.poll(name, pollMs)
		if len(got) == 0 {
			d.Fatalf("%s: %d of %d records", name, len(out), n)
		}
		for _, r := range got {
			d.want("ok", "ack %s %d %d %d ACCEPT", name, r.partition, r.offset, r.offset)
		}
		d.want("committed 0=ok", "commit %s", name)
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
