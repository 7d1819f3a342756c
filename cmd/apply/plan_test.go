package apply

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/cmd/managed"
)

// there is the state in which there is what the file `whole` says.
func there(t *testing.T) (*File, state) {
	t.Helper()
	f, err := read(whole)
	if err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:kafka:us-east-1:123456789012:cluster/a/u-1"
	document, err := f.Clusters[0].document(arn, "123456789012")
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	conf := managed.Configuration{ARN: "arn:aws:kafka:us-east-1:123456789012:configuration/c/u-1", Name: "c", KafkaVersions: []string{"3.9.x"}}
	conf.Latest.Number = 2
	a := managed.Cluster{ARN: arn, Name: "a", Type: managed.TypeProvisioned, State: managed.Active, Tags: map[string]string{"x": "y", "n": "1"}, Provisioned: &managed.Provisioned{
		Nodes: managed.NodeGroup{
			InstanceType: "express.m7g.large", ClientSubnets: []string{"s3", "s2", "s1"}, SecurityGroups: []string{"g"},
			Connectivity: &managed.Connectivity{Public: &managed.PublicAccess{Type: managed.PublicOn}},
		},
		Brokers: 3, Software: managed.Software{Configuration: conf.ARN, Revision: 2, KafkaVersion: "3.9.x"},
		Authentication: managed.AuthenticationOf([]string{"scram", "iam"}), Encryption: &managed.Encryption{Transit: &managed.Transit{ClientBroker: "TLS", InCluster: &yes}},
		Monitoring: "PER_BROKER", Rebalancing: &managed.Rebalancing{Status: "PAUSED"},
	}}
	b := managed.Cluster{ARN: "b", Name: "b", Type: managed.TypeServerless, State: managed.Active, Serverless: &managed.Serverless{
		VPCs: []managed.VPC{{Subnets: []string{"s1"}, SecurityGroups: []string{"g"}}},
	}}
	return f, state{
		map[string]configuration{"c": {conf, map[string]string{"num.partitions": "3", "auto.create.topics.enable": "false"}}},
		map[string]cluster{
			"a": {Cluster: a, topics: map[string]topic{"t": {managed.Topic{Name: "t", Partitions: 2, Replicas: 3}, map[string]string{"retention.ms": "5"}}}, policy: document},
			"b": {Cluster: b},
		},
	}
}

// lines are what a plan says, in short.
func lines(changes []Change) (all []string) {
	for _, c := range changes {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", c.Action, c.Kind, c.Name, strings.Join(c.Details, "; "))))
	}
	return all
}

// TestWhatIsThereIsNotDone (Y3).
func TestWhatIsThereIsNotDone(t *testing.T) {
	f, now := there(t)
	if changes, err := plan(f, now); err != nil || len(changes) > 0 {
		t.Errorf("planned %q, %v", lines(changes), err)
	}
}

// TestOrderOfPlan: of nothing, everything is made, each after what it needs.
func TestOrderOfPlan(t *testing.T) {
	f, now := there(t)
	changes, err := plan(f, state{})
	want := []string{
		"create configuration c: auto.create.topics.enable: false; num.partitions: 3",
		"create cluster a: 3 × express.m7g.large, Kafka 3.9.x; configuration: c:2; authentication: iam, scram; tag n: 1; tag x: y",
		"update cluster a: publicAccess: false -> true", "create topic a/t: partitions: 2; retention.ms: 5", "create policy a:", "create cluster b: serverless",
	}
	if got := lines(changes); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%s\nwant:\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	gone := lines(planDelete(f, now))
	want = []string{"delete cluster a: with all its topics and records", "delete cluster b: with all its topics and records", "delete configuration c: with 2 revision(s)"}
	if !slices.Equal(gone, want) {
		t.Errorf("%q", gone)
	}
	if changes := planDelete(f, state{}); len(changes) > 0 {
		t.Errorf("of nothing there is %q to delete", lines(changes))
	}
}

