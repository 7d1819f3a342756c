package apply

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// whole is a file with everything in it.
const whole = `configurations:
  - name: c
    description: d
    kafkaVersions: [3.9.x]
    properties: {num.partitions: 3, auto.create.topics.enable: false}
clusters:
  - name: a
    tags: {x: y, n: 1}
    provisioned:
      brokers: 3
      instanceType: express.m7g.large
      kafkaVersion: 3.9.x
      clientSubnets: [s1, s2, s3]
      securityGroups: [g]
      configuration: c:2
      authentication: [iam, scram]
      encryptionInTransit: TLS
      enhancedMonitoring: PER_BROKER
      rebalancing: PAUSED
      publicAccess: true
    topics:
      - {name: t, partitions: 2, replicationFactor: 3, config: {retention.ms: 5}}
    policy:
      Version: "2012-10-17"
      Statement: [{Effect: Allow, Resource: "${cluster.arn}/${account}"}]
  - name: b
    serverless: {clientSubnets: [s1], securityGroups: [g]}
`

// policyText is the policy in it.
const policyText = "    policy:\n      Version: \"2012-10-17\"\n      Statement: [{Effect: Allow, Resource: \"${cluster.arn}/${account}\"}]\n"

func read(text string) (*File, error) { return Read(strings.NewReader(text), "f.yaml") }

func TestEverythingIsRead(t *testing.T) {
	f, err := read(whole)
	if err != nil {
		t.Fatal(err)
	}
	c, a, b := f.Configurations[0], f.Clusters[0], f.Clusters[1]
	if c.Name != "c" || c.Description != "d" || c.KafkaVersions[0] != "3.9.x" || c.Properties["num.partitions"] != "3" || c.Properties["auto.create.topics.enable"] != "false" {
		t.Errorf("configuration %+v", c)
	}
	p := a.Provisioned
	if a.Tags["n"] != "1" || p.Brokers != 3 || p.Configuration != "c:2" || len(p.Authentication) != 2 || p.Encryption != "TLS" || !*p.Public || p.Rebalancing != "PAUSED" ||
		p.Monitoring != "PER_BROKER" || len(p.ClientSubnets) != 3 {
		t.Errorf("cluster %+v, %+v", a, p)
	}
	if topic := a.Topics[0]; topic.Partitions != 2 || topic.Replicas != 3 || topic.Config["retention.ms"] != "5" || topic.Line != 22 {
		t.Errorf("topic %+v", topic)
	}
	if text, err := a.document("arn", "12"); err != nil || text != `{"Statement":[{"Effect":"Allow","Resource":"arn/12"}],"Version":"2012-10-17"}` {
		t.Errorf("policy %s, %v", text, err)
	}
	if b.Serverless.Subnets[0] != "s1" || b.Provisioned != nil || b.Line != 26 || p.at("brokers") != 10 || p.has("nothing") {
		t.Errorf("places: %d, %d", b.Line, p.at("brokers"))
	}
}

