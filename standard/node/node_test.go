package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/disk"
	"millrace/base/proc"
	"millrace/engine"
	"millrace/engine/reach"
	"millrace/standard/dist"
	"millrace/standard/render"
)

// TestMain lets the test binary stand in for a process that has a node's storage: `hold FILE` locks it as Java does and says so.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "hold" {
		f, err := os.OpenFile(os.Args[2], os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
		}
		fmt.Println("held", err)
		select {}
	}
	m.Run()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const fakeJava = `#!/bin/sh
case "$*" in
-version) echo 'openjdk version "17.0.1"';;
*StorageTool*) mkdir -p data && echo bootstrap > data/bootstrap.checkpoint;;
*) echo "Kafka Server started";;
esac
`

// newEngine has a distribution whose Java does nothing.
func newEngine(t *testing.T) Engine {
	t.Helper()
	dir := t.TempDir()
	libs := filepath.Join(dir, "home", "libs")
	must(t, os.MkdirAll(libs, 0o700))
	must(t, os.WriteFile(filepath.Join(libs, "kafka_2.13-4.3.1.jar"), nil, 0o600))
	java := filepath.Join(dir, "java")
	must(t, os.WriteFile(java, []byte(fakeJava), 0o700))
	d, err := dist.New(dist.Config{
		Dir: filepath.Join(dir, "kafka"), Homes: []string{filepath.Dir(libs)}, Java: java, FS: disk.OS(""), Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	return Engine{Dist: d, Data: filepath.Join(dir, "data"), FS: disk.OS("")}
}

func broker() engine.NodeSpec {
	return engine.NodeSpec{
		Host: "h", Cluster: "c", ID: 1, Engine: engine.Standard, Version: "4.3.x", ClusterID: "AAAAAAAAAAAAAAAAAAAAAQ", Listen: "127.0.0.1:1",
		Voters: []engine.Voter{{ID: 10001, Address: "127.0.0.1:2"}},
	}
}

func prepare(t *testing.T, e Engine, s engine.NodeSpec) error {
	return e.Prepare(t.Context(), s, func(string) {})
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return string(b)
}

// TestStorageIsFormattedOnce, and what was half done is redone (N1).
func TestStorageIsFormattedOnce(t *testing.T) {
	e, s := newEngine(t), broker()
	half := filepath.Join(e.dir(s), formattingDir)
	must(t, os.MkdirAll(filepath.Join(half, "deep"), 0o700))
	must(t, os.WriteFile(filepath.Join(half, metaFile), []byte("version="), 0o600))
	must(t, prepare(t, e, s))
	meta := filepath.Join(e.dir(s), dataDir, metaFile)
	first := read(t, meta)
	if m, err := parseMeta([]byte(first)); err != nil || m.cluster != s.ClusterID || m.node != s.ID {
		t.Errorf("%q is %+v, %v", first, m, err)
	}
	if got := read(t, filepath.Join(e.dir(s), dataDir, checkpointFile)); got != "bootstrap\n" {
		t.Errorf("the bootstrap metadata are %q", got)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Error("what was half done is still there")
	}
	s.Properties = "num.io.threads=3"
	must(t, prepare(t, e, s))
	if again := read(t, meta); again != first {
		t.Errorf("it was formatted again: %q, before %q", again, first)
	}
	if text := read(t, filepath.Join(e.dir(s), propertiesFile)); !strings.Contains(text, "num.io.threads=3\n") {
		t.Errorf("the properties were not written anew:\n%s", text)
	}
}

// TestForeignStorageIsRefused, and not touched (N1).
func TestForeignStorageIsRefused(t *testing.T) {
	for what, text := range map[string]string{
		"another cluster": "version=1\ncluster.id=BBBBBBBBBBBBBBBBBBBBBQ\nnode.id=1\n",
		"another node":    "version=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=2\n",
		"an older form":   "version=0\nbroker.id=1\n",
		"half a file":     "version=1\ncluster.id=AAAAAAA",
		"nothing":         "",
		"no file":         "-",
	} {
		e, s := newEngine(t), broker()
		data := filepath.Join(e.dir(s), dataDir)
		must(t, os.MkdirAll(data, 0o700))
		if text != "-" {
			must(t, os.WriteFile(filepath.Join(data, metaFile), []byte(text), 0o600))
		}
		must(t, os.WriteFile(filepath.Join(data, "segment"), []byte("records"), 0o600))
		if err := prepare(t, e, s); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
		if read(t, filepath.Join(data, "segment")) != "records" {
			t.Errorf("%s: the records are gone", what)
		}
	}
}

// TestNodesThatCannotBePreparedHaveNothingGot: a bad spec downloads nothing and formats nothing.
func TestNodesThatCannotBePreparedHaveNothingGot(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(*Engine, *engine.NodeSpec)
		want  error
	}{
		"an unknown version": {func(_ *Engine, s *engine.NodeSpec) { s.Version = "2.8.x" }, dist.ErrVersion},
		"a bad property":     {func(_ *Engine, s *engine.NodeSpec) { s.Properties = "log.dirs=/" }, render.ErrProperty},
		"no quorum":          {func(_ *Engine, s *engine.NodeSpec) { s.Voters = nil }, render.ErrSpec},
		"open to everybody": {func(e *Engine, s *engine.NodeSpec) {
			e.Guarded, s.Listen = true, "10.0.0.1:9092"
		}, ErrAnonymous},
	} {
		e, s := newEngine(t), broker()
		c.spoil(&e, &s)
		if err := prepare(t, e, s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if _, _, err := e.Command(s); !errors.Is(err, c.want) {
			t.Errorf("%s: command: %v", what, err)
		}
		if err := e.Usable(t.Context(), s); !errors.Is(err, c.want) {
			t.Errorf("%s: usable: %v", what, err)
		}
		if _, err := os.Stat(e.Data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was made", what)
		}
	}
	e, s := newEngine(t), broker()
	s.Listeners = []engine.Listener{{Name: engine.Internal, Address: "127.0.0.1:1", TLS: true, ClientCert: engine.CertNeed}}
	if err := prepare(t, e, s); !errors.Is(err, ErrNoCertificate) {
		t.Error(err)
	}
	e, s = newEngine(t), broker()
	s.ClusterID = "main"
	if err := prepare(t, e, s); err == nil {
		t.Error("an id that Kafka does not take is taken")
	}
}

// TestCommandIsThatOfTheSpec (N4).
func TestCommandIsThatOfTheSpec(t *testing.T) {
	e, s := newEngine(t), broker()
	path, before, err := e.Command(s)
	must(t, err)
	must(t, prepare(t, e, s))
	s.Properties = "num.io.threads=3"
	again, after, err := e.Command(s)
	must(t, err)
	if path != again || !slices.Equal(before, after) {
		t.Errorf("%q became %q", before, after)
	}
	s.Zone = "other"
	if _, other, _ := e.Command(s); slices.Equal(before, other) {
		t.Error("another rack asks for no start")
	}
}

// TestStorageInUseIsLeftAlone (N3).
func TestStorageInUseIsLeftAlone(t *testing.T) {
	e, s := newEngine(t), broker()
	must(t, e.Remove(s)) // there is nothing
	must(t, prepare(t, e, s))
	self, err := proc.Self()
	must(t, err)
	said := make(chan string, 8)
	p, err := proc.Start(t.Context(), proc.Spec{
		Path: self, Args: []string{"hold", filepath.Join(e.dir(s), dataDir, lockFile)}, DieWithParent: true, Output: func(b []byte) { said <- string(b) },
	})
	must(t, err)
	if got := <-said; got != "held <nil>" {
		t.Fatal(got)
	}
	if err := e.Remove(s); !errors.Is(err, ErrRuns) {
		t.Error(err)
	}
	if err := e.Check(t.Context(), s); !errors.Is(err, ErrRuns) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(e.dir(s), dataDir, metaFile)); err != nil {
		t.Error(err)
	}
	must(t, p.Kill())
	<-p.Done()
	must(t, e.Remove(s))
	if _, err := os.Stat(e.dir(s)); !errors.Is(err, os.ErrNotExist) {
		t.Error("something is left")
	}
}

// TestTakenAddressIsTold before a node is started.
func TestTakenAddressIsTold(t *testing.T) {
	e, s := newEngine(t), broker()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	s.Listen = l.Addr().String()
	if err := e.Check(t.Context(), s); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}

// server answers every request at an address with what answer says of it.
func server(t *testing.T, answer func(key int16) []byte) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var head [12]byte
			if _, err := io.ReadFull(conn, head[:]); err == nil {
				_, _ = conn.Write(answer(int16(binary.BigEndian.Uint16(head[4:]))))
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// frame is an answer as a node gives it.
func frame(r kmsg.Response, version int16) []byte {
	r.SetVersion(version)
	body := []byte{'p', 'r', 'o', 'b'}
	if r.IsFlexible() {
		body = append(body, 0)
	}
	body = r.AppendTo(body)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func metadata(ids ...int32) []byte {
	r := kmsg.NewPtrMetadataResponse()
	for _, id := range ids {
		r.Brokers = append(r.Brokers, kmsg.MetadataResponseBroker{NodeID: id, Host: "h", Port: 1})
	}
	for i := range 3 {
		topic := kmsg.StringPtr(fmt.Sprint("t", i))
		r.Topics = append(r.Topics, kmsg.MetadataResponseTopic{Topic: topic, Partitions: []kmsg.MetadataResponseTopicPartition{
			{Partition: 0, Leader: 1, Replicas: []int32{1, 2}}, {Partition: 1, Leader: 2, Replicas: []int32{2, 3}},
		}})
	}
	return frame(r, metadataVersion)
}

func described(leader int32, code int16) []byte {
	r := kmsg.NewPtrDescribeClusterResponse()
	r.ControllerID, r.ErrorCode = leader, code
	return frame(r, 1)
}

// TestProbe: what counts as ready, as alive, and as neither (N2, N5).
func TestProbe(t *testing.T) {
	const ready, alive, bad = "ready", "alive", "bad"
	huge := binary.BigEndian.AppendUint32(nil, 1<<30)
	for what, c := range map[string]struct {
		role   string
		answer []byte
		want   string
	}{
		"a broker of the cluster":       {"", metadata(2, 1), ready},
		"a broker that is fenced":       {"", metadata(2, 3), alive},
		"a controller with a leader":    {engine.Controller, described(10003, 0), ready},
		"a controller without a leader": {engine.Controller, described(-1, 0), alive},
		"a controller that refuses":     {engine.Controller, described(-1, 35), alive},
		"half an answer":                {"", metadata(1)[:20], bad},
		"too much":                      {"", append(huge, "prob"...), bad},
		"another's answer":              {"", bytes.Replace(metadata(1), []byte("prob"), []byte("borp"), 1), bad},
		"no Kafka":                      {"", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), bad},
		"nothing":                       {"", nil, bad},
	} {
		e, s := newEngine(t), broker()
		s.Role, s.Listen = c.role, server(t, func(int16) []byte { return c.answer })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := e.Probe(ctx, s)
		cancel()
		got := bad
		switch {
		case err == nil:
			got = ready
		case errors.Is(err, engine.ErrAlive):
			got = alive
		}
		if got != c.want {
			t.Errorf("%s is %s: %v", what, got, err)
		}
	}
}

// TestAnswersAreBounded: one that claims to be large is not waited for (N5).
func TestAnswersAreBounded(t *testing.T) {
	head := append(binary.BigEndian.AppendUint32(nil, probeMost+5), "prob"...)
	conn := struct {
		io.Reader
		io.Writer
	}{io.MultiReader(bytes.NewReader(head), bytes.NewReader(make([]byte, 2*probeMost))), io.Discard}
	if err := probeBroker(conn, 1); !errors.Is(err, reach.ErrNoAnswer) {
		t.Error(err)
	}
	left, err := io.Copy(io.Discard, conn)
	if err != nil || left != 2*probeMost {
		t.Errorf("all but %d bytes of it were read: %v", left, err)
	}
}

// TestOwnedCountsReplicas by broker.
func TestOwnedCountsReplicas(t *testing.T) {
	e, s := newEngine(t), broker()
	s.Listen = server(t, func(int16) []byte { return metadata(1, 2, 3) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := e.Owned(ctx, s)
	if err != nil || got[1] != 3 || got[2] != 6 || got[3] != 3 || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
	s.Role = engine.Controller
	if got, err := e.Owned(ctx, s); err != nil || got == nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := e.Owned(t.Context(), broker()); !errors.Is(err, reach.ErrDeadline) {
		t.Error(err)
	}
}

// TestManners are those of a Java program: it is never told to drain by a signal that would end it, and controllers end last.
func TestManners(t *testing.T) {
	e, s := newEngine(t), broker()
	m := e.Manners(s)
	s.Role = engine.Controller
	if c := e.Manners(s); !m.Deaf || !c.Deaf || m.Last || !c.Last || m.Hang < 20*time.Second || m.End < 20*time.Second {
		t.Errorf("%+v, %+v", m, c)
	}
	var _ engine.Preparer = e
	var _ engine.Mannered = e
	var _ engine.Engine = e
}

// FuzzParseMeta takes anything for the file that says whose storage it is.
func FuzzParseMeta(f *testing.F) {
	f.Add([]byte("#\n#Tue Nov 24 00:50:01 UTC 2026\nnode.id=1\ndirectory.id=v05TVpzsXIPn_PfRVs6lIg\nversion=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAQ\n"))
	f.Add([]byte("version=1\ncluster.id=a\\=\nnode.id=2147483648"))
	f.Add([]byte("version=1\nversion=1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseMeta(text)
		if err != nil {
			if !errors.Is(err, errMeta) || m != (meta{}) {
				t.Fatalf("%q: %+v, %v", text, m, err)
			}
			return
		}
		if m.node < 0 || len(text) > maxMeta {
			t.Fatalf("%q: %+v", text, m)
		}
	})
}

// FuzzAnswer takes anything for what a node answers: it is read without a fault of ours.
func FuzzAnswer(f *testing.F) {
	f.Add(metadata(1, 2), false)
	f.Add(described(1, 0), true)
	f.Fuzz(func(t *testing.T, b []byte, controller bool) {
		conn := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}
		if controller {
			_ = probeController(conn)
		} else {
			_ = probeBroker(conn, 1)
		}
	})
}
