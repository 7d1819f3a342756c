package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/test/harness"
)

// etcdPrefix is before all of millrace's keys in etcd.
const etcdPrefix = "millrace/"

// stopped returns the data directory of a cluster that has a topic with records, and was stopped.
func stopped(t *testing.T, prepare func(*cluster)) string {
	t.Helper()
	c := startMillrace(t)
	c.topic("kept", 1)
	c.write(t, "kept", 10, "a", "b", "c")
	if prepare != nil {
		prepare(c)
	}
	c.Stop(t)
	return c.Dir
}

// files returns the contents of the files below dir, but for etcd's own and logs.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, part := range []string{"brokers", "store"} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "lock") {
				return err
			}
			text, err := os.ReadFile(path)
			found[path] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// each changes every file below dir whose name ends so, in place, and returns the name of the last one.
func each(t *testing.T, dir, suffix string, change func([]byte) []byte) (name string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name = entry.Name()
		return os.WriteFile(path, change(b), 0o600)
	})
	if err != nil || name == "" {
		t.Fatalf("no file to change below %s: %v", dir, err)
	}
	return name
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// inEtcd runs change against the etcd of a stopped cluster.
func inEtcd(t *testing.T, dir string, change func(context.Context, kv.KV) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	member, err := etcd.StartEmbedded(ctx, etcd.EmbeddedConfig{Dir: filepath.Join(dir, "etcd")})
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	client, err := etcd.Dial(ctx, []string{member.Endpoint()}, etcd.Options{Prefix: etcdPrefix})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := change(ctx, client); err != nil {
		t.Fatal(err)
	}
}

// newer sets a field of every JSON record below a prefix.
func newer(prefix, field string) func(context.Context, kv.KV) error {
	return func(ctx context.Context, store kv.KV) error {
		items, _, err := store.List(ctx, prefix)
		if err != nil || len(items) == 0 {
			return fmt.Errorf("nothing below %s: %w", prefix, err)
		}
		for _, item := range items {
			var record map[string]any
			if err := json.Unmarshal(item.Value, &record); err != nil {
				return err
			}
			record[field] = 9
			value, err := json.Marshal(record)
			if err == nil {
				_, err = store.Txn(ctx, nil, []kv.Op{kv.Put(item.Key, value)})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// attempt starts serve on a directory that it cannot read, and waits until what it and its broker print has all the words.
func attempt(t *testing.T, dir string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	port := harness.FreePorts(t, 2)
	command := exec.CommandContext(ctx, harness.MillraceBinary(t), "serve", "--data", dir,
		"--kafka", fmt.Sprintf("127.0.0.1:%d", port), "--listen", fmt.Sprintf("127.0.0.1:%d", port+1))
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = patience
	log := filepath.Join(t.TempDir(), "log")
	output, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		serve, _ := os.ReadFile(log)
		brokers, _ := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
		for _, path := range brokers {
			broker, _ := os.ReadFile(path)
			serve = append(serve, broker...)
		}
		return string(serve)
	}
	harness.Eventually(t, patience, "the refusal is told", func(context.Context) error {
		text := said()
		for _, word := range words {
			if !strings.Contains(text, word) {
				return fmt.Errorf("nothing of %q in:\n%.3000s", word, text)
			}
		}
		return nil
	})
	cancel()
	_ = command.Wait()
}

func TestNewerFormatsAreRefused(t *testing.T) {
	harness.Long(t, "make suite SUITE=hostile")
	for _, format := range []struct {
		name    string
		prepare func(*cluster)
		spoil   func(t *testing.T, dir string) (words []string)
	}{
		{"log file", nil, func(t *testing.T, dir string) []string {
			name := each(t, filepath.Join(dir, "brokers"), ".wal", func(b []byte) []byte {
				binary.BigEndian.PutUint16(b[8:], 9)
				binary.BigEndian.PutUint32(b[60:], castagnoli(b[:60]))
				return b
			})
			return []string{name, "newer", "format 9", "up to 2"}
		}},
		{"segment", cut, func(t *testing.T, dir string) []string {
			each(t, filepath.Join(dir, "store", "default", "objects", "segments"), "", func(b []byte) []byte {
				trailer := b[len(b)-24:]
				binary.BigEndian.PutUint32(trailer[8:], 9)
				binary.BigEndian.PutUint32(trailer[12:], castagnoli(trailer[:12]))
				return b
			})
			return []string{"segments/", "newer", "format 9", "up to 1"}
		}},
		{"manifest", cut, func(t *testing.T, dir string) []string {
			each(t, filepath.Join(dir, "store", "default", "objects", "manifests"), "", func(b []byte) []byte {
				text, _, _ := bytes.Cut(b, []byte("\ncrc32c"))
				text = bytes.Replace(text, []byte(`"format":1`), []byte(`"format":9`), 1)
				return fmt.Appendf(text, "\ncrc32c %08x\n", castagnoli(text))
			})
			return []string{"newer", "format 9", "up to 1"}
		}},
		{"manifest pointer", cut, func(t *testing.T, dir string) []string {
			inEtcd(t, dir, newer("clusters/default/manifests/", "format"))
			return []string{"newer", "format 9", "up to 1"}
		}},
		{"topic record", nil, func(t *testing.T, dir string) []string {
			inEtcd(t, dir, newer("clusters/default/catalog/", "version"))
			return []string{"newer", "version 9", "up to 1"}
		}},
		{"cluster record", nil, func(t *testing.T, dir string) []string {
			inEtcd(t, dir, newer("control/clusters/", "format"))
			return []string{"newer", "9", "1"}
		}},
	} {
		t.Run(format.name, func(t *testing.T) {
			dir := stopped(t, format.prepare)
			words := format.spoil(t, dir)
			before := files(t, dir)
			attempt(t, dir, words...)
			after := files(t, dir)
			for path, text := range before {
				if after[path] != text {
					t.Errorf("%s was changed or removed", path)
				}
			}
			for path := range after {
				if _, ok := before[path]; !ok {
					t.Errorf("%s appeared", path)
				}
			}
		})
	}
}

// cut makes the broker write a segment and a manifest.
func cut(c *cluster) {
	t := c.t.(*testing.T)
	c.hurry(t)
	c.topic("cut", 1, "cleanup.policy=compact", "segment.ms=100", "min.cleanable.dirty.ratio=0")
	c.write(t, "cut", 10, "a", "b", "a")
	began := time.Now()
	harness.Eventually(t, patience, "a segment is written", func(context.Context) error {
		matches := 0
		err := filepath.WalkDir(filepath.Join(c.Dir, "store", "default", "objects"), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && entry.Name() != "cluster-id" {
				matches++
			}
			return err
		})
		if err != nil || matches < 2 {
			return fmt.Errorf("%d objects after %v: %w", matches, time.Since(began), err)
		}
		return nil
	})
}
