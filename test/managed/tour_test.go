package managed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/engine"
	"millrace/test/harness"
)

// TestMain sets the region that franz-go signs its logins for: it asks nobody but the environment.
func TestMain(m *testing.M) {
	if err := os.Setenv("AWS_REGION", "us-east-1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// site is an installation with the environment of its clients.
type site struct {
	*harness.Cluster
	env   []string
	ports engine.Ports // of brokers of clusters that are made
}

// start starts serve with ports of its own for the clusters that are made.
func start(t *testing.T, args ...string) site {
	t.Helper()
	return startWith(t, harness.MillraceOptions{Args: args})
}

func startWith(t *testing.T, options harness.MillraceOptions) site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts clusters: skipped with -short")
	}
	const ports = 1024
	first := harness.FreePorts(t, ports)
	options.Args = append([]string{"--ports", fmt.Sprintf("%d-%d", first, first+ports-1)}, options.Args...)
	s := site{Cluster: harness.StartMillrace(t, options), ports: engine.Ports{From: first, To: first + ports - 1}}
	s.env = s.environment(t)
	return s
}

// environment is this process's, and what `millrace env` says.
func (s site) environment(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), harness.MillraceBinary(t), "env", "--data", s.Dir, "--shell", "sh").Output()
	if err != nil {
		t.Fatalf("millrace env: %v", err)
	}
	env := os.Environ()
	for line := range strings.Lines(string(out)) {
		if assignment, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			name, value, _ := strings.Cut(assignment, "=")
			env = append(env, name+"="+strings.Trim(value, `'"`))
		}
	}
	return env
}

// variable is one of the environment of clients.
func (s site) variable(name string) (value string) {
	for _, assignment := range s.env {
		if is, text, _ := strings.Cut(assignment, "="); is == name {
			value = text
		}
	}
	return value
}

// report is what a tour says at its end.
type report struct {
	Operations  []string `json:"operations"`
	CreateToAck float64  `json:"create_to_ack_seconds"`
}

// run runs a tour and returns its report.
func (s site) run(t *testing.T, name string, args ...string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = s.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.Bytes(), errs.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var r report
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	return r
}

// operations are all of the MSK API that are answered; the others are refused with a sentence that says so.
func operations() []string {
	return strings.Fields(`
		CreateCluster CreateClusterV2 ListClusters ListClustersV2 DescribeCluster DescribeClusterV2 DeleteCluster GetBootstrapBrokers ListNodes
		UpdateBrokerCount UpdateBrokerType UpdateBrokerStorage UpdateStorage UpdateMonitoring UpdateSecurity UpdateConnectivity UpdateRebalancing
		UpdateClusterConfiguration UpdateClusterKafkaVersion RebootBroker ListClusterOperations DescribeClusterOperation ListClusterOperationsV2
		DescribeClusterOperationV2 CreateConfiguration ListConfigurations DescribeConfiguration UpdateConfiguration DeleteConfiguration
		ListConfigurationRevisions DescribeConfigurationRevision ListKafkaVersions GetCompatibleKafkaVersions CreateTopic ListTopics DescribeTopic
		UpdateTopic DeleteTopic DescribeTopicPartitions BatchAssociateScramSecret BatchDisassociateScramSecret ListScramSecrets PutClusterPolicy
		GetClusterPolicy DeleteClusterPolicy CreateVpcConnection DescribeVpcConnection DeleteVpcConnection ListVpcConnections ListClientVpcConnections
		RejectClientVpcConnection TagResource UntagResource ListTagsForResource`)
}

// complete fails the test for operations that a tour has left out.
func (r report) complete(t *testing.T) {
	t.Helper()
	for _, name := range operations() {
		if !slices.Contains(r.Operations, name) {
			t.Errorf("%s was not called", name)
		}
	}
	t.Logf("%d operations; from the call that creates a cluster to the first acknowledged record: %.3f s", len(r.Operations), r.CreateToAck)
}

// TestEnvironmentIsForVerbsToo: what `millrace env` prints is what the verbs go by as well.
func TestEnvironmentIsForVerbsToo(t *testing.T) {
	s := start(t)
	cmd := exec.CommandContext(t.Context(), harness.MillraceBinary(t), "topic", "create", "t")
	cmd.Env = s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestBoto3 has boto3 go through every operation.
func TestBoto3(t *testing.T) {
	python := harness.Require(t, harness.Python)
	s := start(t)
	s.run(t, python, filepath.Join("testdata", "tour.py")).complete(t)
}

// TestCLI has the AWS CLI go through every operation.
func TestCLI(t *testing.T) {
	harness.Long(t, "make suite SUITE=managed")
	python := harness.Require(t, harness.Python)
	s := start(t)
	s.env = append(s.env, "AWS="+filepath.Join(filepath.Dir(python), "aws"))
	s.run(t, filepath.Join("testdata", "tour.sh"), filepath.Join(t.TempDir(), "calls")).complete(t)
}
