package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// auditReport is what `millrace audit --output json` prints.
type auditReport struct {
	Clean                      bool
	Partitions, Checked, Total int
	Store                      bool
	Findings                   []struct{ Kind, Topic, Object, Detail string }
	Skips                      []struct{ Reason string }
	Skipped, Moved             int
	Waiting                    int64
	Bytes                      int64
	Silent                     []int
}

// audit runs the verb and fails unless it ends with the code.
func audit(t *testing.T, code int, args ...string) (r auditReport) {
	t.Helper()
	res := millrace(t, "", append([]string{"audit", "--output", "json"}, args...)...)
	if err := json.Unmarshal([]byte(res.out), &r); err != nil || res.code != code {
		t.Fatalf("millrace audit %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), res.code, code, res.out, res.err)
	}
	return r
}

// hurry makes the cleaner of the broker work without a pause.
func hurry(t *testing.T, c *harness.Cluster) {
	t.Helper()
	often := "100"
	configs := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.backoff.ms", Value: &often}, {Op: kadm.SetConfig, Name: "log.retention.check.interval.ms", Value: &often}}
	if _, err := kadm.NewClient(newClient(t, c)).AlterBrokerConfigs(t.Context(), configs); err != nil {
		t.Fatal(err)
	}
}

// segmentsOf lists the files of a data directory's segments.
func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "store", "default", "objects", "segments", "*", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAuditFindsExactlyWhatIsDamaged(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	c := harness.StartMillrace(t, harness.MillraceOptions{})
	api := "--api=http://" + c.API
	hurry(t, c)
	often, compact, late := "100", "compact", "3600000" // cut at once, but not compacted while we look
	configs := map[string]*string{"cleanup.policy": &compact, "segment.ms": &often, "min.compaction.lag.ms": &late}
	const partitions = 3
	if _, err := kadm.NewClient(newClient(t, c)).CreateTopic(t.Context(), partitions, 1, configs, "kept"); err != nil {
		t.Fatal(err)
	}
	write := func(value string) {
		t.Helper()
		client := newClient(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		for p := range partitions {
			r := &kgo.Record{Topic: "kept", Partition: int32(p), Key: []byte("a key"), Value: []byte(value)}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("one")
	harness.Eventually(t, time.Minute, "each partition has a segment", func(context.Context) error {
		if n := len(segmentsOf(t, c.Dir)); n < partitions {
			return fmt.Errorf("%d segments", n)
		}
		return nil
	})
	write("two")
	if r := audit(t, 0, api); !r.Clean || r.Checked != r.Partitions || r.Checked < partitions || r.Total != 0 || r.Bytes == 0 {
		t.Fatalf("an undamaged cluster: %+v", r)
	}
	if r := millrace(t, "", "audit", api); r.code != 0 || !strings.Contains(r.out, "0 fault(s)") {
		t.Errorf("for people: %+v", r)
	}

	file := segmentsOf(t, c.Dir)[0]
	key, err := filepath.Rel(filepath.Join(c.Dir, "store", "default", "objects"), file)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out := ok(t, "", "audit", "--pace", "off", api); !strings.Contains(out, "only when they are asked") {
		t.Errorf("the switch: %s", out)
	}
	damaged := append([]byte{}, whole...)
	damaged[len("a batch has a header of 61 bytes, and this is behind its crc")] ^= 1
	if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, damaged, 0o600)); err != nil {
		t.Fatal(err)
	}
	exactly := func(r auditReport) {
		t.Helper()
		if r.Total != 1 || len(r.Findings) != 1 || r.Findings[0].Object != key || r.Findings[0].Topic != "kept" || r.Findings[0].Kind != "damaged-object" || r.Clean {
			t.Errorf("%+v, want one fault in %s", r, key)
		}
	}
	exactly(audit(t, 1, api))
	exactly(audit(t, 1, api, "--last"))
	exactly(audit(t, 1, "--offline", "--data", c.Dir)) // beside serve
	if r := millrace(t, "", "audit", api); r.code != 1 || !strings.Contains(r.out, "damaged-object") || !strings.Contains(r.err, "found faults") {
		t.Errorf("for people: %+v", r)
	}
	c.Stop(t)
	exactly(audit(t, 1, "--offline", "--data", c.Dir)) // and without it
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := audit(t, 0, "--offline", "--data", c.Dir); !r.Clean || r.Checked < partitions {
		t.Errorf("after the repair: %+v", r)
	}
}

func TestAuditUsage(t *testing.T) {
	for _, args := range [][]string{
		{"audit", "--rate", "fast"}, {"audit", "--pace", "0"}, {"audit", "--offline"}, {"audit", "--offline", "--data", "x", "--last"},
		{"audit", "--data", "x"}, {"audit", "--offline", "--etcd", "http://127.0.0.1:1", "--store", "here"}, {"audit", "now"},
		{"backup"}, {"backup", "--to", "ftp://x"}, {"backup", "--to", "s3://bucket"},
		{"restore", "--from", "x"}, {"restore", "--data", "x"},
	} {
		if r := millrace(t, "", args...); r.code != 2 || r.err == "" {
			t.Errorf("millrace %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.err)
		}
	}
	if r := millrace(t, "", "audit", "--api=127.0.0.1:1"); r.code != 1 || !strings.Contains(r.err, "millrace serve") {
		t.Errorf("without serve: %+v", r)
	}
}

// strangers are refused: other names for this host, and web pages.
func strangers(t *testing.T, c *harness.Cluster) {
	t.Helper()
	for _, path := range []string{"/millrace/v1/backup", "/millrace/v1/clusters/default/audit"} {
		for name, change := range map[string]func(*http.Request){
			"a page's script":                   func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
			"a name that was made to lead here": func(r *http.Request) { r.Host = "evil.example:8480" },
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.API+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			change(req)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s for %s: %d", path, name, resp.StatusCode)
			}
		}
	}
}

// TestBackupWipeAndRestore loses etcd some time after the backup: partitions have moved meanwhile, more was written and cut.
func TestBackupWipeAndRestore(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	t.Run("logs on files", func(t *testing.T) { backupWipeAndRestore(t) })
	t.Run("logs in the object store", func(t *testing.T) { backupWipeAndRestore(t, "--wal", "object") })
}

// killAll kills serve and its brokers, so that their logs end anywhere.
func killAll(t *testing.T, c *harness.Cluster) {
	t.Helper()
	pids := c.Brokers()
	c.Process().Kill()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

// readExactly reads a topic until it has seen as many records as were acknowledged, each of which may come once.
func readExactly(t *testing.T, c *harness.Cluster, topic string, acked map[string]bool) {
	t.Helper()
	client := newClient(t, c, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for seen := map[string]bool{}; len(seen) < len(acked); {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v after %d of %d records", err, len(seen), len(acked))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if value := string(r.Value); !acked[value] || seen[value] {
				t.Errorf("record %q at offset %d of partition %d: never written, or doubled", value, r.Offset, r.Partition)
			}
			seen[string(r.Value)] = true
		})
	}
}

func backupWipeAndRestore(t *testing.T, args ...string) {
	t.Helper()
	const partitions = 8
	dir := filepath.Join(t.TempDir(), "data")
	options := harness.MillraceOptions{Dir: dir, Brokers: 2, Args: args}
	c := harness.StartMillrace(t, options)
	api := "--api=http://" + c.API
	file := filepath.Join(t.TempDir(), "backup")
	spread(t, c, "t", partitions, 2)
	acked, done := map[string]bool{}, 0 // done: records that the group has read
	write := func(c *harness.Cluster, round string) {
		t.Helper()
		client := newClient(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		for i := range 20 * partitions {
			value := fmt.Sprintf("%s %d", round, i)
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: int32(i % partitions), Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			acked[value] = true
		}
	}
	read := func(c *harness.Cluster) {
		t.Helper()
		client := newClient(t, c, kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer client.Close()
		for done < len(acked) {
			fetches := client.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			done += fetches.NumRecords()
		}
		if err := client.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(c, "before the backup")
	read(c)
	strangers(t, c)
	ok(t, "", "backup", api, "--to", file)
	if direct := ok(t, "", "backup", "--to", "-", "--data", dir); !strings.HasPrefix(direct, `{"format":"millrace-backup"`) {
		t.Errorf("read from etcd itself: %.100s", direct)
	}
	if r := millrace(t, "", "restore", "--from", file, "--data", dir); r.code != 1 || !strings.Contains(r.err, "stop it first") {
		t.Errorf("beside serve: %+v", r)
	}
	write(c, "after the backup")
	operate(t, c, "roll") // everything moves at least twice
	write(c, "after the moves")
	read(c)
	if len(args) == 0 {
		c.Stop(t)
	} else {
		killAll(t, c)
	}

	if r := millrace(t, "", "restore", "--from", file, "--data", dir); len(args) == 0 && (r.code != 1 || !strings.Contains(r.err, "not empty")) {
		t.Fatalf("over an etcd that is there: %+v", r)
	}
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	var plan struct {
		Done bool
		Plan struct{ Topics, Partitions, Forward, Moved int }
	}
	decode(t, ok(t, "", "restore", "--from", file, "--data", dir, "--dry-run", "--output", "json"), &plan)
	if plan.Done || plan.Plan.Topics < 1 {
		t.Fatalf("%+v", plan)
	}
	decode(t, ok(t, "", "restore", "--from", file, "--data", dir, "--output", "json"), &plan)
	t.Logf("restored: %+v", plan)
	if !plan.Done {
		t.Fatal("not done")
	}

	options.KafkaPort, options.APIPort, options.Brokers = 0, 0, 0
	again := harness.StartMillrace(t, options)
	write(again, "after the restore")
	readExactly(t, again, "t", acked)
	lag, err := kadm.NewClient(newClient(t, again)).Lag(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if total := lag["g"].Lag.Total(); total != 20*partitions { // what was written after the restore
		t.Errorf("the group's lag is %d, want %d", total, 20*partitions)
	}
	if r := audit(t, 0, "--api=http://"+again.API); !r.Clean || r.Checked < partitions {
		t.Errorf("audit after the restore: %+v", r)
	}
}
