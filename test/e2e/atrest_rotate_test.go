package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// secureLoad writes to every partition until it is stopped, over a connection with a login.
type secureLoad struct {
	stopping context.CancelFunc
	done     sync.WaitGroup
	mu       sync.Mutex
	acked    map[string]bool
	faults   []error
}

func (s secured) load(topic string, partitions int) *secureLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &secureLoad{stopping: cancel, acked: map[string]bool{}}
	c := s.iam(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for p := range partitions {
		l.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				value := fmt.Sprintf("%d of %d", i, p)
				err := c.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte(value)}).FirstErr()
				l.mu.Lock()
				if err != nil {
					l.faults = append(l.faults, err)
				} else {
					l.acked[value] = true
				}
				l.mu.Unlock()
			}
		})
	}
	s.t.Cleanup(func() { cancel(); l.done.Wait() })
	return l
}

// await waits for n more records.
func (l *secureLoad) await(t *testing.T, n int) {
	t.Helper()
	count := func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.acked) }
	from := count()
	harness.Eventually(t, time.Minute, "more records", func(context.Context) error {
		if now := count(); now < from+n {
			return fmt.Errorf("%d of %d", now-from, n)
		}
		return nil
	})
}

// stop ends the load: no error, and every record there once.
func (l *secureLoad) stop(t *testing.T, s secured, topic string) {
	t.Helper()
	l.stopping()
	l.done.Wait()
	if len(l.faults) > 0 {
		t.Errorf("%d produces failed: %v", len(l.faults), l.faults[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reader := s.iam(kgo.ConsumeTopics(topic))
	seen := map[string]bool{}
	for len(seen) < len(l.acked) {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v after %d of %d records", err, len(seen), len(l.acked))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if seen[string(r.Value)] || !l.acked[string(r.Value)] {
				t.Errorf("record %q: twice, or never written", r.Value)
			}
			seen[string(r.Value)] = true
		})
	}
	t.Logf("%d records, each once", len(seen))
}

// keysOf is what `millrace kms status` says: the newest data key by purpose, and what wraps the data keys.
func (s secured) keysOf() (newest map[string]int, by map[string]bool) {
	s.t.Helper()
	var all struct {
		Keys []struct {
			Purpose string
			ID      int
			KMS     string
		}
	}
	if err := json.Unmarshal([]byte(s.verb("kms", "status", "--output", "json")), &all); err != nil {
		s.t.Fatal(err)
	}
	newest, by = map[string]int{}, map[string]bool{}
	for _, k := range all.Keys {
		newest[k.Purpose] = max(newest[k.Purpose], k.ID)
		by[k.KMS] = true
	}
	return newest, by
}

// TestKeysRotatedUnderLoad makes new data keys and a new key in the key ring, moves to another key ring, and kills a broker, under load.
func TestKeysRotatedUnderLoad(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const partitions = 6
	dir := filepath.Join(t.TempDir(), "data")
	options := harness.MillraceOptions{Dir: dir, Brokers: 3, Args: []string{"--wal", "object"}}
	s := serveSecure(t, options, "--secure")
	s.topic("t", partitions)
	l := s.load("t", partitions)
	ring, other := filepath.Join(dir, "secure", "keyring.json"), filepath.Join(t.TempDir(), "other.json")
	for round := range 3 {
		l.await(t, 300)
		ok(t, "", "kms", "keyring", ring)
		s.verb("kms", "rewrap")
		s.verb("kms", "rotate")
		l.await(t, 300)
		if newest, _ := s.keysOf(); newest["clusters/default"] != round+2 || newest["secrets"] != round+2 {
			t.Errorf("after %d rotations: %v", round+1, newest)
		}
		s.underKey(t, l, round+2)
	}
	s.verb("cluster", "roll") // what rests under old keys is read, what is new goes under the newest
	l.await(t, 300)
	if err := syscall.Kill(brokerPID(t, s.Cluster, 2), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.await(t, 300)
	ok(t, "", "kms", "keyring", other)
	s.verb("kms", "rewrap", "--to", "keyring://"+other)
	if _, by := s.keysOf(); len(by) != 1 || !by["keyring://"+other] {
		t.Errorf("wrapped by %v", by)
	}
	l.await(t, 300) // running brokers go on
	if out := s.failing("kms", "rotate"); !strings.Contains(out, "broker 1 of default, broker 2 of default, broker 3 of default, serve on local") {
		t.Errorf("new data keys that the brokers cannot learn: %s", out)
	}
	if newest, _ := s.keysOf(); newest["clusters/default"] != 4 || newest["secrets"] != 4 {
		t.Errorf("made all the same: %v", newest)
	}
	l.stop(t, s, "t")
	trail := s.verb("audit", "log", "--data", dir, "--output", "json")
	for _, action := range []string{"millrace:RotateDataKeys", "millrace:RewrapDataKeys"} {
		if !strings.Contains(trail, action) {
			t.Errorf("%s is not on record", action)
		}
	}
	s.Stop(t)
	options.KafkaPort, options.APIPort = portIn(t, s.Bootstrap), portIn(t, s.API)
	if err := os.Remove(ring); err != nil { // nothing needs it any more
		t.Fatal(err)
	}
	again := serveSecure(t, options, "--kms", "keyring://"+other)
	l.stop(t, again, "t")
	again.verb("kms", "rotate")
	more := again.load("t", partitions)
	again.underKey(t, more, 5)
	more.stopping()
}

// objectKeys is the data key of each object that is a part of a log, by its file.
func (s secured) objectKeys() map[string]int {
	s.t.Helper()
	all := map[string]int{}
	err := filepath.WalkDir(filepath.Join(s.Dir, "store"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // trimmed meanwhile
		}
		if err != nil || !d.Type().IsRegular() || !strings.Contains(path, "/objects/wal/") || len(d.Name()) != len("0000000000000001") {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !bytes.HasPrefix(data, []byte("MLRCobj\n")) || len(data) < 32 {
			return fmt.Errorf("%s is not encrypted", path)
		}
		all[path] = int(binary.BigEndian.Uint32(data[12:])) // docs/formats/sealed-object.md
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// underKey shows that records which are written now are encrypted with a data key: soon after a rotation, when all brokers have settled on
// it, and from then on.
func (s secured) underKey(t *testing.T, l *secureLoad, id int) {
	t.Helper()
	window := func() error {
		before := s.objectKeys()
		l.await(t, 100)
		seen, other := 0, map[int]int{}
		for path, key := range s.objectKeys() {
			if _, old := before[path]; old {
				continue
			}
			if seen++; key != id {
				other[key]++
			}
		}
		if seen == 0 || len(other) > 0 {
			return fmt.Errorf("%d new parts of logs, of which under other data keys (by id): %v", seen, other)
		}
		return nil
	}
	harness.Eventually(t, time.Minute, fmt.Sprintf("new records are under data key %d", id), func(context.Context) error { return window() })
	if err := window(); err != nil {
		t.Error(err)
	}
}
