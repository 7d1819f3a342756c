package arn

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is what kind of thing of Kafka an ARN names, as it stands in it.
type Kind string

// The kinds.
const (
	Cluster         Kind = "cluster"
	Operation       Kind = "cluster-operation"
	Configuration   Kind = "configuration"
	VPCConnection   Kind = "vpc-connection"
	Replicator      Kind = "replicator"
	Channel         Kind = "channel"
	Broker          Kind = "broker"
	Topic           Kind = "topic"
	Group           Kind = "group"
	TransactionalID Kind = "transactional-id"
)

// Resource is a thing of Kafka that an ARN names.
type Resource struct {
	Region  string
	Account string // whose it is; of a VPC connection: whose network it is
	Kind    Kind
	Owner   string // of a VPC connection: the account whose cluster it is; "" for all others
	Name    string // of the cluster that it is or is in, or of the configuration or replicator
	ID      string // UUID-N of what is named Name; of a VPC connection: its own UUID
	Child   string // UUID of an operation, channel or broker, name of a topic, group or transactional id; "" for all others
}

// String is the ARN.
func (r Resource) String() string {
	parts := []string{string(r.Kind)}
	if r.Kind == VPCConnection {
		parts = append(parts, r.Owner)
	}
	parts = append(parts, r.Name, r.ID)
	if _, has := child(r.Kind); has {
		parts = append(parts, r.Child)
	}
	return Home{r.Region, r.Account}.arn("kafka", strings.Join(parts, "/"))
}

// Tail is "NAME/ID", by which the control plane knows configurations.
func (r Resource) Tail() string { return r.Name + "/" + r.ID }

// child returns what a kind has after the ID, if it has something.
func child(k Kind) (valid func(string) bool, has bool) {
	switch k {
	case Operation, Channel, Broker:
		return uuid, true
	case Topic:
		return name, true
	case Group, TransactionalID:
		return func(s string) bool { return s != "" }, true // they may have colons and slashes in them
	}
	return nil, false
}

// Parse reads an ARN of Kafka, of any region and account. The error is ErrForm.
func Parse(text string) (Resource, error) {
	a, err := Split(text)
	if err != nil || a.Partition != "aws" || a.Service != "kafka" || a.Region == "" || a.Account == "" {
		return Resource{}, ErrForm
	}
	r := Resource{Region: a.Region, Account: a.Account}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	r.Kind = Kind(kind)
	if r.Kind == VPCConnection {
		if r.Owner, rest, _ = strings.Cut(rest, "/"); !account(r.Owner) {
			return Resource{}, ErrForm
		}
	}
	var ok bool
	if r.Name, rest, ok = strings.Cut(rest, "/"); !ok || !name(r.Name) {
		return Resource{}, ErrForm
	}
	valid, has := child(r.Kind)
	if has {
		if r.ID, r.Child, ok = strings.Cut(rest, "/"); !ok || !valid(r.Child) {
			return Resource{}, ErrForm
		}
	} else {
		r.ID = rest
	}
	if !known(r.Kind) || r.Kind != VPCConnection && !numbered(r.ID) || r.Kind == VPCConnection && !uuid(r.ID) {
		return Resource{}, ErrForm
	}
	return r, nil
}

func known(k Kind) bool {
	return slices.Contains([]Kind{Cluster, Operation, Configuration, VPCConnection, Replicator, Channel, Broker, Topic, Group, TransactionalID}, k)
}

// Find reads the ARN of a thing of this installation that is of one of the kinds. The error is ErrForm or ErrElsewhere.
func (h Home) Find(text string, kinds ...Kind) (Resource, error) {
	r, err := Parse(text)
	if err != nil {
		return Resource{}, err
	}
	if !slices.Contains(kinds, r.Kind) {
		return Resource{}, fmt.Errorf("%w of a %s", ErrForm, kinds[0])
	}
	return r, h.owns(r.Region, r.Account)
}

// Cluster is the ARN of a cluster. id is its "UUID-N".
func (h Home) Cluster(name, id string) string { return h.of(Cluster, name, id, "") }

// Operation is the ARN of an operation on a cluster. operation is its UUID.
func (h Home) Operation(name, id, operation string) string {
	return h.of(Operation, name, id, operation)
}

// Configuration is the ARN of a configuration. id is its "UUID-N".
func (h Home) Configuration(name, id string) string { return h.of(Configuration, name, id, "") }

// Broker is the ARN of a node of a cluster. node is a UUID.
func (h Home) Broker(name, id, node string) string { return h.of(Broker, name, id, node) }

// Topic is the ARN of a topic of a cluster.
func (h Home) Topic(name, id, topic string) string { return h.of(Topic, name, id, topic) }

// VPCConnection is the ARN of a VPC connection to a cluster of this installation, of the account itself. id is its UUID.
func (h Home) VPCConnection(name, id string) string {
	return Resource{Region: h.Region, Account: h.Account, Kind: VPCConnection, Owner: h.Account, Name: name, ID: id}.String()
}

func (h Home) of(kind Kind, name, id, child string) string {
	return Resource{Region: h.Region, Account: h.Account, Kind: kind, Name: name, ID: id, Child: child}.String()
}