// TestFaultsHaveLines (Y1, Y6): each fault of a file is told with its line, and all at once.
func TestFaultsHaveLines(t *testing.T) {
	for _, c := range []struct {
		old, new string
		says     []string
	}{
		{"brokers: 3", "brokes: 3", []string{`f.yaml:10: unknown field "brokes" of provisioned; there are authentication, brokers,`}},
		{"brokers: 3", "brokers: three", []string{`f.yaml:10: brokers must be a whole number, not "three"`}},
		{"brokers: 3", "brokers: 3.5", []string{"f.yaml:10: brokers must be a whole number"}},
		{"brokers: 3", "brokers: 99999999999", []string{"f.yaml:10: brokers must be a whole number"}},
		{"brokers: 3", "brokers: [3]", []string{"f.yaml:10: brokers must be one value"}},
		{"brokers: 3", "brokers:", []string{"f.yaml:10: brokers has no value"}},
		{"brokers: 3", "brokers: 0", []string{"f.yaml:10: cluster a: brokers is missing"}},
		{"brokers: 3", "brokers: 3\n      brokers: 4", []string{`f.yaml:11: provisioned: "brokers" stands in line 10 already`}},
		{"publicAccess: true", "publicAccess: maybe", []string{"f.yaml:20: publicAccess must be true or false"}},
		{"tags: {x: y, n: 1}", "tags: [x]", []string{"f.yaml:8: tags must be fields with their values"}},
		{"tags: {x: y, n: 1}", "tags: {x: {y: z}}", []string{"f.yaml:8: x must be one value"}},
		{"tags: {x: y, n: 1}", "tags: {[x]: y}", []string{"f.yaml:8: tags: a field must have a name"}},
		{"clientSubnets: [s1, s2, s3]", "clientSubnets: s1", []string{"f.yaml:13: clientSubnets must be a list"}},
		{"[iam, scram]", "[iam, password]", []string{`f.yaml:16: cluster a: login "password": there are iam, scram, tls, unauthenticated`}},
		{"[iam, scram]", "[]", []string{"f.yaml:16: cluster a: name at least one login"}},
		{": TLS", ": SSL", []string{`f.yaml:17: cluster a: encryptionInTransit is "SSL"; there are TLS,`}},
		{"partitions: 2", "partitions: 0", []string{"f.yaml:22: topic t: partitions must be at least 1"}},
		{"name: t,", "", []string{"f.yaml:22: this topic has no name"}},
		{"- name: b", "- name: a", []string{"f.yaml:26: cluster a stands in line 7 already"}},
		{"- name: b", "- tags: {}", []string{"f.yaml:26: this cluster has no name"}},
		{"    serverless: {clientSubnets: [s1], securityGroups: [g]}\n", "", []string{"f.yaml:26: cluster b: give one of provisioned and serverless"}},
		{"{clientSubnets: [s1], securityGroups: [g]}", "{}", []string{"f.yaml:27: cluster b: clientSubnets is missing"}},
		{"securityGroups: [g]}\n", "securityGroups: [g]}\n    topics: [{name: t, partitions: 1}]\n", []string{"f.yaml:28: cluster b: topics of serverless clusters"}},
		{"num.partitions: 3", `"a=b": 3`, []string{`f.yaml:5: configuration c: property "a=b" cannot be written`}},
		{"num.partitions: 3", `a: "1\nbroker.id=3"`, []string{`property "a" cannot be written`}},
		{policyText, "    policy: [1]\n", []string{"f.yaml:23: cluster a: policy: "}},
		{"name: a", "name: a\n    nme: b\n    provisined: 3", []string{`f.yaml:8: unknown field "nme"`, `f.yaml:9: unknown field "provisined"`}},
		{"clusters:", "clusters", []string{"f.yaml:"}},
		{"brokers: 3", "brokers: 3\n---\nclusters: []", []string{"there is a second document"}},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		if text == whole {
			t.Fatalf("%q is not in the file", c.old)
		}
		_, err := read(text)
		if !errors.Is(err, ErrFile) {
			t.Errorf("%q: %v", c.new, err)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%q: %v\nwant: %s", c.new, err, says)
			}
		}
	}
	for _, text := range []string{"", "# nothing", "{}", "[]", "3", "clusters: []", "\t", "clusters: &a [*a]", strings.Repeat("#", fileMost+1)} {
		if _, err := read(text); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "f.yaml") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// FuzzRead: whatever a file has in it, it is read or refused; what is read is whole.
func FuzzRead(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("clusters: &a [*a]"))
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a]\nclusters: [{policy: {c: [*b,*b]}}]"))
	f.Add([]byte("clusters: [{<<: {name: x}, name: y}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Read(bytes.NewReader(text), "f")
		if err != nil {
			if !errors.Is(err, ErrFile) {
				t.Fatal(err)
			}
			return
		}
		for _, c := range file.Clusters {
			if c == nil || c.Name == "" || (c.Provisioned == nil) == (c.Serverless == nil) {
				t.Fatalf("cluster %+v", c)
			}
		}
		if _, err := plan(file, state{}); err != nil && !errors.Is(err, ErrFile) {
			t.Fatal(err)
		}
	})
}
