package managed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// Exit statuses of verbs.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitPending = 3 // of apply --plan
)

// verbCommand is a verb of the program, which finds the installation by what `millrace env` has printed.
func (s site) verbCommand(ctx context.Context, t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, harness.MillraceBinary(t), args...)
	cmd.Env = append(s.env, "MILLRACE_DATA="+t.TempDir()) // nothing but the environment tells where
	return cmd
}

// verb runs one to its end and returns what it printed.
func (s site) verb(t testing.TB, args ...string) (out, errs string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := s.verbCommand(ctx, t, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// want runs a verb, and fails the test where its status is another one.
func (s site) want(t testing.TB, status int, args ...string) (out, errs string) {
	t.Helper()
	out, errs, got := s.verb(t, args...)
	if got != status {
		t.Fatalf("millrace %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out, errs)
	}
	return out, errs
}

// asJSON runs a verb with --output json and reads its answer.
func (s site) asJSON(t testing.TB, into any, args ...string) {
	t.Helper()
	out, _ := s.want(t, exitOK, append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("millrace %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// shown is what the tests look at of a cluster in JSON.
type shown struct {
	Name        string            `json:"clusterName"`
	ARN         string            `json:"clusterArn"`
	Type        string            `json:"clusterType"`
	State       string            `json:"state"`
	Tags        map[string]string `json:"tags"`
	Provisioned *struct {
		Brokers int `json:"numberOfBrokerNodes"`
		Nodes   struct {
			InstanceType string `json:"instanceType"`
		} `json:"brokerNodeGroupInfo"`
	} `json:"provisioned"`
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

// TestVerbs goes through the life of clusters by the verbs for people.
func TestVerbs(t *testing.T) {
	s := start(t)
	out, errs := s.want(t, exitOK, "cluster", "create", "orders", "--brokers", "2", "--auth", "iam,unauthenticated", "--tag", "team=shop", "--tag", "a=b")
	contains(t, out, "Cluster orders is ACTIVE: 2 × express.m7g.large.", "millrace cluster bootstrap orders")
	contains(t, errs, "orders  1/1  start brokers 1, 2")

	var made shown
	s.asJSON(t, &made, "cluster", "describe", "orders")
	if made.State != "ACTIVE" || made.Type != "PROVISIONED" || made.Provisioned.Brokers != 2 || len(made.Tags) != 2 {
		t.Errorf("described as %+v", made)
	}
	s.asJSON(t, &made, "cluster", "describe", made.ARN) // an ARN is as good as a name
	out, _ = s.want(t, exitOK, "cluster", "list", "ord")
	contains(t, out, "orders", "provisioned", "2 × express.m7g.large", "iam, unauthenticated", "a=b, team=shop")
	if strings.Contains(out, "default") {
		t.Errorf("a list of those that begin with ord has default:\n%s", out)
	}
	out, _ = s.want(t, exitOK, "__complete", "cluster", "describe", "or")
	contains(t, out, "orders\n")

	plain, _ := s.want(t, exitOK, "cluster", "bootstrap", "orders", "--login", "plaintext")
	if len(strings.Split(strings.TrimSpace(plain), ",")) != 2 {
		t.Errorf("bootstrap string %q", plain)
	}
	s.want(t, exitOK, "topic", "create", "t", "--sasl", "", "--tls-ca", "", "--bootstrap", strings.TrimSpace(plain))
	_, errs = s.want(t, exitUsage, "cluster", "bootstrap", "orders", "--login", "scram")
	contains(t, errs, "cluster orders has iam, plaintext, tls")

	_, errs = s.want(t, exitOK, "cluster", "update", "orders", "--brokers", "3", "--type", "express.m7g.xlarge")
	contains(t, errs, "orders  1/", "restart broker")
	s.want(t, exitOK, "cluster", "reboot", "orders", "--broker", "2")
	var operations []struct {
		Type  string `json:"operationType"`
		State string `json:"operationState"`
	}
	s.asJSON(t, &operations, "cluster", "operations", "orders")
	var types []string
	for _, op := range operations {
		if op.State != "UPDATE_COMPLETE" {
			t.Errorf("%+v", op)
		}
		types = append(types, op.Type)
	}
	if got := strings.Join(types, " "); got != "REBOOT_NODE UPDATE_BROKER_TYPE INCREASE_BROKER_COUNT CREATE_CLUSTER" {
		t.Errorf("operations %s", got)
	}
	var nodes []any
	if s.asJSON(t, &nodes, "cluster", "nodes", "orders"); len(nodes) != 3 {
		t.Errorf("%d nodes", len(nodes))
	}
	out, _ = s.want(t, exitOK, "cluster", "tag", "orders", "team=web", "--remove", "a")
	contains(t, out, "has tags: team=web\n")
	s.serverlessVerbs(t)
	s.refusedVerbs(t)
	s.want(t, exitOK, "cluster", "delete", "orders", "--yes")
	_, errs = s.want(t, exitFailed, "cluster", "describe", "orders")
	contains(t, errs, "no such cluster: orders; `millrace cluster list`")
}

// serverlessVerbs makes a cluster without waiting, and waits for it by another verb.
func (s site) serverlessVerbs(t *testing.T) {
	t.Helper()
	s.want(t, exitOK, "cluster", "create", "bursts", "--serverless", "--no-wait")
	s.want(t, exitOK, "cluster", "operations", "bursts", "--follow")
	var made shown
	if s.asJSON(t, &made, "cluster", "describe", "bursts"); made.State != "ACTIVE" || made.Type != "SERVERLESS" {
		t.Errorf("described as %+v", made)
	}
	s.want(t, exitOK, "cluster", "delete", "bursts", "--yes")
}

// refusedVerbs: what is wrong is said, with what to do, and changes nothing.
func (s site) refusedVerbs(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		status int
		args   string
		says   string
	}{
		{exitFailed, "cluster create orders", "already exists"},
		{exitFailed, "cluster create o_o", "cluster name is not valid"},
		{exitFailed, "cluster create x --type kafka.m5.nano", "kafka.m5.nano"},
		{exitFailed, "cluster create x --configuration none", "no such configuration: none"},
		{exitUsage, "cluster create x --auth password", "use iam, scram, tls, unauthenticated"},
		{exitUsage, "cluster create x --serverless --brokers 3", "--brokers is not for serverless clusters"},
		{exitUsage, "cluster create", "the name of the new cluster"},
		{exitUsage, "cluster update orders", "nothing to change"},
		{exitUsage, "cluster update orders --brokers 6 --type express.m7g.large --no-wait", "--no-wait goes with one change"},
		{exitFailed, "cluster update orders --brokers 3", "does not include any updates"},
		{exitFailed, "cluster update bursts- --brokers 3", "no such cluster: bursts-"},
		{exitFailed, "cluster reboot orders --broker 9", "doesn't exist"},
		{exitUsage, "cluster delete orders", "--yes deletes all records of orders"},
		{exitFailed, "cluster list --api http://127.0.0.1:1", "Is `millrace serve` running?"},
		{exitFailed, "cluster list --api http://example.com", "only over https"},
		{exitUsage, "cluster usage orders --from yesterday", "use 2026-03-01"},
		{exitFailed, "cluster usage nothing", "nothing"},
	} {
		_, errs := s.want(t, c.status, strings.Fields(c.args)...)
		contains(t, errs, c.says)
	}
	var list []shown
	if s.asJSON(t, &list, "cluster", "list"); len(list) != 2 || list[1].Provisioned.Brokers != 3 {
		t.Errorf("something was changed: %+v", list)
	}
}

// TestVerbsWithoutKey: a key that is not of the installation is refused with what to do.
func TestVerbsWithoutKey(t *testing.T) {
	s := start(t)
	s.env = append(s.env, "AWS_SECRET_ACCESS_KEY=wrong")
	_, errs := s.want(t, exitFailed, "cluster", "list")
	contains(t, errs, "millrace env")
	s.env = append(s.env, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
	_, errs = s.want(t, exitFailed, "cluster", "list")
	contains(t, errs, "no access key", "millrace env")
}

// batches counts the bytes of the batches that a client has sent.
type batches struct{ bytes atomic.Int64 }

// batchHead is what stands before the records of a batch, in bytes.
const batchHead = 61

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (b *batches) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	b.bytes.Add(batchHead + int64(m.CompressedBytes))
}

// TestUsage: the verb shows what clients used, to the byte.
func TestUsage(t *testing.T) {
	s := start(t)
	s.want(t, exitOK, "cluster", "create", "metered", "--brokers", "1")
	bootstrap, _ := s.want(t, exitOK, "cluster", "bootstrap", "metered", "--login", "plaintext")
	var sent batches
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.TrimSpace(bootstrap)), kgo.WithHooks(&sent), kgo.RecordRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		record := &kgo.Record{Topic: "t", Value: bytes.Repeat([]byte("x"), 1000)}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	s.want(t, exitOK, "cluster", "reboot", "metered", "--broker", "1") // a clean stop writes what is left

	var used struct {
		Name        string  `json:"name"`
		BrokerHours float64 `json:"broker_hours"`
		Rows        []struct {
			Topic string `json:"topic"`
			In    int64  `json:"in"`
		} `json:"rows"`
		Total struct {
			In  int64 `json:"in"`
			Out int64 `json:"out"`
		} `json:"total"`
	}
	s.asJSON(t, &used, "cluster", "usage", "metered", "--last", "2h")
	if used.Name != "metered" || len(used.Rows) != 1 || used.Rows[0].Topic != "t" || used.Total.In != sent.bytes.Load() || used.Total.Out != 0 {
		t.Errorf("used %+v; the client sent %d bytes", used, sent.bytes.Load())
	}
	out, _ := s.want(t, exitOK, "cluster", "usage", "metered")
	contains(t, out, "PARTITION-HOURS", "t ", "(all)", "broker-hours")
	s.asJSON(t, &used, "cluster", "usage", "metered", "--topic", "other")
	if used.Total.In != 0 {
		t.Errorf("of another topic: %+v", used)
	}
	out, _ = s.want(t, exitOK, "cluster", "usage") // of the default cluster
	contains(t, out, "Cluster default")
}

// TestRightToUsage: where the API asks who comes, a key may see the usage of the clusters that its policies name, and of no other.
func TestRightToUsage(t *testing.T) {
	s := startWith(t, harness.MillraceOptions{KeepRebalanceDelay: true, Args: []string{"--secure"}})
	for _, name := range []string{"mine", "theirs"} {
		s.want(t, exitOK, "cluster", "create", name, "--brokers", "1", "--auth", "iam", "--no-wait")
	}
	for _, name := range []string{"mine", "theirs"} {
		s.want(t, exitOK, "cluster", "operations", name, "--follow")
		s.want(t, exitOK, "cluster", "usage", name)
	}
	policy := file(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"millrace:DescribeUsage","Resource":"arn:aws:kafka:*:*:cluster/mine/*"}]}`)
	s.want(t, exitOK, "iam", "user", "create", "bob")
	s.want(t, exitOK, "iam", "user", "put-policy", "bob", "usage", policy)
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	s.asJSON(t, &key, "iam", "key", "create", "bob")
	s.env = append(s.env, "AWS_ACCESS_KEY_ID="+key.ID, "AWS_SECRET_ACCESS_KEY="+key.Secret)
	s.want(t, exitOK, "cluster", "usage", "mine")
	_, errs := s.want(t, exitFailed, "cluster", "usage", "theirs")
	contains(t, errs, "user/bob is not allowed to perform millrace:DescribeUsage")
	s.want(t, exitFailed, "cluster", "usage")
	s.want(t, exitFailed, "cluster", "list")
}
