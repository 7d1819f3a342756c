package kafka

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"millrace/aws/door"
	"millrace/control"
	"millrace/control/topics"
)

// topicKeeper is what the service needs of the topics of clusters, as *topics.Topics has it. What Kafka refuses is an error that holds its
// kerr.Code.
type topicKeeper interface {
	Create(ctx context.Context, cluster string, t topics.Spec) error
	Describe(ctx context.Context, cluster, topic string) (topics.Topic, error)
	List(ctx context.Context, cluster string) ([]topics.Topic, error)
	Delete(ctx context.Context, cluster, topic string) error
	topicDetails
}

type topicDetails interface {
	// Configure makes configs all that is set for the topic.
	Configure(ctx context.Context, cluster, topic string, configs map[string]string) error
	Extend(ctx context.Context, cluster, topic string, partitions int) error
	Partitions(ctx context.Context, cluster, topic string) ([]topics.Partition, error)
}

// maxConfigs is the longest text of configs, in bytes, before and after it is decoded.
const maxConfigs = 64 << 10

type createTopicRequest struct {
	Name       string `json:"topicName" aws:"required,min=1"`
	Partitions int32  `json:"partitionCount" aws:"required,min=1"`
	Replicas   int32  `json:"replicationFactor" aws:"required,min=1,max=32767"`
	Configs    string `json:"configs"`
}

// topicState is what the operations that change a topic answer.
type topicState struct {
	ARN    string `json:"topicArn"`
	Name   string `json:"topicName"`
	Status string `json:"status"`
}

// createTopic is CreateTopic.
func (s *Service) createTopic(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[createTopicRequest](c)
	if err != nil {
		return nil, err
	}
	configs, err := decodeConfigs(r.Configs)
	if err != nil {
		return nil, err
	}
	cl, err := s.serving(ctx, c)
	if err != nil {
		return nil, err
	}
	spec := topics.Spec{Name: r.Name, Partitions: int(r.Partitions), Replicas: int(r.Replicas), Configs: configs}
	if err := s.world.Topics.Create(ctx, cl.Name, spec); err != nil {
		return nil, err
	}
	c.Changed(nil, spec)
	return s.topicState(cl, r.Name, "CREATING"), nil
}

// serving is the cluster that the path names, if brokers of it can be asked.
func (s *Service) serving(ctx context.Context, c *door.Call) (control.Cluster, error) {
	cl, err := s.provisionedOnly(ctx, c)
	if err != nil {
		return cl, err
	}
	switch cl.Phase {
	case control.Creating, control.Deleting, control.Broken:
		return cl, door.BadRequest("clusterArn", "You can't work with topics of a cluster in %s state.", cl.Phase)
	}
	return cl, nil
}

func (s *Service) topicState(cl control.Cluster, name, status string) topicState {
	return topicState{s.home.Topic(cl.Name, cl.ID, name), name, status}
}

