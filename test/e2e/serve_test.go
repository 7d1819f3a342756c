package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/test/harness"
)

// result is what one run of the binary left.
type result struct {
	code     int
	out, err string
}

// millrace runs the binary to its end.
func millrace(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.MillraceBinary(t), args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("millrace %s: %v", strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// ok runs the binary and fails the test unless it succeeds.
func ok(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := millrace(t, stdin, args...)
	if r.code != 0 {
		t.Fatalf("millrace %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.err)
	}
	return r.out
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestServeNamesEveryFaultAndStartsNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := millrace(t, "", "serve", "--data", dir, "--listen", "0.0.0.0:8480", "--kafka", "nowhere", "--brokers", "16", "--memory", "5", "--store", "ftp://x")
	if r.code != 2 {
		t.Errorf("exit code %d, want 2", r.code)
	}
	for _, fault := range []string{"--listen", "--insecure", "--kafka", "--brokers", "--memory", "--store"} {
		if !strings.Contains(r.err, fault) {
			t.Errorf("the message does not name %s:\n%s", fault, r.err)
		}
	}
	if matches, _ := filepath.Glob(dir); len(matches) != 0 {
		t.Error("something was created")
	}
	if r := millrace(t, "", "serve", "--nonsense"); r.code != 2 || !strings.Contains(r.err, "--help") {
		t.Errorf("unknown flag: exit code %d, %q", r.code, r.err)
	}
	if r := millrace(t, "", "nonsense"); r.code != 2 {
		t.Errorf("unknown verb: exit code %d", r.code)
	}
}

func TestServeLivesUpToItsContract(t *testing.T) {
	c := harness.StartMillrace(t, harness.MillraceOptions{})
	b := "--bootstrap=" + c.Bootstrap

	if code, body := get(t, "http://"+c.API+"/readyz"); code != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	ok(t, "", "topic", "create", "t", b)
	ok(t, "one\ntwo\n", "produce", "t", b)

	t.Run("a second serve on the directory says so", func(t *testing.T) {
		r := millrace(t, "", "serve", "--data", c.Dir, "--listen", "127.0.0.1:1", "--kafka", "127.0.0.1:2")
		if r.code != 1 || !strings.Contains(r.err, "another millrace serve") {
			t.Errorf("exit code %d: %s", r.code, r.err)
		}
	})

	t.Run("a broker that dies is started again and has lost nothing", func(t *testing.T) {
		pid, err := c.BrokerPID()
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, 20*time.Second, "another broker process that is ready", func(context.Context) error {
			now, err := c.BrokerPID()
			if err != nil {
				return err
			}
			code, body := get(t, "http://"+c.API+"/healthz")
			if now == pid || code != 200 {
				return fmt.Errorf("pid %d, healthz %d %s", now, code, body)
			}
			return nil
		})
		if got := ok(t, "", "consume", "t", b); got != "one\ntwo\n" {
			t.Errorf("read %q", got)
		}
	})

	began := time.Now()
	c.Stop(t)
	t.Logf("clean stop took %v", time.Since(began))

	again := harness.StartMillrace(t, harness.MillraceOptions{Dir: c.Dir})
	if got := ok(t, "", "consume", "t", "--bootstrap="+again.Bootstrap); got != "one\ntwo\n" {
		t.Errorf("after a restart: read %q", got)
	}
}

// Another process at the Kafka address is not taken for the broker, whatever it answers; once it has gone, the broker comes up.
func TestServeWhoseKafkaPortIsTakenIsNotReady(t *testing.T) {
	first := harness.StartMillrace(t, harness.MillraceOptions{})
	api := fmt.Sprintf("127.0.0.1:%d", harness.FreePorts(t, 1))
	command := exec.Command(harness.MillraceBinary(t), "serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", api, "--kafka", first.Bootstrap)
	harness.StartProcess(t, "the second serve", filepath.Join(t.TempDir(), "serve.log"), command)
	ask := func(path string) (int, string, error) {
		resp, err := http.Get("http://" + api + path)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	var answered []int
	harness.Eventually(t, 20*time.Second, "it says why it is not ready", func(context.Context) error {
		code, _, err := ask("/healthz")
		if err != nil {
			return err
		}
		answered = append(answered, code)
		if code, body, err := ask("/readyz"); err != nil || code != 503 || !strings.Contains(body, "address already in use") {
			return fmt.Errorf("/readyz: %d %s %w", code, body, err)
		}
		return nil
	})
	for range 20 {
		if code, _, err := ask("/healthz"); err != nil || code != 503 {
			t.Fatalf("/healthz: %d %v", code, err)
		}
	}
	if slices.Contains(answered, 200) {
		t.Error("/healthz was 200 while another process had the address")
	}
	first.Stop(t)
	harness.Eventually(t, 30*time.Second, "it is ready once the address is free", func(context.Context) error {
		if code, body, err := ask("/healthz"); err != nil || code != 200 {
			return fmt.Errorf("/healthz: %d %s %w", code, body, err)
		}
		return nil
	})
}

// alive says whether a process runs; one that has ended and that nobody has waited for does not.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	state := strings.TrimSpace(string(out))
	return err == nil && state != "" && !strings.HasPrefix(state, "Z")
}

func TestServeThatIsKilledLeavesABrokerThatIsAdopted(t *testing.T) {
	c := harness.StartMillrace(t, harness.MillraceOptions{})
	b := "--bootstrap=" + c.Bootstrap
	ok(t, "", "topic", "create", "t", b)
	broker, err := c.BrokerPID()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(broker, syscall.SIGKILL) }) // where the test fails before somebody adopts it
	c.Process().Kill()
	if ok(t, "x\n", "produce", "t", b); ok(t, "", "consume", "t", b) != "x\n" {
		t.Error("the broker does not serve without its control plane")
	}
	_, port, _ := strings.Cut(c.Bootstrap, ":")
	var kafkaPort int
	if _, err := fmt.Sscan(port, &kafkaPort); err != nil {
		t.Fatal(err)
	}
	again := harness.StartMillrace(t, harness.MillraceOptions{Dir: c.Dir, KafkaPort: kafkaPort})
	if !alive(t, broker) {
		t.Error("the broker was restarted instead of adopted")
	}
	ok(t, "", "topic", "create", "u", b)
	again.Stop(t)
	if alive(t, broker) {
		t.Error("the adopted broker runs on after a clean stop")
	}
}

