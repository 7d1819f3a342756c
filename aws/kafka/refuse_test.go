package kafka_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"millrace/aws/kafka/kafkatest"
	"millrace/control"
)

// at is a world in which a step of the scenario is about to be asked.
func at(t *testing.T, name string) *kafkatest.World {
	t.Helper()
	w := kafkatest.New()
	for _, make := range kafkatest.Scenario() {
		step := make(w)
		if step.Name == name {
			return w
		}
		if _, _, err := w.Call(t.Context(), step.Ask); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("no step %q", name)
	return nil
}

// refuses asks what must be refused: with this status, parameter and words, and nothing changed (K2).
func refuses(t *testing.T, w *kafkatest.World, a kafkatest.Ask, status int, param, words string) {
	t.Helper()
	before := w.Changes()
	got, answer, err := w.Call(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Code, Message, InvalidParameter string }
	if err := json.Unmarshal(answer, &told); err != nil || got != status || told.InvalidParameter != param || !strings.Contains(told.Message, words) {
		t.Errorf("%s %s: status %d, %s; want %d, parameter %q, %q", a.Operation, a.Body, got, answer, status, param, words)
	}
	if w.Changes() != before {
		t.Errorf("%s %s is refused and has changed something", a.Operation, a.Body)
	}
}

// orders is a call about the cluster orders.
func orders(operation, body string) kafkatest.Ask {
	return kafkatest.Ask{Operation: operation, Params: map[string]string{"clusterArn": kafkatest.OrdersARN()}, Body: body}
}

func TestCreateRefuses(t *testing.T) {
	const base = `"brokerNodeGroupInfo":{"clientSubnets":["a","b","c"],"instanceType":"express.m7g.large"},"kafkaVersion":"3.9.x","numberOfBrokerNodes":3`
	group := func(more string) string {
		return `"brokerNodeGroupInfo":{"clientSubnets":["a","b","c"],"instanceType":"express.m7g.large",` + more + `},"kafkaVersion":"3.9.x","numberOfBrokerNodes":3`
	}
	tests := []struct{ provisioned, param, words string }{
		{strings.Replace(base, "express", "kafka", 1), "instanceType", "standard engine"},
		{strings.Replace(base, "m7g.large", "m7g.huge", 1), "instanceType", "Unsupported InstanceType [express.m7g.huge]. Valid values: [express.m7g.large"},
		{strings.Replace(base, "3.9.x", "2.1.0", 1), "kafkaVersion", "Unsupported KafkaVersion [2.1.0]. Valid values: [3.6.0, 3.8.x, 3.9.x, 4.0.x, 4.1.x]"},
		{strings.Replace(base, `Nodes":3`, `Nodes":4`, 1), "numberOfBrokerNodes", "must be a multiple of Availability Zones in the Client Subnets parameter."},
		{strings.Replace(base, `"b"`, `""`, 1), "clientSubnets", "not valid"},
		{strings.Replace(base, `"b"`, `"a"`, 1), "clientSubnets", "not valid"},
		{group(`"storageInfo":{"ebsStorageInfo":{"volumeSize":100}}`), "storageInfo", "Express"},
		{base + `,"storageMode":"TIERED"`, "storageMode", "Express"},
		{group(`"connectivityInfo":{"publicAccess":{"type":"SERVICE_PROVIDED_EIPS"}}`), "publicAccess", "once the cluster is active"},
		{group(`"connectivityInfo":{"publicAccess":{"type":"SOME"}}`), "publicAccess", "Invalid public access type [SOME]"},
		{group(`"connectivityInfo":{"vpcConnectivity":{"clientAuthentication":{"tls":{"enabled":true}}}}`), "vpcConnectivity", "once the cluster is active"},
		{base + `,"configurationInfo":{"arn":"x","revision":1}`, "arn", "Invalid Configuration ARN."},
		{base + `,"configurationInfo":{"arn":"` + strings.Replace(kafkatest.TuningARN(), "tuning", "none", 1) + `","revision":1}`, "arn", "Configuration ARN does not exist"},
		{base + `,"configurationInfo":{"arn":"` + kafkatest.TuningARN() + `","revision":9}`, "revision", "does not exist"},
		{base + `,"loggingInfo":{"brokerLogs":{"cloudWatchLogs":{"enabled":true}}}`, "logGroup", "log group"},
		{base + `,"loggingInfo":{"brokerLogs":{"s3":{"enabled":true}}}`, "bucket", "bucket"},
		{base + `,"loggingInfo":{"brokerLogs":{},"authorizerLogs":{"firehose":{"enabled":true}}}`, "deliveryStream", "delivery stream"},
		{base + `,"clientAuthentication":{"unauthenticated":{"enabled":false}}`, "clientAuthentication", "No client authentication"},
		{
			base + `,"clientAuthentication":{"sasl":{"iam":{"enabled":true}}},"encryptionInfo":{"encryptionInTransit":{"clientBroker":"PLAINTEXT"}}`,
			"clientBroker", "must set clientBroker to either TLS or TLS_PLAINTEXT",
		},
		{
			base + `,"clientAuthentication":{"sasl":{"iam":{"enabled":true}}},"encryptionInfo":{"encryptionInTransit":{"clientBroker":"TLS_PLAINTEXT"}}`,
			"clientBroker", "you must also set unauthenticated to true",
		},
		{
			base + `,"clientAuthentication":{"tls":{"enabled":true}},"encryptionInfo":{"encryptionInTransit":{"inCluster":false}}`,
			"inCluster", "you must also set inCluster to true",
		},
		{
			base + `,"clientAuthentication":{"tls":{"enabled":false,"certificateAuthorityArnList":["ca"]},"sasl":{"iam":{"enabled":true}}}`,
			"certificateAuthorityArnList", "turned off",
		},
	}
	w := at(t, "DescribeCluster")
	for _, test := range tests {
		refuses(t, w, kafkatest.Ask{Operation: "CreateClusterV2", Body: `{"clusterName":"new","provisioned":{` + test.provisioned + `}}`},
			http.StatusBadRequest, test.param, test.words)
		refuses(t, w, kafkatest.Ask{Operation: "CreateCluster", Body: `{"clusterName":"new",` + test.provisioned + `}`},
			http.StatusBadRequest, test.param, test.words)
	}
	const ours = `{"x":"","aws:y":""}`
	for _, test := range []struct {
		body, param, words string
		status             int
	}{
		{`{"clusterName":"new"}`, "provisioned", "either provisioned or serverless", 400},
		{`{"clusterName":"new","provisioned":{` + base + `},"serverless":{"vpcConfigs":[{"subnetIds":["a"]}]}}`, "provisioned", "and not both", 400},
		{`{"clusterName":"a/b","provisioned":{` + base + `}}`, "clusterName", "letters, digits and hyphens", 400},
		{`{"clusterName":"-a","provisioned":{` + base + `}}`, "clusterName", "letters, digits and hyphens", 400},
		{`{"clusterName":"orders","provisioned":{` + base + `}}`, "clusterName", "A resource with this name already exists", 409},
		{`{"clusterName":"new","tags":` + ours + `,"provisioned":{` + base + `}}`, "tags", "may not begin with aws:", 400},
		{`{"clusterName":"new","serverless":{"vpcConfigs":[]}}`, "vpcConfigs", "1 to 5", 400},
		{`{"clusterName":"new","serverless":{"vpcConfigs":[{"subnetIds":[]}]}}`, "subnetIds", "at least one subnet", 400},
		{
			`{"clusterName":"new","serverless":{"vpcConfigs":[{"subnetIds":["a"]}],"clientAuthentication":{"sasl":{"iam":{"enabled":false}}}}}`,
			"clientAuthentication", "require IAM", 400,
		},
	} {
		refuses(t, w, kafkatest.Ask{Operation: "CreateClusterV2", Body: test.body}, test.status, test.param, test.words)
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := at(t, "UpdateBrokerCount")
	version := `"currentVersion":"` + control.CurrentVersion(w.Plane.All[kafkatest.Orders]) + `",`
	nothing := func(what string) string {
		return "The request does not include any updates to the " + what + " of the cluster. Verify the request, then try again."
	}
	for _, test := range []struct{ operation, rest, param, words string }{
		{"UpdateBrokerCount", `"targetNumberOfBrokerNodes":3`, "", nothing("number of broker nodes")},
		{"UpdateBrokerCount", `"targetNumberOfBrokerNodes":4`, "targetNumberOfBrokerNodes", "multiple of Availability Zones"},
		{"UpdateBrokerType", `"targetInstanceType":"express.m7g.large"`, "", nothing("broker type")},
		{"UpdateBrokerType", `"targetInstanceType":"kafka.m7g.large"`, "targetInstanceType", "standard engine"},
		{"UpdateMonitoring", `"enhancedMonitoring":"PER_BROKER"`, "", nothing("monitoring")},
		{"UpdateSecurity", `"clientAuthentication":{"sasl":{"iam":{"enabled":true}}}`, "", nothing("security setting")},
		{"UpdateSecurity", `"encryptionInfo":{"encryptionAtRest":{"dataVolumeKMSKeyId":"other"}}`, "dataVolumeKMSKeyId", "can't change the key"},
		{"UpdateSecurity", `"encryptionInfo":{"encryptionInTransit":{"clientBroker":"TLS_PLAINTEXT"}}`, "clientBroker", "unauthenticated to true"},
		{"UpdateSecurity", `"encryptionInfo":{"encryptionInTransit":{"clientBroker":"PLAINTEXT"}}`, "clientBroker", "either TLS or TLS_PLAINTEXT"},
		{"UpdateSecurity", `"encryptionInfo":{"encryptionInTransit":{"inCluster":false}}`, "inCluster", "inCluster to true"},
		{
			"UpdateSecurity", `"clientAuthentication":{"sasl":{"iam":{"enabled":false},"scram":{"enabled":false}},"tls":{"enabled":false}}`,
			"clientAuthentication", "No client authentication",
		},
		{"UpdateConnectivity", `"connectivityInfo":{"publicAccess":{"type":"DISABLED"}}`, "", nothing("connectivity")},
		{"UpdateConnectivity", `"zookeeperAccess":{"enabled":true}`, "zookeeperAccess", "no Apache ZooKeeper"},
		{"UpdateConnectivity", `"connectivityInfo":{"publicAccess":{"type":"x"}}`, "publicAccess", "Invalid public access type"},
		{"UpdateRebalancing", `"rebalancing":{"status":"ACTIVE"}`, "", nothing("rebalancing")},
		{"UpdateClusterConfiguration", `"configurationInfo":{"arn":"` + kafkatest.TuningARN() + `","revision":1}`, "", nothing("configuration")},
		{"UpdateClusterKafkaVersion", `"targetKafkaVersion":"3.8.x"`, "", nothing("Apache Kafka version")},
		{"UpdateClusterKafkaVersion", `"targetKafkaVersion":"3.6.0"`, "targetKafkaVersion", "from Apache Kafka version [3.8.x] to [3.6.0]"},
		{"UpdateBrokerStorage", `"targetBrokerEBSVolumeInfo":[{"kafkaBrokerNodeId":"All","volumeSizeGB":200}]`, "", "managed for you"},
		{"UpdateBrokerStorage", `"targetBrokerEBSVolumeInfo":[{"kafkaBrokerNodeId":"1","volumeSizeGB":200}]`, "kafkaBrokerNodeId", "all brokers at once"},
		{"UpdateStorage", `"storageMode":"TIERED"`, "", "managed for you"},
	} {
		refuses(t, w, orders(test.operation, `{`+version+test.rest+`}`), http.StatusBadRequest, test.param, test.words)
		refuses(t, w, orders(test.operation, `{"currentVersion":"K3AEGXETSR30VB",`+test.rest+`}`), http.StatusBadRequest,
			stale(test.param), "")
	}
	for _, test := range []struct{ body, words string }{
		{`{"brokerIds":["4"]}`, "doesn't exist"}, {`{"brokerIds":["1","2"]}`, "one broker at a time"}, {`{"brokerIds":["x"]}`, "isn't valid"},
		{`{"brokerIds":["99999999999"]}`, "isn't valid"},
	} {
		refuses(t, w, orders("RebootBroker", test.body), http.StatusBadRequest, "brokerIds", test.words)
	}
}

// stale is what is blamed where the version is old: what can be seen to be wrong without looking at the cluster comes first.
func stale(param string) string {
	if param == "kafkaBrokerNodeId" {
		return param
	}
	return "currentVersion"
}

// TestBlockedClusters: a cluster that something happens to takes no other update, and no caller learns more than that.
func TestBlockedClusters(t *testing.T) {
	w := at(t, "DescribeCluster-updating")
	version := control.CurrentVersion(w.Plane.All[kafkatest.Orders])
	refuses(t, w, orders("UpdateBrokerType", `{"currentVersion":"`+version+`","targetInstanceType":"express.m7g.xlarge"}`),
		http.StatusBadRequest, "", "Another operation on the cluster is in progress")
	refuses(t, w, orders("RebootBroker", `{"brokerIds":["1"]}`), http.StatusBadRequest, "", "in progress")
	refuses(t, w, orders("DeleteCluster", ""), http.StatusBadRequest, "", "in progress")

	w = at(t, "DescribeCluster-creating")
	refuses(t, w, orders("RebootBroker", `{"brokerIds":["1"]}`), http.StatusBadRequest, "", "CREATING")
	refuses(t, w, orders("GetBootstrapBrokers", ""), http.StatusBadRequest, "clusterArn", "You can't get bootstrap broker nodes for a cluster in CREATING state.")
	refuses(t, w, orders("ListTopics", ""), http.StatusBadRequest, "clusterArn", "in CREATING state")
}

// TestServerlessHasNo: what only a fixed number of brokers has is refused of a Serverless cluster.
func TestServerlessHasNo(t *testing.T) {
	w := at(t, "UpdateBrokerCount")
	version := control.CurrentVersion(w.Plane.All[kafkatest.Clicks])
	bodies := map[string]string{
		"DescribeCluster": "", "ListNodes": "", "ListTopics": "", "RebootBroker": `{"brokerIds":["1"]}`,
		"UpdateBrokerCount": `{"currentVersion":"` + version + `","targetNumberOfBrokerNodes":6}`,
		"UpdateMonitoring":  `{"currentVersion":"` + version + `","enhancedMonitoring":"PER_BROKER"}`,
	}
	for operation, body := range bodies {
		refuses(t, w, kafkatest.Ask{Operation: operation, Params: map[string]string{"clusterArn": kafkatest.ClicksARN()}, Body: body},
			http.StatusBadRequest, "clusterArn", "isn't supported for serverless clusters")
	}
}

// TestUnknownClusters: an ARN whose cluster is gone, also one whose name another cluster has got, is not found, or a bad request where
// the operation can't say so.
func TestUnknownClusters(t *testing.T) {
	w := at(t, "UpdateBrokerCount")
	bodies := map[string]string{
		"UpdateBrokerCount":          `{"currentVersion":"K1","targetNumberOfBrokerNodes":6}`,
		"UpdateBrokerType":           `{"currentVersion":"K1","targetInstanceType":"express.m7g.large"}`,
		"UpdateBrokerStorage":        `{"currentVersion":"K1","targetBrokerEBSVolumeInfo":[{"kafkaBrokerNodeId":"All"}]}`,
		"UpdateStorage":              `{"currentVersion":"K1"}`,
		"UpdateMonitoring":           `{"currentVersion":"K1"}`,
		"UpdateSecurity":             `{"currentVersion":"K1"}`,
		"UpdateConnectivity":         `{"currentVersion":"K1"}`,
		"UpdateRebalancing":          `{"currentVersion":"K1","rebalancing":{"status":"ACTIVE"}}`,
		"UpdateClusterConfiguration": `{"currentVersion":"K1","configurationInfo":{"arn":"` + kafkatest.TuningARN() + `","revision":1}}`,
		"UpdateClusterKafkaVersion":  `{"currentVersion":"K1","targetKafkaVersion":"3.9.x"}`,
		"RebootBroker":               `{"brokerIds":["1"]}`,
		"CreateTopic":                `{"topicName":"t","partitionCount":1,"replicationFactor":1}`,
		"UpdateTopic":                `{"partitionCount":1}`,
	}
	quiet := []string{
		"GetBootstrapBrokers", "UpdateBrokerCount", "UpdateBrokerStorage", "UpdateMonitoring", "ListClusterOperations", "ListTopics", "CreateTopic",
	}
	for _, op := range w.Service.Operations() {
		if !strings.Contains(op.Path, "{clusterArn}") || strings.Contains(op.Path, "channels") {
			continue
		}
		status := http.StatusNotFound
		for _, q := range quiet {
			if q == op.Name {
				status = http.StatusBadRequest
			}
		}
		for _, name := range []string{"nobody", kafkatest.Orders} {
			params := map[string]string{"clusterArn": kafkatest.Home().Cluster(name, kafkatest.ID(77)), "topicName": "t"}
			refuses(t, w, kafkatest.Ask{Operation: op.Name, Params: params, Body: bodies[op.Name]}, status, "clusterArn", "The cluster doesn't exist.")
		}
	}
	missing := kafkatest.Home().Operation(kafkatest.Orders, kafkatest.ID(1), kafkatest.UUID(5))
	refuses(t, w, kafkatest.Ask{Operation: "DescribeClusterOperation", Params: map[string]string{"clusterOperationArn": missing}},
		http.StatusNotFound, "clusterOperationArn", "doesn't exist")
	refuses(t, w, kafkatest.Ask{Operation: "ListClustersV2", Query: url.Values{"clusterTypeFilter": {"OTHER"}}},
		http.StatusBadRequest, "clusterTypeFilter", "Valid values: [PROVISIONED, SERVERLESS]")
}

// TestConfigurationWords: the words that Terraform looks for.
func TestConfigurationWords(t *testing.T) {
	w := at(t, "UpdateConfiguration")
	tuning := map[string]string{"arn": kafkatest.TuningARN(), "revision": "7"}
	gone := map[string]string{"arn": strings.Replace(kafkatest.TuningARN(), "tuning", "gone", 1), "revision": "1"}
	ask := func(operation string, params map[string]string, body string) kafkatest.Ask {
		return kafkatest.Ask{Operation: operation, Params: params, Body: body}
	}
	for _, operation := range []string{
		"DescribeConfiguration", "UpdateConfiguration", "DeleteConfiguration", "ListConfigurationRevisions", "DescribeConfigurationRevision",
	} {
		refuses(t, w, ask(operation, gone, `{"serverProperties":""}`), http.StatusBadRequest, "arn", "Configuration ARN does not exist")
		refuses(t, w, ask(operation, map[string]string{"arn": kafkatest.OrdersARN()}, `{"serverProperties":""}`), http.StatusBadRequest, "arn", "Invalid Configuration ARN")
	}
	refuses(t, w, ask("DescribeConfigurationRevision", tuning, ""), http.StatusBadRequest, "revision", "does not exist")
	refuses(t, w, ask("CreateConfiguration", nil, `{"name":"tuning","serverProperties":""}`), http.StatusConflict, "name", "A resource with this name already exists")
	refuses(t, w, ask("CreateConfiguration", nil, `{"name":"other","serverProperties":"YmFk"}`), http.StatusBadRequest, "serverProperties", "line 1")
	for id := range w.Configurations.All {
		w.Configurations.Used[id] = true
	}
	refuses(t, w, ask("DeleteConfiguration", tuning, ""), http.StatusBadRequest, "arn",
		"Configuration is in use by one or more clusters. Dissociate the configuration from the clusters.")
}

// TestTopicRefusals: what a topic operation is told, and what Kafka refuses.
func TestTopicRefusals(t *testing.T) {
	w := at(t, "DescribeTopic")
	entered := map[string]string{"clusterArn": kafkatest.OrdersARN(), "topicName": kafkatest.Entered}
	other := map[string]string{"clusterArn": kafkatest.OrdersARN(), "topicName": "other"}
	for _, test := range []struct {
		operation, body string
		params          map[string]string
		status          int
		param, words    string
	}{
		{"CreateTopic", `{"topicName":"entered","partitionCount":1,"replicationFactor":1}`, entered, http.StatusConflict, "topicName", "exists"},
		{"CreateTopic", `{"topicName":"x","partitionCount":1,"replicationFactor":1,"configs":"e30"}`, entered, http.StatusBadRequest, "configs", "JSON object"},
		{"CreateTopic", `{"topicName":"x","partitionCount":1,"replicationFactor":1,"configs":"bnVsbA=="}`, entered, http.StatusBadRequest, "configs", "JSON object"},
		{"CreateTopic", `{"topicName":"x","partitionCount":1,"replicationFactor":1,"configs":"W10="}`, entered, http.StatusBadRequest, "configs", "JSON object"},
		{"CreateTopic", `{"topicName":"x","partitionCount":1,"replicationFactor":1,"configs":"eyJhIjp7fX0="}`, entered, http.StatusBadRequest, "configs", "JSON object"},
		{"UpdateTopic", `{}`, entered, http.StatusBadRequest, "configs", "either configs or partitionCount"},
		{"UpdateTopic", `{"configs":"e30=","partitionCount":4}`, entered, http.StatusBadRequest, "configs", "and not both"},
		{"UpdateTopic", `{"partitionCount":1}`, entered, http.StatusBadRequest, "", ""},
		{"UpdateTopic", `{"partitionCount":9}`, other, http.StatusNotFound, "topicName", ""},
		{"DeleteTopic", ``, other, http.StatusNotFound, "topicName", ""},
		{"DescribeTopic", ``, other, http.StatusNotFound, "topicName", ""},
		{"DescribeTopicPartitions", ``, other, http.StatusNotFound, "topicName", ""},
	} {
		refuses(t, w, kafkatest.Ask{Operation: test.operation, Params: test.params, Body: test.body}, test.status, test.param, test.words)
	}
}
