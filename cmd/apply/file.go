package apply

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/cmd/managed"
)

// ErrFile: the file does not say what there shall be; the message names each fault with its line.
var ErrFile = errors.New("the file is wrong")

// fileMost bounds a file, in bytes.
const fileMost = 1 << 20

// File is what a file says there shall be.
type File struct {
	Place
	Path           string           // as it is named in errors
	Configurations []*Configuration `yaml:"configurations"`
	Clusters       []*Cluster       `yaml:"clusters"`
}

// Configuration is one that clusters use.
type Configuration struct {
	Place
	Name          string            `yaml:"name"`
	Description   string            `yaml:"description"`   // of the revision that is made, where one is
	KafkaVersions []string          `yaml:"kafkaVersions"` // fixed when it is made
	Properties    map[string]string `yaml:"properties"`    // all of them
}

// Cluster is a cluster: one of Provisioned and Serverless is given.
type Cluster struct {
	Place
	Name        string            `yaml:"name"`
	Tags        map[string]string `yaml:"tags"` // all of them, where they are given
	Provisioned *Provisioned      `yaml:"provisioned"`
	Serverless  *Serverless       `yaml:"serverless"`
	Topics      []*Topic          `yaml:"topics"` // others stay
	Policy      *yaml.Node        `yaml:"policy"` // a document, with ${cluster.arn} and ${account} in its texts
}

// Provisioned is a cluster with a fixed number of brokers. What is not given stays as it is, and takes the API's default in a new cluster.
type Provisioned struct {
	Place
	Brokers        int      `yaml:"brokers"`
	InstanceType   string   `yaml:"instanceType"`
	KafkaVersion   string   `yaml:"kafkaVersion"`
	ClientSubnets  []string `yaml:"clientSubnets"`  // fixed when it is made
	SecurityGroups []string `yaml:"securityGroups"` // likewise
	Configuration  string   `yaml:"configuration"`  // NAME for the latest revision, or NAME:REVISION
	Authentication []string `yaml:"authentication"` // of managed.LoginNames; those that are not named are off
	Encryption     string   `yaml:"encryptionInTransit"`
	Monitoring     string   `yaml:"enhancedMonitoring"`
	Rebalancing    string   `yaml:"rebalancing"`
	Public         *bool    `yaml:"publicAccess"`
}

// Serverless is a cluster whose brokers follow its load.
type Serverless struct {
	Place
	Subnets        []string `yaml:"clientSubnets"`  // fixed when it is made
	SecurityGroups []string `yaml:"securityGroups"` // likewise
}

// Topic is a topic of a provisioned cluster.
type Topic struct {
	Place
	Name       string            `yaml:"name"`
	Partitions int               `yaml:"partitions"`        // can be raised
	Replicas   int               `yaml:"replicationFactor"` // fixed when it is made; 0: 3, or as many as there are brokers
	Config     map[string]string `yaml:"config"`            // all that is set for it, where it is given
}

// faults gathers what is wrong with a file.
type faults struct {
	path string
	all  []fault
}

type fault struct {
	line int
	text string
}

func (f *faults) add(line int, format string, args ...any) {
	f.all = append(f.all, fault{line, fmt.Sprintf(format, args...)})
}

// err is ErrFile with each fault on a line of its own, in the order of the file; nil: there is none.
func (f *faults) err() error {
	if len(f.all) == 0 {
		return nil
	}
	slices.SortStableFunc(f.all, func(a, b fault) int { return a.line - b.line })
	var text strings.Builder
	for _, one := range f.all {
		fmt.Fprintf(&text, "\n%s:%d: %s", f.path, one.line, one.text)
	}
	return fmt.Errorf("%w:%s", ErrFile, text.String())
}

// Read reads a file. path is what errors call it.
func Read(r io.Reader, path string) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, fileMost+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	if len(text) > fileMost {
		return nil, fmt.Errorf("%w: %s: it has more than %d bytes", ErrFile, path, fileMost)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s:1: it is empty", ErrFile, path)
	} else if err != nil {
		return nil, syntax(path, err)
	}
	if len(root.Content) != 1 {
		return nil, fmt.Errorf("%w: %s:1: it is empty", ErrFile, path)
	}
	found := &faults{path: path}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		found.add(max(more.Line, 1), "there is a second document; one file is one document")
	}
	f := &File{Path: path}
	decoder{found}.into(root.Content[0], reflect.ValueOf(f).Elem(), "the file")
	if len(found.all) == 0 {
		f.check(found)
	}
	return f, found.err()
}

