package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"millrace/base/kv"
	"millrace/base/kv/kvtest"
)

func TestSuite(t *testing.T) {
	e := startMember(t, t.TempDir())
	number := 0
	kvtest.Run(t, func(t *testing.T) kvtest.Store {
		number++ // a prefix each instead of a member each, which also tests prefixes
		c := dial(t, e, fmt.Sprintf("test%d/", number))
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return kvtest.Store{
			KV: c,
			Compact: func(ctx context.Context, rev int64) error {
				_, err := c.etcd.Compact(ctx, rev, clientv3.WithCompactPhysical())
				return err
			},
			Expire: func(ctx context.Context, id kv.LeaseID) error {
				_, err := c.etcd.Revoke(ctx, clientv3.LeaseID(id))
				return err
			},
		}
	})
}

// TestRestart checks that data outlives the member, that a client finds the new one by itself, that a watch
// goes on without a gap, and how long it takes.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	e := startMember(t, dir)
	c := dial(t, e, "")
	defer c.Close()
	rev := put(t, c, "a", "1")
	t.Logf("start to first put: %v", time.Since(begin))
	events := c.Watch(t.Context(), "", rev)
	<-events

	endpoint := e.Endpoint()
	begin = time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("close took %v with a client and a watch", d)
	}
	<-e.Done()
	if err := e.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}

	begin = time.Now()
	e = startMember(t, dir)
	if e.Endpoint() != endpoint {
		t.Errorf("the endpoint was %s and is %s", endpoint, e.Endpoint())
	}
	put(t, c, "a", "2")
	t.Logf("restart to first put: %v", time.Since(begin))
	if got := <-events; string(got.Item.Value) != "2" {
		t.Errorf("the watch goes on with %v", got)
	}
}

func TestSecondMemberOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	e := startMember(t, dir)
	_, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: dir})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	c := dial(t, e, "") // the first goes on, and its socket is still there
	defer c.Close()
	put(t, c, "a", "1")
}

func TestDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20c") // names that a URL would change
	e := startMember(t, dir)
	c := dial(t, e, "")
	defer c.Close()
	put(t, c, "a", "1")
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "etcd.sock"): 0o600 | os.ModeSocket} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 20))
	short := filepath.Join("/tmp", fmt.Sprintf("m%d", os.Getpid()))
	if err := os.MkdirAll(short, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	t.Setenv("TMPDIR", short)
	e := startMember(t, dir)
	c := dial(t, e, "")
	defer c.Close()
	put(t, c, "a", "1")
	socket := e.socket
	if !strings.HasPrefix(socket, os.TempDir()) {
		t.Errorf("the socket is %s", socket)
	}
	if err := os.Chmod(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := socketPath(dir, os.TempDir()); err == nil {
		t.Error("a directory that others can enter was taken for private")
	}
	if _, err := socketPath(dir, dir); err == nil {
		t.Error("a path that is too long was taken")
	}
}

func TestBadConfig(t *testing.T) {
	_, err := StartEmbedded(t.Context(), EmbeddedConfig{QuotaBytes: MaxQuota + 1})
	if err == nil || !strings.Contains(err.Error(), "directory") || !strings.Contains(err.Error(), "quota") {
		t.Errorf("got %v", err)
	}
}

// TestCallsWaitForTheMember checks K6.
func TestCallsWaitForTheMember(t *testing.T) {
	dir := t.TempDir()
	e := startMember(t, dir)
	c := dial(t, e, "")
	defer c.Close()
	put(t, c, "a", "1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("get from a stopped member: %v", err)
	}
	if _, err := c.Txn(ctx, nil, []kv.Op{kv.Put("a", nil)}); !errors.Is(err, kv.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put to a stopped member: %v", err)
	}
	got := make(chan error)
	go func() {
		_, err := c.Get(t.Context(), "a")
		got <- err
	}()
	startMember(t, dir)
	if err := <-got; err != nil {
		t.Errorf("get over a restart: %v", err)
	}
}

func TestNoSpace(t *testing.T) {
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: t.TempDir(), QuotaBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := dial(t, e, "")
	defer c.Close()
	for i := range 100 {
		if _, err = c.Txn(t.Context(), nil, []kv.Op{kv.Put(fmt.Sprint(i), make([]byte, 100<<10))}); err != nil {
			break
		}
	}
	if !errors.Is(err, kv.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
}

func TestLogging(t *testing.T) {
	var buf bytes.Buffer
	lg := newLogger(slog.New(slog.NewTextHandler(&buf, nil)))
	lg.Info("not this")
	lg.Warn("nor this")
	lg.Error("but this")
	if got := buf.String(); strings.Contains(got, "this") != strings.Contains(got, "but this") ||
		!strings.Contains(got, "level=WARN") || strings.Count(got, "\n") != 1 {
		t.Errorf("logged %s", got)
	}
}

func BenchmarkTxn(b *testing.B) {
	e, err := StartEmbedded(b.Context(), EmbeddedConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	c, err := Dial(b.Context(), []string{e.Endpoint()}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		if _, err := c.Txn(b.Context(), nil, []kv.Op{kv.Put("a", make([]byte, 512))}); err != nil {
			b.Fatal(err)
		}
	}
}

func startMember(t *testing.T, dir string) *Embedded {
	t.Helper()
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func dial(t *testing.T, e *Embedded, prefix string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), []string{e.Endpoint()}, Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c kv.KV, key, value string) int64 {
	t.Helper()
	rev, err := c.Txn(t.Context(), nil, []kv.Op{kv.Put(key, []byte(value))})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}