type topicRow struct {
	Configs    map[string]string
	Partitions []struct {
		End int64 `json:"end_offset"`
	} `json:"partition_details"`
}

func describeTopic(t *testing.T, b, name string) topicRow {
	t.Helper()
	var rows []topicRow
	decode(t, ok(t, "", "topic", "describe", name, "--output", "json", b), &rows)
	return rows[0]
}

// refused runs the binary, which must fail with exit code 1 and a message that holds hint.
func refused(t *testing.T, hint, stdin string, args ...string) {
	t.Helper()
	if r := millrace(t, stdin, args...); r.code != 1 || !strings.Contains(r.err, hint) {
		t.Errorf("millrace %s: exit code %d, want 1 and a word of %q: %s", strings.Join(args, " "), r.code, hint, r.err)
	}
}

func TestVerbs(t *testing.T) {
	c := harness.StartMillrace(t, harness.MillraceOptions{})
	b := "--bootstrap=" + c.Bootstrap
	t.Run("topics", func(t *testing.T) { topicVerbs(t, b) })
	t.Run("records", func(t *testing.T) { recordVerbs(t, b) })
	t.Run("groups", func(t *testing.T) { groupVerbs(t, b) })
	t.Run("cluster", func(t *testing.T) { clusterVerbs(t, b) })
}

func topicVerbs(t *testing.T, b string) {
	ok(t, "", "topic", "create", "made", "--partitions", "3", "--config", "retention.ms=86400000", b)
	refused(t, "--if-not-exists", "", "topic", "create", "made", b)
	ok(t, "", "topic", "create", "made", "--if-not-exists", b)
	refused(t, "retention.ms", "", "topic", "create", "bad", "--config", "retention.ms=soon", b)
	if out := ok(t, "", "topic", "list", b); !strings.Contains(out, "made") || strings.Contains(out, "bad") {
		t.Errorf("list: %s", out)
	}
	if d := describeTopic(t, b, "made"); len(d.Partitions) != 3 || d.Configs["retention.ms"] != "86400000" {
		t.Errorf("described as %+v", d)
	}
	ok(t, "", "topic", "alter", "made", "--partitions", "5", "--config", "max.message.bytes=2000", "--delete-config", "retention.ms", b)
	if d := describeTopic(t, b, "made"); len(d.Partitions) != 5 || d.Configs["max.message.bytes"] != "2000" || d.Configs["retention.ms"] != "" {
		t.Errorf("altered to %+v", d)
	}
	refused(t, "max.message.bytes", strings.Repeat("x", 5000)+"\n", "produce", "made", b)
	ok(t, "", "topic", "delete", "made", b)
	refused(t, "topic list", "", "topic", "describe", "made", b)
}

// orders makes a topic of three partitions with a thousand records.
func orders(t *testing.T, b, name string) {
	t.Helper()
	ok(t, "", "topic", "create", name, "--partitions", "3", b)
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, "k%d|value %d\n", i%7, i)
	}
	var sent struct{ Records int }
	decode(t, ok(t, lines.String(), "produce", name, "--key-separator", "|", "--compression", "zstd", "--output", "json", b), &sent)
	if sent.Records != 1000 {
		t.Fatalf("produced %d records", sent.Records)
	}
}

