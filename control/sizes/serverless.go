package sizes

import (
	"errors"
	"fmt"

	"millrace/engine"
)

// ErrQuotas: quotas of serverless clusters that cannot be; the message says which.
var ErrQuotas = errors.New("serverless quotas")

// Quotas are what a serverless cluster may use. A zero field takes AWS's value, which stands beside it.
type Quotas struct {
	In          int64 `json:"in,omitempty"`           // bytes per second that clients produce; 200 MB
	Out         int64 `json:"out,omitempty"`          // bytes per second that clients fetch; 400 MB
	Connections int   `json:"connections,omitempty"`  // of clients, open at once; 3,000
	ConnectRate int   `json:"connect_rate,omitempty"` // new connections per second; 100
	Requests    int   `json:"requests,omitempty"`     // per second; 15,000
	Partitions  int   `json:"partitions,omitempty"`   // without internal topics; 2,400
	Groups      int   `json:"groups,omitempty"`       // consumer groups; 500

	MessageBytes      int64 `json:"message_bytes,omitempty"`      // the largest record batch; 8 MiB
	FetchBytes        int64 `json:"fetch_bytes,omitempty"`        // records of one answer; 55 MB
	TopicChanges      int   `json:"topic_changes,omitempty"`      // topics created, deleted or enlarged per second; 2
	PartitionChanges  int   `json:"partition_changes,omitempty"`  // partitions created and deleted per PartitionsSeconds; 250
	PartitionsSeconds int   `json:"partitions_seconds,omitempty"` // 300

	Clusters    int    `json:"clusters,omitempty"`     // serverless ones of an account; 10
	BrokerType  string `json:"broker_type,omitempty"`  // whose size each broker has; express.m7g.large
	Brokers     int    `json:"brokers,omitempty"`      // at most; as many as In, Out and Partitions need
	LoadSeconds int    `json:"load_seconds,omitempty"` // how often brokers say what they have to do; 5
}

// Validate fills in what is zero, and returns ErrQuotas for what cannot be.
func (q *Quotas) Validate() error {
	set(&q.In, 200*MB)
	set(&q.Out, 400*MB)
	set(&q.Connections, 3000)
	set(&q.ConnectRate, 100)
	set(&q.Requests, 15_000)
	set(&q.Partitions, 2400)
	set(&q.Groups, 500)
	set(&q.MessageBytes, 8<<20)
	set(&q.FetchBytes, 55*MB)
	set(&q.TopicChanges, 2)
	set(&q.PartitionChanges, 250)
	set(&q.PartitionsSeconds, 300)
	set(&q.Clusters, 10)
	set(&q.LoadSeconds, 5)
	set(&q.BrokerType, family+"large")
	unit, err := Find(q.BrokerType)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrQuotas, err)
	}
	if Standard(unit.Name) {
		return fmt.Errorf("%w: brokers of a serverless cluster are of an express type, and not %s", ErrQuotas, unit.Name)
	}
	if err := errors.Join(
		above("in", q.In), above("out", q.Out), above("connections", q.Connections), above("connect_rate", q.ConnectRate),
		above("requests", q.Requests), above("partitions", q.Partitions), above("groups", q.Groups),
		above("message_bytes", q.MessageBytes), above("fetch_bytes", q.FetchBytes), above("topic_changes", q.TopicChanges),
		above("partition_changes", q.PartitionChanges), above("partitions_seconds", q.PartitionsSeconds),
		above("clusters", q.Clusters), above("load_seconds", q.LoadSeconds),
	); err != nil {
		return err
	}
	set(&q.Brokers, int(max(parts(q.In, unit.Limits.In.Sustained), parts(q.Out, unit.Limits.Out.Sustained),
		parts(int64(q.Partitions), int64(unit.Recommended)))))
	if q.Brokers < 0 || q.Brokers > brokersMost {
		return fmt.Errorf("%w: brokers is %d, must be 1 to %d", ErrQuotas, q.Brokers, brokersMost)
	}
	return unitOf(*q, unit).Limits.Validate()
}

// brokersMost bounds the brokers of a serverless cluster.
const brokersMost = 1000

func set[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

func above[T int | int64](name string, v T) error {
	if v > 0 && int64(v) <= 1<<40 {
		return nil
	}
	return fmt.Errorf("%w: %s is %d, must be above 0", ErrQuotas, name, v)
}

// parts is how many of each are needed for all, rounded up.
func parts(all, each int64) int64 { return (all-1)/each + 1 }

// Unit returns the size of each broker of a serverless cluster that has these quotas, which were validated. What AWS gives for a whole
// cluster and clients cannot be spread over brokers by (connections, requests, changes of topics) each broker allows whole: capacity
// follows before that matters. Bytes in and out are bounded by the number of brokers that there can be.
func (q Quotas) Unit() (Type, error) {
	unit, err := Find(q.BrokerType)
	if err != nil {
		return Type{}, err
	}
	return unitOf(q, unit), nil
}

func unitOf(q Quotas, unit Type) Type {
	unit.Limits = engine.Limits{
		In: unit.Limits.In, Out: unit.Limits.Out, CPUs: unit.Limits.CPUs,
		Requests: q.Requests, Connections: q.Connections, ConnectionRate: q.ConnectRate, MessageBytes: q.MessageBytes, FetchBytes: q.FetchBytes,
		Partitions: q.Partitions, TopicChanges: q.TopicChanges, PartitionChanges: q.PartitionChanges, PartitionsSeconds: q.PartitionsSeconds,
		LoadSeconds: q.LoadSeconds,
	}
	return unit
}

// Of returns the size of each broker of a cluster: of a serverless one by its quotas, which were validated, of any other by its broker
// type. It is the zero Type, without limits, for a cluster that has no broker type, and ErrUnknown for one that cannot be.
func Of(serverless bool, brokerType string, q Quotas) (Type, error) {
	switch {
	case serverless:
		return q.Unit()
	case brokerType == "":
		return Type{}, nil
	default:
		return Find(brokerType)
	}
}
