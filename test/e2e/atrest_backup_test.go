package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// TestBackupWipeAndRestoreEncrypted loses the etcd of an encrypted cluster, with its wrapped data keys, some time after the backup. With
// another key ring, or none, restore says so and touches nothing; with the right one every record that was acknowledged is there.
func TestBackupWipeAndRestoreEncrypted(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	for _, log := range []string{"file", "object"} {
		t.Run("logs as "+log, func(t *testing.T) { backupWipeAndRestoreEncrypted(t, log) })
	}
}

func backupWipeAndRestoreEncrypted(t *testing.T, log string) {
	const partitions = 8
	dir, elsewhere := filepath.Join(t.TempDir(), "data"), t.TempDir()
	options := harness.MillraceOptions{Dir: dir, Brokers: 2, Args: []string{"--wal", log}}
	s := serveSecure(t, options, "--secure")
	s.topic("t", partitions)
	password := known()
	alice := s.user("alice", password)
	acked := map[string]bool{}
	s.fill("t", partitions, "before the backup", acked)
	file := filepath.Join(elsewhere, "backup")
	s.verb("backup", "--to", file)
	_, root := s.root()
	for _, secret := range []string{password, root} {
		if found := holding(t, elsewhere, secret); len(found) > 0 {
			t.Errorf("a secret can be read in %v", found)
		}
	}
	s.fill("t", partitions, "after the backup", acked)
	s.verb("cluster", "roll")
	s.fill("t", partitions, "after the moves", acked)
	killAll(t, s.Cluster)
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}

	ring, other := filepath.Join(dir, "secure", "keyring.json"), filepath.Join(elsewhere, "other.json")
	right, err := os.ReadFile(ring)
	if err != nil {
		t.Fatal(err)
	}
	ok(t, "", "kms", "keyring", other)
	refuses := refusal{t, dir, []string{"restore", "--from", file, "--data", dir}}
	refuses.with("another key ring", "not to be unwrapped by this KMS", "--kms", "keyring://"+other)
	if err := os.Remove(ring); err != nil {
		t.Fatal(err)
	}
	refuses.with("no key ring", "key ring: ")
	refuses.with("no key ring, and told to go on", "key ring: ", "--force", "--accept-missing", "--drop-unknown")
	if err := os.WriteFile(ring, right, 0o600); err != nil {
		t.Fatal(err)
	}
	// Without --force: nothing is in etcd yet.
	var plan struct{ Done bool }
	decode(t, ok(t, "", "restore", "--from", file, "--data", dir, "--output", "json"), &plan)
	if !plan.Done {
		t.Fatal("not done")
	}

	options.KafkaPort, options.APIPort, options.Brokers = portIn(t, s.Bootstrap), portIn(t, s.API), 0
	again := serveSecure(t, options)
	again.fill("t", partitions, "after the restore", acked)
	again.readsExactly("t", acked)
	works(t, "a user of before", again.client(portScram, again.trust(), alice), "t")
	var report auditReport
	decode(t, again.verb("audit", "--output", "json"), &report)
	if !report.Clean || report.Checked < partitions {
		t.Errorf("audit after the restore: %+v", report)
	}
	if found := holding(t, dir, "before the backup 1"); len(found) > 0 {
		t.Errorf("a record can be read in %v", found)
	}
}

// fill writes records to every partition, and adds them to acked.
func (s secured) fill(topic string, partitions int, round string, acked map[string]bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c := s.iam(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range 20 * partitions {
		value := fmt.Sprintf("%s %d", round, i)
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(value)}).FirstErr(); err != nil {
			s.t.Fatalf("%s: %v", round, err)
		}
		acked[value] = true
	}
}

// readsExactly reads a topic until every record that was acknowledged was seen, each once, and no other.
func (s secured) readsExactly(topic string, acked map[string]bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	reader := s.iam(kgo.ConsumeTopics(topic))
	for seen := map[string]bool{}; len(seen) < len(acked); {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("%v after %d of %d records", err, len(seen), len(acked))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if value := string(r.Value); !acked[value] || seen[value] {
				s.t.Errorf("record %q at offset %d of partition %d: never written, or doubled", value, r.Offset, r.Partition)
			}
			seen[string(r.Value)] = true
		})
	}
}

// refusal runs a verb that must refuse, and say why.
type refusal struct {
	t    *testing.T
	dir  string
	args []string
}

// with adds arguments; hint is what the message holds. Nothing below the data directory may change but etcd's own files, which starts and
// stops, and the lock, which names the process that has it.
func (r refusal) with(what, hint string, args ...string) {
	r.t.Helper()
	kept := func() map[string]string {
		all := image(r.t, r.dir)
		for path := range all {
			if strings.HasPrefix(path, filepath.Join(r.dir, "etcd")+"/") || path == filepath.Join(r.dir, "lock") {
				delete(all, path)
			}
		}
		return all
	}
	before := kept()
	done := millrace(r.t, "", append(r.args, args...)...)
	if done.code == 0 || !strings.Contains(done.err, hint) {
		r.t.Errorf("%s: exit code %d\n%s", what, done.code, done.err)
	}
	after := kept()
	for path := range before {
		if before[path] != after[path] {
			r.t.Errorf("%s: %s was changed", what, path)
		}
	}
	for path := range after {
		if before[path] == "" {
			r.t.Errorf("%s: %s was made", what, path)
		}
	}
}
