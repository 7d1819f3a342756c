package managed

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

	changed := strings.NewReplacer("brokers: 3", "brokers: 6", "604800000", "60000", "compact}", "delete}", "partitions: 6", "partitions: 8", "stage: test", "stage: prod",
		"[iam, scram]", "[iam]", "kafka:DescribeCluster", "kafka:ListNodes").Replace(example(t))
	f = file(t, changed)
	out, _ = s.want(t, exitOK, "apply", "-f", f, "--yes")
	contains(t, out, "brokers: 3 -> 6", "log.retention.ms: 604800000 -> 60000", "configuration: shop:1 -> shop:2", "authentication: iam, scram -> iam",
		"cleanup.policy: compact -> delete", "partitions: 6 -> 8", "tag stage: test -> prod", "~ policy orders", "8 to update")
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
		{exitFailed, "instanceType: express.m7g.large", "instanceType: kafka.m5.large", ":17: update cluster orders: Broker type [kafka.m5.large]"},
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

// TestApplyIsCarriedOn kills applies that are under way, each a little later; the last finds what is left to do, and nothing was done twice.
func TestApplyIsCarriedOn(t *testing.T) {
	s := start(t)
	for round, text := range []string{steady, strings.NewReplacer("brokers: 2", "brokers: 4", "num.partitions: 2", "num.partitions: 3", "a: b", "a: c").Replace(steady)} {
		f := file(t, text)
		kills := 0
		for _, killed := s.killed(t, f, kills); killed; _, killed = s.killed(t, f, kills) {
			kills++
		}
		if kills < 3 {
			t.Errorf("round %d: only %d applies were killed", round, kills)
		}
		s.want(t, exitOK, "apply", "-f", f, "--yes")
		out, _ := s.want(t, exitOK, "apply", "-f", f, "--plan")
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
	if count["CREATE_CLUSTER"] != 1 || count["INCREASE_BROKER_COUNT"] != 1 {
		t.Errorf("operations: %v", count)
	}
}

// killed starts an apply and kills it as soon as it begins with the change after it has said that it did one, or with the first one where
// early is even. It returns false where the apply ended by itself.
func (s site) killed(t *testing.T, f string, early int) (said string, killed bool) {
	t.Helper()
	cmd := s.verbCommand(t.Context(), t, "apply", "-f", f, "--yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	past := []string{": created", ": changed"}
	if early%2 == 0 {
		past = []string{" to create.", " to update.", "create, "}
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = lines.Text()
		for _, end := range past {
			if strings.Contains(said, end) && !killed {
				killed = true
				timer := time.AfterFunc(time.Duration(early)*30*time.Millisecond, func() { _ = cmd.Process.Kill() })
				defer timer.Stop()
			}
		}
	}
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() == exitOK || strings.HasPrefix(said, "Nothing to do") {
		return said, false
	}
	if !killed {
		t.Fatalf("%v; it said last: %s", err, said)
	}
	return said, true
}
