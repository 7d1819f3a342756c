package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"millrace/aws/kafka"
	"millrace/aws/kafka/kafkatest"
	"millrace/control"
)

// standardWorld is a World whose installation runs Apache Kafka, unless missing says what it lacks.
func standardWorld(missing *error) *kafkatest.World {
	w := kafkatest.New()
	w.Service = kafka.New(kafka.World{
		Plane: w.Plane, Configurations: w.Configurations, Topics: w.Topics,
		StandardUsable: func(context.Context, string) error { return *missing },
	}, kafka.Config{Home: kafkatest.Home()})
	return w
}

const kafkaGroup = `"brokerNodeGroupInfo":{"clientSubnets":["a","b","c"],"instanceType":"kafka.m5.large","storageInfo":{"ebsStorageInfo":{"volumeSize":200}}}`

// TestStandardClusters are made, and shown, with what they have and Express clusters have not.
func TestStandardClusters(t *testing.T) {
	var missing error
	w := standardWorld(&missing)
	for operation, body := range map[string]string{
		"CreateCluster":   `{"clusterName":"one",` + kafkaGroup + `,"kafkaVersion":"4.3.x","numberOfBrokerNodes":3}`,
		"CreateClusterV2": `{"clusterName":"two","provisioned":{` + kafkaGroup + `,"kafkaVersion":"3.9.x","numberOfBrokerNodes":6}}`,
	} {
		if status, answer, err := w.Call(t.Context(), kafkatest.Ask{Operation: operation, Body: body}); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s %v", operation, status, answer, err)
		}
	}
	one := w.Plane.All["one"]
	if s := one.Settings; s.VolumeGiB != 200 || s.KafkaVersion != "4.3.x" || s.BrokerType != "kafka.m5.large" || s.Brokers != 3 {
		t.Errorf("%+v", s)
	}
	w.Plane.Activate("one")
	arn := "arn:aws:kafka:us-east-1:123456789012:cluster/one/" + one.ID
	ask := func(operation, body string) (int, string) {
		body = strings.ReplaceAll(body, "VERSION", control.CurrentVersion(w.Plane.All["one"]))
		status, answer, err := w.Call(t.Context(), kafkatest.Ask{Operation: operation, Params: map[string]string{"clusterArn": arn}, Body: body})
		var compact any
		if err != nil || json.Unmarshal(answer, &compact) != nil {
			t.Fatalf("%s: %s %v", operation, answer, err)
		}
		b, _ := json.Marshal(compact)
		return status, string(b)
	}
	for _, test := range []struct {
		operation, body string
		status          int
		words           string
	}{
		{"UpdateClusterKafkaVersion", `{"currentVersion":"VERSION","targetKafkaVersion":"4.1.x"}`, 400, "can't update the cluster"},
		{"UpdateClusterKafkaVersion", `{"currentVersion":"VERSION","targetKafkaVersion":"3.8.x"}`, 400, "Valid values: [3.9.x, 4.1.x, 4.3.x]"},
		{"UpdateBrokerType", `{"currentVersion":"VERSION","targetInstanceType":"express.m7g.large"}`, 400, "between Standard and Express"},
		{"UpdateBrokerType", `{"currentVersion":"VERSION","targetInstanceType":"kafka.m5.huge"}`, 400, "Unsupported InstanceType"},
		{"UpdateStorage", `{"currentVersion":"VERSION","storageMode":"TIERED"}`, 400, "Tiered storage"},
		{"UpdateBrokerStorage", `{"currentVersion":"VERSION","targetBrokerEBSVolumeInfo":[{"kafkaBrokerNodeId":"All","volumeSizeGB":300}]}`, 200, "operation"},
	} {
		if status, answer := ask(test.operation, test.body); status != test.status || !strings.Contains(answer, test.words) {
			t.Errorf("%s %s: %d %s", test.operation, test.body, status, answer)
		}
	}
	if got := w.Plane.Done["one"][0].After.VolumeGiB; got != 300 {
		t.Errorf("after an update of storage: %d GiB", got)
	}
	if _, answer := ask("DescribeCluster", ""); !strings.Contains(answer, `"volumeSize":200`) || !strings.Contains(answer, `"instanceType":"kafka.m5.large"`) {
		t.Errorf("%s", answer)
	}
}

// TestControllersAreListed as nodes that have nothing of brokers, and are not rebooted.
func TestControllersAreListed(t *testing.T) {
	w := at(t, "ListNodes")
	c := w.Plane.All[kafkatest.Orders]
	c.Settings.BrokerType = "kafka.m5.large"
	w.Plane.All[kafkatest.Orders] = c
	_, answer, err := w.Call(t.Context(), orders("ListNodes", ""))
	var got struct {
		List []map[string]any `json:"nodeInfoList"`
	}
	if err != nil || json.Unmarshal(answer, &got) != nil || len(got.List) < 2 {
		t.Fatalf("%s %v", answer, err)
	}
	last := got.List[len(got.List)-1]
	if c, _ := last["controllerNodeInfo"].(map[string]any); c == nil || len(last) != 2 || last["addedToClusterTime"] == nil {
		t.Errorf("%v", last)
	}
	refuses(t, w, orders("RebootBroker", `{"brokerIds":["10001"]}`), http.StatusBadRequest, "brokerIds", "doesn't exist")
}

// TestStandardIsMissing: what is missing is said before anything is made.
func TestStandardIsMissing(t *testing.T) {
	missing := errors.New("no Java was found; install a Java runtime of version 17 or later")
	w := standardWorld(&missing)
	refuses(t, w, kafkatest.Ask{
		Operation: "CreateClusterV2", Body: `{"clusterName":"one","provisioned":{` + kafkaGroup + `,"kafkaVersion":"4.3.x","numberOfBrokerNodes":3}}`,
	}, http.StatusBadRequest, "instanceType", "install a Java runtime")
}
