package managed

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
)

// Configs are what is set for the topic.
func (t Topic) Configs() (map[string]string, error) {
	if t.Encoded == "" {
		return map[string]string{}, nil
	}
	text, err := base64.StdEncoding.DecodeString(t.Encoded)
	if err != nil {
		return nil, fmt.Errorf("configs of topic %s: %w", t.Name, err)
	}
	configs := map[string]string{}
	if err := json.Unmarshal(text, &configs); err != nil {
		return nil, fmt.Errorf("configs of topic %s: %w", t.Name, err)
	}
	return configs, nil
}

// encode writes configs as the API takes them.
func encode(configs map[string]string) (string, error) {
	if configs == nil {
		configs = map[string]string{}
	}
	text, err := json.Marshal(configs)
	return base64.StdEncoding.EncodeToString(text), err
}

// Topics lists the topics of a provisioned cluster, without what is set for them.
func (cl *Client) Topics(ctx context.Context, cluster string) ([]Topic, error) {
	return all(ctx, of(v1Clusters, cluster, "topics"), nil, func(path string) ([]Topic, string, error) {
		var answer struct {
			List []Topic `json:"topics"`
			Next string  `json:"nextToken"`
		}
		err := cl.do(ctx, http.MethodGet, path, nil, &answer)
		return answer.List, answer.Next, err
	})
}

// Topic returns one topic.
func (cl *Client) Topic(ctx context.Context, cluster, name string) (Topic, error) {
	var t Topic
	err := cl.do(ctx, http.MethodGet, of(v1Clusters, cluster, "topics", name), nil, &t)
	return t, err
}

// CreateTopic makes a topic; configs is what is set for it.
func (cl *Client) CreateTopic(ctx context.Context, cluster string, t Topic, configs map[string]string) error {
	body := map[string]any{"topicName": t.Name, "partitionCount": t.Partitions, "replicationFactor": t.Replicas}
	if len(configs) > 0 {
		text, err := encode(configs)
		if err != nil {
			return err
		}
		body["configs"] = text
	}
	return cl.do(ctx, http.MethodPost, of(v1Clusters, cluster, "topics"), body, nil)
}

// ConfigureTopic makes configs all that is set for a topic.
func (cl *Client) ConfigureTopic(ctx context.Context, cluster, name string, configs map[string]string) error {
	text, err := encode(configs)
	if err != nil {
		return err
	}
	return cl.do(ctx, http.MethodPut, of(v1Clusters, cluster, "topics", name), map[string]any{"configs": text}, nil)
}

// ExtendTopic raises the number of partitions of a topic.
func (cl *Client) ExtendTopic(ctx context.Context, cluster, name string, partitions int) error {
	return cl.do(ctx, http.MethodPut, of(v1Clusters, cluster, "topics", name), map[string]any{"partitionCount": partitions}, nil)
}
