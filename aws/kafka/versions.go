package kafka

import (
	"context"
	"slices"
	"strings"

	"millrace/aws/door"
	"millrace/control"
)

// kafkaVersions are those that a cluster with Express brokers can be said to have, the oldest first. MSK has them up to 3.9.x; what
// brokers here speak is that of 4.1, whatever the cluster says.
func kafkaVersions() []string {
	return []string{"3.6.0", "3.8.x", control.DefaultKafkaVersion, "4.0.x", "4.1.x"}
}

func versionFault(param, version string) error {
	if slices.Contains(kafkaVersions(), version) {
		return nil
	}
	return door.BadRequest(param, "Unsupported KafkaVersion [%s]. Valid values: [%s]", version, strings.Join(kafkaVersions(), ", "))
}

type kafkaVersion struct {
	Version string `json:"version"`
	Status  string `json:"status"`
}

// listKafkaVersions is ListKafkaVersions.
func (s *Service) listKafkaVersions(_ context.Context, c *door.Call) (any, error) {
	page, next, err := door.Page(c, kafkaVersions(), func(v string) string { return v })
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
	sources := kafkaVersions()
	if text := c.Query.Get("clusterArn"); text != "" {
		cl, err := s.find(ctx, text)
		if err != nil {
			return nil, err
		}
		sources = []string{orDefault(cl.Settings.KafkaVersion, control.DefaultKafkaVersion)}
	}
	list := make([]compatible, 0, len(sources))
	for _, v := range sources {
		list = append(list, compatible{v, later(v)})
	}
	return struct {
		List []compatible `json:"compatibleKafkaVersions"`
	}{list}, nil
}

// later are the versions after one.
func later(version string) []string {
	all := kafkaVersions()
	return append([]string{}, all[slices.Index(all, version)+1:]...)
}

// upgradeFault refuses to go back: what newer brokers have written, older ones need not understand.
func upgradeFault(from, to string) error {
	if from != to && !slices.Contains(later(from), to) {
		return door.BadRequest("targetKafkaVersion", "You can't update the cluster from Apache Kafka version [%s] to [%s].", from, to)
	}
	return nil
}
