package kafka_test

import (
	"net/http"
	"strings"
	"testing"

	"millrace/aws/door"
	"millrace/aws/kafka/kafkatest"
)

// TestWhatPoliciesAreAsked: each operation has an action of its own and is about the thing that its path names; topics are Kafka's own
// permissions.
func TestWhatPoliciesAreAsked(t *testing.T) {
	labels := map[string]string{
		"clusterArn": kafkatest.OrdersARN(), "arn": kafkatest.TuningARN(), "clusterOperationArn": kafkatest.OperationARN(), "replicatorArn": "r",
		"topicName": "t", "channelArn": "c",
	}
	for _, op := range kafkatest.New().Service.Operations() {
		c := &door.Call{Params: map[string]string{}, Body: []byte(`{"topicName":"made","tags":{"a":"b"}}`)}
		for name, value := range labels {
			if strings.Contains(op.Path, "{"+name+"}") {
				c.Params[name] = value
			}
		}
		want := "*"
		for _, name := range []string{"replicatorArn", "arn", "clusterOperationArn", "clusterArn"} {
			if c.Params[name] != "" {
				want = c.Params[name]
			}
		}
		if c.Params["clusterOperationArn"] != "" {
			want = kafkatest.OrdersARN()
		}
		got := "*"
		if op.Resource != nil && op.Resource(c) != "" {
			got = op.Resource(c)
		}
		if got != want {
			t.Errorf("%s is about %s, want %s", op.Name, got, want)
		}
		var needs []string
		if op.Needs != nil {
			for _, n := range op.Needs(c) {
				needs = append(needs, n.Action+" "+n.Resource)
			}
		}
		action, need := "kafka:"+op.Name, ""
		about := kafkatest.Home().Topic(kafkatest.Orders, kafkatest.ID(1), "t")
		switch op.Name {
		case "CreateCluster", "CreateClusterV2":
			need = "kafka:TagResource "
		case "CreateTopic":
			need = "kafka-cluster:CreateTopic " + strings.TrimSuffix(about, "t") + "made"
		case "ListTopics":
			c.Body = nil
			needs = []string{op.Needs(c)[0].Action + " " + op.Needs(c)[0].Resource}
			need = "kafka-cluster:DescribeTopic " + strings.TrimSuffix(about, "t") + "*"
		case "DescribeTopic":
			need = "kafka-cluster:DescribeTopic " + about + ",kafka-cluster:DescribeTopicDynamicConfiguration " + about
		case "DescribeTopicPartitions":
			need = "kafka-cluster:DescribeTopic " + about
		case "UpdateTopic":
			need = "kafka-cluster:DescribeTopic " + about + ",kafka-cluster:AlterTopic " + about + ",kafka-cluster:AlterTopicDynamicConfiguration " + about
		case "DeleteTopic":
			need = "kafka-cluster:DescribeTopic " + about + ",kafka-cluster:DeleteTopic " + about
		}
		if strings.Contains(op.Name, "Topic") {
			action = "kafka-cluster:Connect"
		}
		if op.Action != action || strings.Join(needs, ",") != need {
			t.Errorf("%s needs %s and %q, want %s and %q", op.Name, op.Action, needs, action, need)
		}
		if op.Reads != (op.Method == http.MethodGet) {
			t.Errorf("%s: reads is %v", op.Name, op.Reads)
		}
	}
}
