package managed

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"millrace/test/harness"
)

// example is the text of the file that people are shown.
func example(t *testing.T) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "examples", "apply", "cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// file writes a file to apply.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestApplyExample is the life of what the example says: made, found as it is, changed, deleted.
func TestApplyExample(t *testing.T) {
	s := start(t)
	f := file(t, example(t))
	out, _ := s.want(t, exitPending, "apply", "-f", f, "--plan")
	contains(t, out, "+ cluster orders", "+ configuration shop", "+ topic orders/customers", "+ policy orders", "+ cluster clicks", "6 to create")
	if out, _ = s.want(t, exitOK, "cluster", "list", "orders"); !strings.Contains(out, "No clusters") {
		t.Fatalf("a plan has made something:\n%s", out)
	}
	_, errs := s.want(t, exitUsage, "apply", "-f", f) // nobody can be asked
	contains(t, errs, "--yes")
	s.want(t, exitOK, "apply", "-f", f, "--yes")
	out, _ = s.want(t, exitOK, "apply", "-f", f, "--plan")
	contains(t, out, "Nothing to do")

	changed := strings.NewReplacer("brokers: 3", "brokers: 6", "604800000", "60000", "compact}", "delete}", "partitions: 6", "partitions: 8", "stage: test", "level: prod",
		"[iam, scram]", "[iam]", "kafka:DescribeCluster", "kafka:ListNodes").Replace(example(t))
	f = file(t, changed)
	out, _ = s.want(t, exitOK, "apply", "-f", f, "--yes")
	contains(t, out, "brokers: 3 -> 6", "log.retention.ms: 604800000 -> 60000", "configuration: shop:1 -> shop:2", "authentication: iam, scram -> iam",
		"cleanup.policy: compact -> delete", "partitions: 6 -> 8", "tag level: prod", "tag stage: test -> (not set)", "~ policy orders", "8 to update")
	s.want(t, exitOK, "apply", "-f", f, "--plan")

	s.refusedFiles(t, changed)
	out, _ = s.want(t, exitOK, "apply", "-f", f, "--delete", "--yes")
	contains(t, out, "- cluster orders", "- cluster clicks", "- configuration shop", "3 to delete")
	out, _ = s.want(t, exitOK, "apply", "-f", f, "--delete", "--yes")
	contains(t, out, "Nothing to do")
	var list []shown
	if s.asJSON(t, &list, "cluster", "list"); len(list) != 1 {
		t.Errorf("left: %+v", list)
	}
}

// refusedFiles: what cannot be is refused with the lines where it stands, and nothing is changed.
func (s site) refusedFiles(t *testing.T, text string) {
	t.Helper()
	for _, c := range []struct {
		status   int
		old, new string
		says     string
	}{
		{exitUsage, "partitions: 8", "partitions: 2", ":25: topic orders/orders has 8 partitions"},
		{exitUsage, "subnet-b, subnet-c", "subnet-c, subnet-d", ":19: cluster orders: clientSubnets is [subnet-a, subnet-b, subnet-c]"},
		{exitUsage, "brokers: 6", "brokes: 6", `:18: unknown field "brokes"`},
		{exitUsage, "configuration: shop ", "configuration: shops ", ":20: cluster orders: there is no configuration shops"},
		{exitFailed, "instanceType: express.m7g.large", "instanceType: kafka.m5.large", ":17: update cluster orders: You can't change a cluster between Standard and Express brokers"},
		{exitFailed, "log.retention.ms", "broker.id", ":5: update configuration shop: "},
	} {
		f := file(t, strings.Replace(text, c.old, c.new, 1))
		_, errs := s.want(t, c.status, "apply", "-f", f, "--yes")
		contains(t, errs, f+c.says)
	}
	s.want(t, exitOK, "apply", "-f", file(t, text), "--plan")
}

// steady has changes enough to be killed among.
const steady = `
configurations:
  - name: c
    properties: {num.partitions: 2}
clusters:
  - name: one
    tags: {a: b}
    provisioned: {kafkaVersion: 3.9.x, instanceType: express.m7g.large, brokers: 2, clientSubnets: [x, y], configuration: c}
    topics:
      - {name: s, partitions: 1}
      - {name: t, partitions: 2, config: {retention.ms: 5000}}
    policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: "${account}"}, Action: "kafka:DescribeCluster", Resource: "${cluster.arn}"}]}
  - name: two
    serverless: {clientSubnets: [x]}
`