// syntax is what a parser says, with its line where ours stand.
func syntax(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, what, ok := strings.Cut(rest, ": "); ok {
			return fmt.Errorf("%w:\n%s:%s: %s", ErrFile, path, number, what)
		}
	}
	return fmt.Errorf("%w:\n%s:1: %s", ErrFile, path, text)
}

// check finds what is wrong by itself, whatever there is.
func (f *File) check(found *faults) {
	if len(f.Clusters)+len(f.Configurations) == 0 {
		found.add(f.Line, "it has neither clusters nor configurations")
	}
	names := map[string]int{}
	for _, c := range f.Configurations {
		unique(found, names, "configuration", c.Name, c.Place)
		if len(c.Properties) == 0 {
			found.add(c.at("properties"), "configuration %s has no properties", c.Name)
		}
		for k, v := range c.Properties {
			if strings.ContainsAny(k, "=:# \t\r\n\\") || k == "" || strings.ContainsAny(v, "\r\n\\") {
				found.add(c.at("properties"), "configuration %s: property %q cannot be written as a line KEY=VALUE", c.Name, k)
			}
		}
	}
	names = map[string]int{}
	for _, c := range f.Clusters {
		unique(found, names, "cluster", c.Name, c.Place)
		c.check(found)
	}
}

func unique(found *faults, names map[string]int, kind, name string, at Place) {
	if name == "" {
		found.add(at.at("name"), "this %s has no name", kind)
	} else if line, twice := names[name]; twice {
		found.add(at.at("name"), "%s %s stands in line %d already", kind, name, line)
	}
	names[name] = at.Line
}

func (c *Cluster) check(found *faults) {
	if (c.Provisioned == nil) == (c.Serverless == nil) {
		found.add(c.Line, "cluster %s: give one of provisioned and serverless", c.Name)
		return
	}
	if p := c.Provisioned; p != nil {
		p.check(found, c.Name)
	} else {
		if len(c.Serverless.Subnets) == 0 {
			found.add(c.Serverless.at("clientSubnets"), "cluster %s: clientSubnets is missing", c.Name)
		}
		if c.has("topics") {
			found.add(c.at("topics"), "cluster %s: topics of serverless clusters are made by Kafka clients, as `millrace topic create`", c.Name)
		}
	}
	names := map[string]int{}
	for _, t := range c.Topics {
		unique(found, names, "topic", t.Name, t.Place)
		if t.Partitions < 1 {
			found.add(t.at("partitions"), "topic %s: partitions must be at least 1", t.Name)
		}
		if t.Replicas < 0 || t.has("replicationFactor") && t.Replicas == 0 {
			found.add(t.at("replicationFactor"), "topic %s: replicationFactor must be at least 1", t.Name)
		}
	}
	if c.Policy != nil {
		if _, err := c.document("", ""); err != nil {
			found.add(c.at("policy"), "cluster %s: policy: %v", c.Name, err)
		}
	}
}

func (p *Provisioned) check(found *faults, cluster string) {
	for _, field := range []struct {
		name    string
		missing bool
	}{{"brokers", p.Brokers < 1}, {"instanceType", p.InstanceType == ""}, {"kafkaVersion", p.KafkaVersion == ""}, {"clientSubnets", len(p.ClientSubnets) == 0}} {
		if field.missing {
			found.add(p.at(field.name), "cluster %s: %s is missing", cluster, field.name)
		}
	}
	for _, login := range p.Authentication {
		if !slices.Contains(managed.LoginNames(), login) {
			found.add(p.at("authentication"), "cluster %s: login %q: there are %s", cluster, login, strings.Join(managed.LoginNames(), ", "))
		}
	}
	if p.has("authentication") && len(p.Authentication) == 0 {
		found.add(p.at("authentication"), "cluster %s: name at least one login of %s", cluster, strings.Join(managed.LoginNames(), ", "))
	}
	for field, one := range map[string]struct {
		value  string
		values []string
	}{
		"encryptionInTransit": {p.Encryption, []string{"TLS", "TLS_PLAINTEXT", "PLAINTEXT"}},
		"enhancedMonitoring":  {p.Monitoring, []string{"DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION"}},
		"rebalancing":         {p.Rebalancing, []string{"ACTIVE", "PAUSED"}},
	} {
		if p.has(field) && !slices.Contains(one.values, one.value) {
			found.add(p.at(field), "cluster %s: %s is %q; there are %s", cluster, field, one.value, strings.Join(one.values, ", "))
		}
	}
}

// document is the policy as JSON, with what stands for the cluster filled in.
func (c *Cluster) document(arn, account string) (string, error) {
	var v map[string]any
	if err := c.Policy.Decode(&v); err != nil {
		return "", err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("${cluster.arn}", arn, "${account}", account).Replace(string(text)), nil
}
