package kafka

import (
	"context"
	"slices"
	"strings"

	"millrace/aws/door"
	"millrace/control"
	"millrace/control/sizes"
)

// kafkaVersions are those that a cluster with Express brokers can be said to have, the oldest first. MSK has them up to 3.9.x; what
// brokers here speak is that of 4.1, whatever the cluster says.
func kafkaVersions() []string {
	return []string{"3.6.0", "3.8.x", control.DefaultKafkaVersion, "4.0.x", "4.1.x"}
}

// standardVersions are those that a cluster with Standard brokers can have: Apache Kafka itself, the oldest first.
func standardVersions() []string {
	return []string{control.DefaultKafkaVersion, "4.1.x", "4.3.x"}
}

// versionsOf are the versions that a cluster with brokers of a type can have.
func versionsOf(brokerType string) []string {
	if sizes.Standard(brokerType) {
		return standardVersions()
	}
	return kafkaVersions()
}

// allVersions are those that some cluster can have, the oldest first.
func allVersions() []string { return append(kafkaVersions(), "4.3.x") }

func versionFault(param, brokerType, version string) error {
	all := versionsOf(brokerType)
	if slices.Contains(all, version) {
		return nil
	}
	return door.BadRequest(param, "Unsupported KafkaVersion [%s]. Valid values: [%s]", version, strings.Join(all, ", "))
}

type kafkaVersion struct {
	Version string `json:"version"`
	Status  string `json:"status"`
}

// listKafkaVersions is ListKafkaVersions.
func (s *Service) listKafkaVersions(_ context.Context, c *door.Call) (any, error) {
	page, next, err := door.Page(c, allVersions(), func(v string) string { return v })
	if err != nil {
		return nil, err
	}
	list := make([]kafkaVersion, 0, len(page))
	for _, v := range page {
		list = append(list, kafkaVersion{v, "ACTIVE"})
	}
	return struct {
		List []kafkaVersion `json:"kafkaVersions"`
		Next string         `json:"nextToken,omitempty"`
	}{list, next}, nil
}

type compatible struct {
	Source  string   `json:"sourceVersion"`
	Targets []string `json:"targetVersions"`
}

// getCompatibleKafkaVersions is GetCompatibleKafkaVersions: to what each version, or that of a cluster, can be updated.
func (s *Service) getCompatibleKafkaVersions(ctx context.Context, c *door.Call) (any, error) {
	sources, all := allVersions(), allVersions()
	if text := c.Query.Get("clusterArn"); text != "" {
		cl, err := s.find(ctx, text)
		if err != nil {
			return nil, err
		}
		all = versionsOf(cl.Settings.BrokerType)
		sources = []string{orDefault(cl.Settings.KafkaVersion, control.DefaultKafkaVersion)}
	}
	list := make([]compatible, 0, len(sources))
	for _, v := range sources {
		list = append(list, compatible{v, later(all, v)})
	}
	return struct {
		List []compatible `json:"compatibleKafkaVersions"`
	}{list}, nil
}

// later are the versions after one.
func later(all []string, version string) []string {
	return append([]string{}, all[slices.Index(all, version)+1:]...)
}

// upgradeFault refuses to go back: what newer brokers have written, older ones need not understand.
func upgradeFault(brokerType, from, to string) error {
	if from != to && !slices.Contains(later(versionsOf(brokerType), from), to) {
		return door.BadRequest("targetKafkaVersion", "You can't update the cluster from Apache Kafka version [%s] to [%s].", from, to)
	}
	return nil
}
