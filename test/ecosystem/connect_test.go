package ecosystem

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"millrace/test/harness"
)

// linesInPart is how many lines each part of the Connect test adds to the source file.
const linesInPart = 200

// TestConnect runs a distributed Connect worker with a file source and a file sink on the worker's default settings, kills the
// broker and then the worker, and wants every line of the source in the sink after each.
func TestConnect(t *testing.T) {
	harness.Long(t, "make ecosystem")
	t.Parallel()
	engines(t, func(t *testing.T, s *server) {
		runConnect(t, s, map[string]string{})
	})
}

// TestConnectExactlyOnce has the worker write the source's records and their offsets in one transaction: the topic holds each
// line once, whatever was killed.
func TestConnectExactlyOnce(t *testing.T) {
	if !full() {
		t.Skip("a long form: MILLRACE_ECOSYSTEM=full")
	}
	engines(t, connectsExactlyOnce)
}

func connectsExactlyOnce(t *testing.T, s *server) {
	c := runConnect(t, s, map[string]string{"exactly.once.source.support": "enabled"})
	read := startReader(t, s, "connected")
	harness.Eventually(t, waitLimit, "the end", func(ctx context.Context) error { return read.atEnd(ctx, "connected") })
	records := read.partition("connected", 0)
	for i, one := range records[:min(c.lines, len(records))] {
		if !strings.Contains(string(one.Value), fmt.Sprintf("%q", line(i))) {
			t.Fatalf("record %d is %s, want %s", i, one.Value, line(i))
		}
	}
	if len(records) != c.lines {
		t.Errorf("%d records, want %d", len(records), c.lines)
	}
}

// connect is a worker with its source file.
type connect struct {
	*server
	config, rest string
	source, sink string
	lines        int // written to source so far
}

func line(number int) string { return fmt.Sprintf("line %d", number) }

func runConnect(t *testing.T, s *server, settings map[string]string) *connect {
	dir := t.TempDir()
	c := &connect{
		server: s, config: filepath.Join(dir, "worker.properties"), source: filepath.Join(dir, "source.txt"),
		sink: filepath.Join(dir, "sink.txt"), rest: net.JoinHostPort("127.0.0.1", strconv.Itoa(harness.FreePorts(t, 1))),
	}
	s.createTopic(t, "connected", 1)
	c.configure(t, settings)
	worker := c.start(t)
	c.add(t)
	c.deploy(t, worker, "source", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "file": c.source, "topic": "connected",
	})
	c.deploy(t, worker, "sink", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "file": c.sink, "topics": "connected",
		// Only so that the test is short: the sink that takes over from a killed one waits for the end of its session.
		"consumer.override.session.timeout.ms": "6000", "consumer.override.heartbeat.interval.ms": "1000",
	})
	c.arrive(t, worker)
	s.killBroker(t)
	c.add(t)
	c.arrive(t, worker)
	worker.Kill()
	c.add(t)
	worker = c.start(t)
	c.arrive(t, worker)
	if code := worker.Stop(t); code != javaTerminated {
		t.Errorf("the worker ended with exit code %d", code)
	}
	return c
}

// configure writes what a worker cannot do without; the rest is at its defaults. The default of three replicas for the worker's
// own topics is more than Apache Kafka takes on one broker.
func (c *connect) configure(t *testing.T, settings map[string]string) {
	t.Helper()
	all := map[string]string{
		"bootstrap.servers": c.Bootstrap, "group.id": "connect-cluster", "listeners": "HTTP://" + c.rest,
		"key.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter": "org.apache.kafka.connect.json.JsonConverter",
		"offset.storage.topic": "connect-offsets", "config.storage.topic": "connect-configs", "status.storage.topic": "connect-status",
		"plugin.path": filepath.Join(harness.Require(t, harness.Connect), "plugins"),
	}
	if c.Engine == harness.ApacheKafka {
		for _, topic := range []string{"offset", "config", "status"} {
			all[topic+".storage.replication.factor"] = "1"
		}
	}
	for name, value := range settings {
		all[name] = value
	}
	var lines []string
	for name, value := range all {
		lines = append(lines, name+"="+value+"\n")
	}
	sort.Strings(lines)
	if err := os.WriteFile(c.config, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// start starts the worker and waits until it answers.
func (c *connect) start(t *testing.T) *program {
	t.Helper()
	classPath := strings.Join([]string{
		filepath.Join(harness.Require(t, harness.Connect), "logging", "*"), harness.Require(t, harness.Java),
	}, string(os.PathListSeparator))
	command := exec.Command("java", harness.JavaArgs(classPath, "org.apache.kafka.connect.cli.ConnectDistributed", c.config)...)
	worker := startProgram(t, "Connect worker", command)
	worker.await(t, "an answer", func(ctx context.Context) error { return c.call(ctx, http.MethodGet, "/connectors", nil, nil) })
	return worker
}

// call sends a request to the worker and decodes its answer into out, unless out is nil.
func (c *connect) call(ctx context.Context, method, path string, body, out any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.rest+path, sent)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// deploy creates a connector, and waits until it and its task run.
func (c *connect) deploy(t *testing.T, worker *program, name string, config map[string]string) {
	t.Helper()
	worker.await(t, "the connector "+name, func(ctx context.Context) error {
		return c.call(ctx, http.MethodPut, "/connectors/"+name+"/config", config, nil)
	})
	worker.await(t, name+" running", func(ctx context.Context) error { return c.runs(ctx, name) })
}

func (c *connect) runs(ctx context.Context, name string) error {
	type state struct{ State, Trace string }
	var status struct {
		Connector state
		Tasks     []state
	}
	if err := c.call(ctx, http.MethodGet, "/connectors/"+name+"/status", nil, &status); err != nil {
		return err
	}
	if status.Connector.State != "RUNNING" || len(status.Tasks) != 1 || status.Tasks[0].State != "RUNNING" {
		return fmt.Errorf("%s is %v", name, status)
	}
	return nil
}

// add adds lines to the source file.
func (c *connect) add(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile(c.source, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for range linesInPart {
		if _, err = fmt.Fprintln(file, line(c.lines)); err != nil {
			break
		}
		c.lines++
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// arrive waits until the sink has every line, and checks that both tasks still run.
func (c *connect) arrive(t *testing.T, worker *program) {
	t.Helper()
	worker.await(t, fmt.Sprintf("all %d lines", c.lines), func(context.Context) error {
		body, err := os.ReadFile(c.sink)
		if err != nil {
			return err
		}
		seen := make(map[string]bool)
		for one := range strings.Lines(string(body)) {
			seen[strings.TrimSuffix(one, "\n")] = true
		}
		for number := range c.lines {
			if !seen[line(number)] {
				return fmt.Errorf("%q is not in the sink, which has %d different lines", line(number), len(seen))
			}
		}
		return nil
	})
	for _, name := range []string{"source", "sink"} {
		worker.await(t, name+" running", func(ctx context.Context) error { return c.runs(ctx, name) })
	}
}
