package apply

import (
	"context"
	"fmt"
	"maps"

	"millrace/cmd/managed"
)

// replicasUsual is what topics have where the file does not say, in clusters with as many brokers.
const replicasUsual = 3

func (p *planner) topic(c *Cluster, in cluster, t *Topic) {
	name := c.Name + "/" + t.Name
	there, ok := in.topics[t.Name]
	if !ok {
		replicas := t.Replicas
		if replicas == 0 {
			replicas = min(replicasUsual, c.Provisioned.Brokers)
		}
		details := append([]string{fmt.Sprintf("partitions: %d", t.Partitions)}, differences(nil, t.Config)...)
		p.add(actionCreate, "topic", name, t.Line, details, func(ctx context.Context, w *carrier) error {
			return w.topic(ctx, c.Name, func(arn string) error {
				return w.api.CreateTopic(ctx, arn, managed.Topic{Name: t.Name, Partitions: t.Partitions, Replicas: replicas}, t.Config)
			}, t.Name)
		})
		return
	}
	if t.Replicas != 0 && t.Replicas != there.Replicas {
		p.faults.add(t.at("replicationFactor"), "topic %s has a replicationFactor of %d, which cannot be changed", name, there.Replicas)
	}
	if t.Partitions < there.Partitions {
		p.faults.add(t.at("partitions"), "topic %s has %d partitions; there can be more, but not fewer", name, there.Partitions)
	}
	if t.has("config") && !maps.Equal(t.Config, there.configs) {
		p.add(actionUpdate, "topic", name, t.at("config"), differences(there.configs, t.Config), func(ctx context.Context, w *carrier) error {
			return w.topic(ctx, c.Name, func(arn string) error { return w.api.ConfigureTopic(ctx, arn, t.Name, t.Config) }, t.Name)
		})
	}
	if t.Partitions > there.Partitions {
		p.add(actionUpdate, "topic", name, t.at("partitions"), arrow("partitions", there.Partitions, t.Partitions), func(ctx context.Context, w *carrier) error {
			return w.topic(ctx, c.Name, func(arn string) error { return w.api.ExtendTopic(ctx, arn, t.Name, t.Partitions) }, t.Name)
		})
	}
}
