package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// known is what is searched for: nothing else has these bytes.
func known() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return "known" + hex.EncodeToString(b)
}

// holding lists the files below dir that have some bytes in them, but for those that are named.
func holding(t *testing.T, dir, what string, but ...string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || slices.Contains(but, path) {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(what)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// image is the sum of every file below dirs.
func image(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			sum := sha256.Sum256(data)
			all[path] = hex.EncodeToString(sum[:])
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return all
}

// writeKnown leaves records with a known value in the log, in a segment, in an open transaction's, in a group's offsets and in a compacted topic.
func writeKnown(t *testing.T, c *kgo.Client, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin := kadm.NewClient(c)
	often := "100"
	hurried := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.backoff.ms", Value: &often}, {Op: kadm.SetConfig, Name: "log.retention.check.interval.ms", Value: &often}}
	if _, err := admin.AlterBrokerConfigs(ctx, hurried); err != nil {
		t.Fatal(err)
	}
	compact, clean := "compact", "0"
	configs := map[string]*string{"cleanup.policy": &compact, "segment.ms": &often, "min.cleanable.dirty.ratio": &clean}
	if _, err := admin.CreateTopic(ctx, 1, 1, configs, "compacted"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, "plain"); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		for _, topic := range []string{"plain", "compacted"} {
			r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, value, " key ", i%5), Value: fmt.Append(nil, value, " ", i), Headers: []kgo.RecordHeader{{Key: value, Value: []byte(value)}}}
			if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "plain", Partition: 0, At: 1, LeaderEpoch: -1, Metadata: value})
	if err := admin.CommitAllOffsets(ctx, "group", offsets); err != nil {
		t.Fatal(err)
	}
}

// awaitSegment waits until a segment lies in the store.
func awaitSegment(t *testing.T, dir string) {
	t.Helper()
	harness.Eventually(t, time.Minute, "a segment is in the store", func(context.Context) error {
		if len(segmentsOf(t, dir)) == 0 {
			return os.ErrNotExist
		}
		return nil
	})
}

// readsKnown reads all that writeKnown left.
func readsKnown(t *testing.T, c *kgo.Client, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c.AddConsumeTopics("plain", "compacted")
	for plain, keys := 0, map[string]bool{}; plain < 20 || len(keys) < 5; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v after %d records and %d keys", err, plain, len(keys))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !strings.HasPrefix(string(r.Value), value) {
				t.Errorf("a record of another value: %q", r.Value)
			}
			if r.Topic == "plain" {
				plain++
			} else {
				keys[string(r.Key)] = true
			}
		})
	}
}

// TestNothingAtRestCanBeRead searches everything that serve keeps, with either log, while it runs and after it was killed.
func TestNothingAtRestCanBeRead(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	for _, log := range []string{"file", "object"} {
		t.Run(log, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			options := harness.MillraceOptions{Dir: dir, Brokers: 2, Args: []string{"--wal", log}}
			s := serveSecure(t, options, "--secure")
			record, password := known(), known()
			writeKnown(t, s.iam(kgo.AllowAutoTopicCreation()), record)
			s.user("alice", password)
			var key struct {
				Secret string `json:"secret_access_key"`
			}
			s.verb("iam", "user", "create", "carol")
			decode(t, s.verb("iam", "key", "create", "carol", "--output", "json"), &key)
			if key.Secret == "" {
				t.Fatal("no secret")
			}
			_, root := s.root()
			awaitSegment(t, dir)
			secrets := map[string]string{"record": record, "password": password, "root's secret key": root, "carol's secret key": key.Secret}
			search := func(when string) {
				t.Helper()
				for name, what := range secrets {
					if found := holding(t, dir, what, filepath.Join(dir, "secure", "root.json")); len(found) > 0 {
						t.Errorf("%s, the %s can be read in %v", when, name, found)
					}
				}
			}
			search("while it runs")
			killAll(t, s.Cluster)
			search("after it was killed")
			if r := millrace(t, "", "audit", "--offline", "--data", dir, "--output", "json"); r.code != 0 {
				t.Errorf("audit --offline: %+v", r)
			}
			options.KafkaPort, options.APIPort = portIn(t, s.Bootstrap), portIn(t, s.API)
			again := serveSecure(t, options)
			readsKnown(t, again.iam(), record)
			again.verb("cluster", "roll")
			readsKnown(t, again.iam(), record)
			var report auditReport
			decode(t, again.verb("audit", "--output", "json"), &report)
			if !report.Clean || report.Checked == 0 {
				t.Errorf("audit: %+v", report)
			}
			search("after a restart and a roll")
			again.Stop(t)
		})
	}
}

// TestPlainAtRestIsFound shows that the search finds what it looks for where nothing is encrypted.
func TestPlainAtRestIsFound(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	c := harness.StartMillrace(t, harness.MillraceOptions{})
	record := known()
	writeKnown(t, newClient(t, c), record)
	awaitSegment(t, c.Dir)
	if found := holding(t, filepath.Join(c.Dir, "store"), record); len(found) == 0 {
		t.Error("the record is not found in a segment that is not encrypted")
	}
	if found := holding(t, c.Dir, record); len(found) < 2 {
		t.Errorf("the record is found in %v only", found)
	}
}

// TestWrongKeyRing starts an encrypted cluster with another key ring, and with none: it says so and touches no data.
func TestWrongKeyRing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	options := harness.MillraceOptions{Dir: dir}
	s := serveSecure(t, options, "--secure")
	record := known()
	writeKnown(t, s.iam(), record)
	s.Stop(t)
	ring := filepath.Join(dir, "secure", "keyring.json")
	right, err := os.ReadFile(ring)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "--data", dir, "--kafka", s.Bootstrap, "--listen", s.API}
	serving, auditing := refusal{t, dir, args}, refusal{t, dir, []string{"audit", "--offline", "--data", dir}}
	if err := os.Remove(ring); err != nil {
		t.Fatal(err)
	}
	serving.with("no key ring", "key ring: ")
	auditing.with("audit without a key ring", "key ring: ")
	ok(t, "", "kms", "keyring", ring)
	if err := os.Remove(ring + ".lock"); err != nil {
		t.Fatal(err)
	}
	serving.with("another key ring", "not to be unwrapped by this KMS")
	auditing.with("audit with another key ring", "not to be unwrapped by this KMS")
	if err := os.WriteFile(ring, right, 0o600); err != nil {
		t.Fatal(err)
	}
	options.KafkaPort, options.APIPort = portIn(t, s.Bootstrap), portIn(t, s.API)
	readsKnown(t, serveSecure(t, options).iam(), record)
}