func recordVerbs(t *testing.T, b string) {
	orders(t, b, "records")
	lines := func(args ...string) int { return strings.Count(ok(t, "", append(args, b)...), "\n") }
	if got := lines("consume", "records"); got != 1000 {
		t.Errorf("consumed %d lines", got)
	}
	if got := ok(t, "", "consume", "records", "--partition", "1", "--from", "5", "--count", "1", "--format", `%p@%o\n`, b); got != "1@5\n" {
		t.Errorf("by offset: %q", got)
	}
	if got := ok(t, "", "consume", "records", "--from", "end", b); got != "" {
		t.Errorf("from the end: %q", got)
	}
	if got := lines("consume", "records", "--from", "-1h"); got != 1000 {
		t.Errorf("by time: %d lines", got)
	}
	if r := millrace(t, "", "consume", "records", "--from", "yesterday", b); r.code != 2 {
		t.Errorf("a start that cannot be: exit code %d", r.code)
	}
	refused(t, "topic create", "", "consume", "nothing", b)
}

func groupVerbs(t *testing.T, b string) {
	orders(t, b, "shared")
	read := func(args ...string) int {
		t.Helper()
		return strings.Count(ok(t, "", append([]string{"consume", "shared", "--group", "g", b}, args...)...), "\n")
	}
	if first, rest, none := read("--count", "300"), read(), read(); first != 300 || rest != 700 || none != 0 {
		t.Errorf("the group read %d, %d and %d records", first, rest, none)
	}
	describe := func() (state string, lag int64) {
		t.Helper()
		var rows []struct {
			State string
			Lag   int64
		}
		decode(t, ok(t, "", "group", "describe", "g", "--output", "json", b), &rows)
		return rows[0].State, rows[0].Lag
	}
	if state, lag := describe(); state != "Empty" || lag != 0 {
		t.Errorf("group is %s with lag %d", state, lag)
	}
	ok(t, "", "group", "reset", "g", "--to", "beginning", "--dry-run", b)
	if _, lag := describe(); lag != 0 {
		t.Errorf("lag after a dry run: %d", lag)
	}
	ok(t, "", "group", "reset", "g", "--to", "beginning", b)
	if _, lag := describe(); lag != 1000 {
		t.Errorf("lag after the reset: %d", lag)
	}
	if out := ok(t, "", "group", "list", b); !strings.Contains(out, "g ") {
		t.Errorf("list: %s", out)
	}
	ok(t, "", "group", "delete", "g", b)
	if out := ok(t, "", "group", "list", b); strings.Contains(out, "g ") {
		t.Errorf("after delete: %s", out)
	}
}

func clusterVerbs(t *testing.T, b string) {
	var cluster struct {
		Brokers []struct{ ID int }
	}
	decode(t, ok(t, "", "cluster", "describe", "--output", "json", b), &cluster)
	if len(cluster.Brokers) != 1 || cluster.Brokers[0].ID != 1 {
		t.Errorf("cluster: %+v", cluster)
	}
	refused(t, "millrace serve", "", "topic", "list", "--bootstrap=127.0.0.1:1")
	if out := ok(t, "", "completion", "bash"); !strings.Contains(out, "millrace") {
		t.Error("no completion")
	}
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	const limit = 5
	c := harness.StartMillrace(t, harness.MillraceOptions{Args: []string{"--max-connections-per-ip", strconv.Itoa(limit)}})
	// Closed connections of the start-up leave at their own pace; those below stay.
	var answered []net.Conn
	harness.Eventually(t, 20*time.Second, "the bound to be reached and held", func(ctx context.Context) error {
		for len(answered) <= limit {
			conn, err := askVersions(ctx, c.Bootstrap)
			if err != nil {
				break
			}
			answered = append(answered, conn)
			t.Cleanup(func() { _ = conn.Close() })
		}
		if len(answered) < limit {
			return fmt.Errorf("%d connections are served, want %d", len(answered), limit)
		}
		return nil
	})
	if len(answered) > limit {
		t.Fatalf("%d connections are served, want %d", len(answered), limit)
	}
	if code, body := get(t, "http://"+c.API+"/readyz"); code != 200 {
		t.Errorf("/readyz while all connections are taken: %d %s", code, body)
	}
	if err := answered[0].Close(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 20*time.Second, "a place that became free", func(ctx context.Context) error {
		conn, err := askVersions(ctx, c.Bootstrap)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// askVersions opens a connection and asks for ApiVersions on it.
func askVersions(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err = conn.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff})
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 8))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