// TestEachDifferenceIsOneChange: what differs in one place is one change, at its line.
func TestEachDifferenceIsOneChange(t *testing.T) {
	for _, c := range []struct {
		old, new string
		line     int
		says     string
	}{
		{"brokers: 3", "brokers: 6", 10, "update cluster a: brokers: 3 -> 6"},
		{"express.m7g.large", "express.m7g.xlarge", 11, "update cluster a: instanceType: express.m7g.large -> express.m7g.xlarge"},
		{"kafkaVersion: 3.9.x", "kafkaVersion: 4.0.x", 12, "update cluster a: kafkaVersion: 3.9.x -> 4.0.x"},
		{"configuration: c:2", "configuration: c:1", 15, "update cluster a: configuration: c:2 -> c:1"},
		{"[iam, scram]", "[iam]", 16, "update cluster a: authentication: iam, scram -> iam"},
		{"encryptionInTransit: TLS", "encryptionInTransit: TLS_PLAINTEXT", 17, "update cluster a: encryptionInTransit: TLS -> TLS_PLAINTEXT"},
		{"PER_BROKER", "DEFAULT", 18, "update cluster a: enhancedMonitoring: PER_BROKER -> DEFAULT"},
		{"PAUSED", "ACTIVE", 19, "update cluster a: rebalancing: PAUSED -> ACTIVE"},
		{"publicAccess: true", "publicAccess: false", 20, "update cluster a: publicAccess: true -> false"},
		{"partitions: 2", "partitions: 4", 22, "update topic a/t: partitions: 2 -> 4"},
		{"retention.ms: 5", "retention.ms: 6", 22, "update topic a/t: retention.ms: 5 -> 6"},
		{"{retention.ms: 5}", "{}", 22, "update topic a/t: retention.ms: 5 -> (not set)"},
		{"Effect: Allow", "Effect: Deny", 23, "update policy a:"},
		{"x: y, n: 1", "x: z", 8, "update tags a: tag n: 1 -> (not set); tag x: y -> z"},
		{"num.partitions: 3", "num.partitions: 4", 2, "update configuration c: num.partitions: 3 -> 4"},
		// What the file leaves out stays (Y5).
		{"    tags: {x: y, n: 1}\n", "", 0, ""},
		{"      authentication: [iam, scram]\n", "", 0, ""},
		{"      encryptionInTransit: TLS\n", "", 0, ""},
		{"      publicAccess: true\n", "", 0, ""},
		{", config: {retention.ms: 5}", "", 0, ""},
		{policyText, "", 0, ""},
	} {
		_, now := there(t)
		f, err := read(strings.Replace(whole, c.old, c.new, 1))
		if err != nil {
			t.Fatal(err)
		}
		changes, err := plan(f, now)
		switch got := lines(changes); {
		case err != nil:
			t.Errorf("%s: %v", c.new, err)
		case c.says == "" && len(got) > 0, c.says != "" && (len(got) != 1 || got[0] != c.says || changes[0].Line != c.line):
			t.Errorf("%q: %q, want %q in line %d: %+v", c.new, got, c.says, c.line, changes)
		}
	}
}

// TestLatestRevisionFollows: a cluster that uses the latest revision gets the one that this plan makes, and one that names another does not.
func TestLatestRevisionFollows(t *testing.T) {
	for revision, want := range map[string][]string{
		"c":   {"update configuration c: num.partitions: 3 -> 4", "update cluster a: configuration: c:2 -> c:3"},
		"c:2": {"update configuration c: num.partitions: 3 -> 4"},
	} {
		_, now := there(t)
		f, err := read(strings.NewReplacer("c:2", revision, "num.partitions: 3", "num.partitions: 4").Replace(whole))
		if err != nil {
			t.Fatal(err)
		}
		if changes, err := plan(f, now); err != nil || !slices.Equal(lines(changes), want) {
			t.Errorf("%s: %q, %v", revision, lines(changes), err)
		}
	}
}

// TestWhatCannotBeIsRefused (Y6).
func TestWhatCannotBeIsRefused(t *testing.T) {
	for _, c := range []struct {
		old, new string
		says     string
	}{
		{"[s1, s2, s3]", "[s1, s2]", "f.yaml:13: cluster a: clientSubnets is [s3, s2, s1] and cannot be changed"},
		{"securityGroups: [g]\n", "securityGroups: [h]\n", "f.yaml:14: cluster a: securityGroups is [g] and cannot be changed"},
		{"{clientSubnets: [s1], ", "{clientSubnets: [s2], ", "f.yaml:27: cluster b: clientSubnets is [s1] and cannot be changed"},
		{"partitions: 2", "partitions: 1", "f.yaml:22: topic a/t has 2 partitions; there can be more, but not fewer"},
		{"replicationFactor: 3", "replicationFactor: 2", "f.yaml:22: topic a/t has a replicationFactor of 3"},
		{"kafkaVersions: [3.9.x]", "kafkaVersions: [4.0.x]", "f.yaml:4: configuration c is for [3.9.x]: that is fixed"},
		{"configuration: c:2", "configuration: d", "f.yaml:15: cluster a: there is no configuration d"},
		{"- name: b\n    serverless: {clientSubnets: [s1], securityGroups: [g]}",
			"- name: b\n    provisioned: {brokers: 1, instanceType: i, kafkaVersion: v, clientSubnets: [s]}", "f.yaml:26: cluster b is serverless, and stays so"},
	} {
		_, now := there(t)
		text := strings.Replace(whole, c.old, c.new, 1)
		f, err := read(text)
		if err != nil || text == whole {
			t.Fatalf("%q: %v", c.new, err)
		}
		if _, err := plan(f, now); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.new, err)
		}
	}
	f, now := there(t)
	broken := now.clusters["b"]
	broken.State, broken.StateInfo.Message = managed.Broken, "no ports"
	now.clusters["b"] = broken
	if _, err := plan(f, now); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "f.yaml:26: cluster b is FAILED: no ports; `millrace cluster delete b`") {
		t.Errorf("a broken cluster: %v", err)
	}
}