// decodeConfigs reads the configs of a request: a JSON object of texts, numbers and booleans in base64. nil: there are none.
func decodeConfigs(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	bad := door.BadRequest("configs", "The value of configs must be a JSON object of topic configurations, encoded as a Base64 string.")
	if len(text) > maxConfigs {
		return nil, door.BadRequest("configs", "The value of configs is too long.")
	}
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, bad
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(plain, &raw); err != nil || raw == nil {
		return nil, bad
	}
	configs := make(map[string]string, len(raw))
	for name, value := range raw {
		var v any
		d := json.NewDecoder(strings.NewReader(string(value)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil || name == "" {
			return nil, bad
		}
		switch v := v.(type) {
		case string:
			configs[name] = v
		case json.Number, bool:
			configs[name] = fmt.Sprint(v)
		default:
			return nil, bad
		}
	}
	return configs, nil
}

// encodeConfigs writes configs as decodeConfigs reads them, in one way only.
func encodeConfigs(configs map[string]string) (string, error) {
	if configs == nil {
		configs = map[string]string{}
	}
	text, err := json.Marshal(configs) // sorted by name
	if err != nil {
		return "", fmt.Errorf("encode topic configurations: %w", err)
	}
	return base64.StdEncoding.EncodeToString(text), nil
}

// describeTopic is DescribeTopic.
func (s *Service) describeTopic(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.serving(ctx, c)
	if err != nil {
		return nil, err
	}
	t, err := s.world.Topics.Describe(ctx, cl.Name, c.Params["topicName"])
	if err != nil {
		return nil, err
	}
	configs, err := encodeConfigs(t.Configs)
	if err != nil {
		return nil, err
	}
	return struct {
		topicState
		Replicas   int    `json:"replicationFactor"`
		Partitions int    `json:"partitionCount"`
		Configs    string `json:"configs"`
	}{s.topicState(cl, t.Name, string(t.State)), t.Replicas, t.Partitions, configs}, nil
}

type topicSummary struct {
	ARN        string `json:"topicArn"`
	Name       string `json:"topicName"`
	Replicas   int    `json:"replicationFactor"`
	Partitions int    `json:"partitionCount"`
	OutOfSync  int    `json:"outOfSyncReplicaCount"`
}

// listTopics is ListTopics.
func (s *Service) listTopics(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.serving(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := s.world.Topics.List(ctx, cl.Name)
	if err != nil {
		return nil, err
	}
	var named []topics.Topic
	for _, t := range all {
		if strings.HasPrefix(t.Name, c.Query.Get("topicNameFilter")) {
			named = append(named, t)
		}
	}
	page, next, err := door.Page(c, named, func(t topics.Topic) string { return t.Name })
	if err != nil {
		return nil, err
	}
	list := make([]topicSummary, 0, len(page))
	for _, t := range page {
		list = append(list, topicSummary{s.home.Topic(cl.Name, cl.ID, t.Name), t.Name, t.Replicas, t.Partitions, t.OutOfSync})
	}
	return struct {
		List []topicSummary `json:"topics"`
		Next string         `json:"nextToken,omitempty"`
	}{list, next}, nil
}

type updateTopicRequest struct {
	Configs    *string `json:"configs"`
	Partitions *int32  `json:"partitionCount" aws:"min=1"`
}

// updateTopic is UpdateTopic.
func (s *Service) updateTopic(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[updateTopicRequest](c)
	if err != nil {
		return nil, err
	}
	if (r.Configs == nil) == (r.Partitions == nil) {
		return nil, door.BadRequest("configs", "You must specify either configs or partitionCount, and not both.")
	}
	var configs map[string]string
	if r.Configs != nil {
		if configs, err = decodeConfigs(*r.Configs); err != nil {
			return nil, err
		}
	}
	cl, err := s.serving(ctx, c)
	if err != nil {
		return nil, err
	}
	name := c.Params["topicName"]
	if r.Configs != nil {
		err = s.world.Topics.Configure(ctx, cl.Name, name, configs)
	} else {
		err = s.world.Topics.Extend(ctx, cl.Name, name, int(*r.Partitions))
	}
	if err != nil {
		return nil, err
	}
	c.Changed(nil, r)
	return s.topicState(cl, name, "UPDATING"), nil
}

// deleteTopic is DeleteTopic.
func (s *Service) deleteTopic(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.serving(ctx, c)
	if err != nil {
		return nil, err
	}
	name := c.Params["topicName"]
	if err := s.world.Topics.Delete(ctx, cl.Name, name); err != nil {
		return nil, err
	}
	c.Changed(name, nil)
	return s.topicState(cl, name, "DELETING"), nil
}

type partitionInfo struct {
	Number   int32   `json:"partition"`
	Leader   int32   `json:"leader"`
	Replicas []int32 `json:"replicas"`
	ISR      []int32 `json:"isr"`
}

// describeTopicPartitions is Describetopics.Partitions.
func (s *Service) describeTopicPartitions(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.serving(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := s.world.Topics.Partitions(ctx, cl.Name, c.Params["topicName"])
	if err != nil {
		return nil, err
	}
	page, next, err := door.Page(c, all, func(p topics.Partition) string { return fmt.Sprintf("%010d", p.Number) })
	if err != nil {
		return nil, err
	}
	list := make([]partitionInfo, 0, len(page))
	for _, p := range page {
		list = append(list, partitionInfo{p.Number, p.Leader, append([]int32{}, p.Replicas...), append([]int32{}, p.ISR...)})
	}
	return struct {
		List []partitionInfo `json:"partitions"`
		Next string          `json:"nextToken,omitempty"`
	}{list, next}, nil
}