// TestApplyIsCarriedOn kills an apply at each request by which it changes something, before the API has heard of it and after: the next one
// finds what is left to do, and nothing is done twice.
func TestApplyIsCarriedOn(t *testing.T) {
	harness.Long(t, "make suite SUITE=managed")
	s := start(t)
	for _, text := range []string{steady, strings.NewReplacer("brokers: 2", "brokers: 4", "num.partitions: 2", "num.partitions: 3", "a: b", "a: c").Replace(steady)} {
		f := file(t, text)
		var planned struct{ Changes []any }
		out, _ := s.want(t, exitPending, "apply", "-f", f, "--plan", "--output", "json")
		if err := json.Unmarshal([]byte(out), &planned); err != nil {
			t.Fatal(err)
		}
		for i := range planned.Changes {
			for _, heard := range []bool{false, true} {
				if !s.killed(t, f, heard) {
					t.Fatalf("the apply after %d changes made none", i)
				}
			}
		}
		out, _ = s.want(t, exitOK, "apply", "-f", f, "--yes")
		contains(t, out, "Nothing to do")
	}
	var operations []struct {
		Type string `json:"operationType"`
	}
	s.asJSON(t, &operations, "cluster", "operations", "one")
	count := map[string]int{}
	for _, op := range operations {
		count[op.Type]++
	}
	if count["CREATE_CLUSTER"] != 1 || count["INCREASE_BROKER_COUNT"] != 1 || count["UPDATE_CLUSTER_CONFIGURATION"] != 1 {
		t.Errorf("operations: %v", count)
	}
}

// killed runs an apply and kills it at the first request that changes something: when the API has done it, or before it hears of it. It
// returns false where there was none.
func (s site) killed(t *testing.T, f string, heard bool) bool {
	t.Helper()
	var cmd *exec.Cmd
	var once sync.Once
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changes := r.Method != http.MethodGet
		if changes && !heard {
			once.Do(func() { _ = cmd.Process.Kill() })
			return
		}
		forward(s.API, w, r, func() {
			if changes {
				once.Do(func() { _ = cmd.Process.Kill() })
			}
		})
	}))
	defer between.Close()
	cmd = s.verbCommand(t.Context(), t, "apply", "-f", f, "--yes", "--api", between.URL)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.Exited() && err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return !cmd.ProcessState.Exited()
}

// forward has a request answered by the API at an address, and breaks the connection where that does not answer. answered is called before
// the answer is passed on.
func forward(to string, w http.ResponseWriter, r *http.Request, answered func()) {
	out := r.Clone(context.WithoutCancel(r.Context())) // it is carried out, whether its sender lives or not
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", to, ""
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answered()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // its reader may be dead
}

// TestInterruptedApply: Ctrl-C ends an apply at once, and it says what becomes of what it has begun.
func TestInterruptedApply(t *testing.T) {
	s := start(t)
	var cmd *exec.Cmd
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forward(s.API, w, r, func() {
			if r.Method != http.MethodGet {
				_ = cmd.Process.Signal(os.Interrupt)
			}
		})
	}))
	defer between.Close()
	f := file(t, "clusters:\n  - name: one\n    serverless: {clientSubnets: [x]}\n  - name: two\n    serverless: {clientSubnets: [x]}\n")
	cmd = s.verbCommand(t.Context(), t, "apply", "-f", f, "--yes", "--api", between.URL)
	out, _ := cmd.CombinedOutput() // the status says more than the error
	if status := cmd.ProcessState.ExitCode(); status != exitFailed {
		t.Errorf("status %d", status)
	}
	contains(t, string(out), f+":2: create cluster one: ", "goes on without us; another apply waits for it")
	s.want(t, exitOK, "apply", "-f", f, "--yes")
	s.want(t, exitOK, "apply", "-f", f, "--plan")
}

// TestApplyOutlivesServe: serve is killed while an apply waits for a cluster, and started anew; the apply goes on to its end.
func TestApplyOutlivesServe(t *testing.T) {
	s := start(t)
	began := make(chan struct{})
	var once sync.Once
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forward(s.API, w, r, func() {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/clusters") {
				once.Do(func() {
					s.Process().Kill()
					close(began)
				})
			}
		})
	}))
	defer between.Close()
	f := file(t, `
clusters:
  - name: one
    provisioned: {kafkaVersion: 3.9.x, instanceType: express.m7g.large, brokers: 3, clientSubnets: [x]}
    topics:
      - {name: s, partitions: 1}
`)
	cmd := s.verbCommand(t.Context(), t, "apply", "-f", f, "--yes", "--api", between.URL)
	ended := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = cmd.CombinedOutput()
		ended <- err
	}()
	select {
	case <-began:
	case err := <-ended:
		t.Fatalf("it ended before the cluster was begun: %v\n%s", err, out)
	}
	again := harness.StartMillrace(t, harness.MillraceOptions{Dir: s.Dir, KafkaPort: portOf(t, s.Bootstrap), APIPort: portOf(t, s.API)})
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	contains(t, string(out), "cluster one: created", "topic one/s: created")
	s.want(t, exitOK, "apply", "-f", f, "--plan")
	s.want(t, exitOK, "apply", "-f", f, "--delete", "--yes")
	again.Stop(t)
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
