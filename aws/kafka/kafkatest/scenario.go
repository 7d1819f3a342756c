package kafkatest

import (
	"net/url"

	"millrace/control"
)

// Step is one call, and what happens before it.
type Step struct {
	Name   string // of the call among others of the same operation
	Before func(*World)
	Ask    Ask
}

// Names of what a Scenario works on.
const (
	Orders  = "orders"  // a provisioned cluster, the first one that is made
	Clicks  = "clicks"  // a serverless one, the second
	Tuning  = "tuning"  // a configuration, the first one
	Entered = "entered" // a topic
)

// OrdersARN is the ARN of Orders.
func OrdersARN() string { return Home().Cluster(Orders, ID(1)) }

// ClicksARN is the ARN of Clicks.
func ClicksARN() string { return Home().Cluster(Clicks, ID(2)) }

// TuningARN is the ARN of Tuning.
func TuningARN() string { return Home().Configuration(Tuning, ID(100)) }

// OperationARN is the ARN of the first operation on Orders.
func OperationARN() string { return Home().Operation(Orders, ID(1), UUID(1004)) }

// group is what brokers are made of.
const group = `"brokerNodeGroupInfo":{"brokerAZDistribution":"DEFAULT","clientSubnets":["subnet-a","subnet-b","subnet-c"],` +
	`"instanceType":"express.m7g.large","securityGroups":["sg-1"],"zoneIds":["use1-az1","use1-az2","use1-az4"],` +
	`"connectivityInfo":{"publicAccess":{"type":"DISABLED"},"networkType":"IPV4",` +
	`"vpcConnectivity":{"clientAuthentication":{"sasl":{"scram":{"enabled":false},"iam":{"enabled":false}},"tls":{"enabled":false}}}}}`

const logging = `"loggingInfo":{"brokerLogs":{"cloudWatchLogs":{"enabled":true,"logGroup":"kafka"},"firehose":{"enabled":false},` +
	`"s3":{"enabled":true,"bucket":"logs","prefix":"orders/"}}}`

const open = `"openMonitoring":{"prometheus":{"jmxExporter":{"enabledInBroker":true},"nodeExporter":{"enabledInBroker":false}}}`

// ofCluster is what a provisioned cluster is made of.
func ofCluster() string {
	return group + `,"kafkaVersion":"3.8.x","numberOfBrokerNodes":3,"enhancedMonitoring":"PER_BROKER","storageMode":"LOCAL",` +
		`"rebalancing":{"status":"ACTIVE"},` + logging + `,` + open + `,` +
		`"configurationInfo":{"arn":"` + TuningARN() + `","revision":1},` +
		`"clientAuthentication":{"sasl":{"scram":{"enabled":true},"iam":{"enabled":true}},` +
		`"tls":{"enabled":true,"certificateAuthorityArnList":["arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/1"]},` +
		`"unauthenticated":{"enabled":false}},` +
		`"encryptionInfo":{"encryptionAtRest":{"dataVolumeKMSKeyId":"arn:aws:kms:us-east-1:123456789012:key/1"},` +
		`"encryptionInTransit":{"clientBroker":"TLS","inCluster":true}}`
}

func version(w *World, name string) string { return control.CurrentVersion(w.Plane.All[name]) }

// Scenario is at least one call of each operation, that succeeds, in an order in which each finds what it needs. The calls are made for the
// World that they are then asked of: they have its versions in them.
func Scenario() []func(*World) Step {
	all := begins()
	all = append(all, looks()...)
	all = append(all, updates()...)
	all = append(all, topicCalls()...)
	return append(all, ends()...)
}

// on is a call about Orders.
func on(operation, body string, query url.Values) func(*World) Step {
	return of(operation, map[string]string{"clusterArn": OrdersARN()}, body, query)
}

func of(operation string, params map[string]string, body string, query url.Values) func(*World) Step {
	return func(*World) Step {
		return Step{Name: operation, Ask: Ask{Operation: operation, Params: params, Query: query, Body: body}}
	}
}

// named gives a step a name of its own, and something that happens before it.
func named(name string, step func(*World) Step, before func(*World)) func(*World) Step {
	return func(w *World) Step {
		if before != nil {
			before(w)
		}
		s := step(w)
		s.Name = name
		return s
	}
}

func active(w *World) { w.Plane.Activate(Orders); w.Plane.Activate(Clicks) }

func begins() []func(*World) Step {
	configuration := `{"name":"tuning","description":"for orders","kafkaVersions":["3.8.x"],"serverProperties":"bnVtLnBhcnRpdGlvbnM9Mwo="}`
	return []func(*World) Step{
		of("CreateConfiguration", nil, configuration, nil),
		of("CreateCluster", nil, `{"clusterName":"orders","tags":{"team":"sales"},`+ofCluster()+`}`, nil),
		of("CreateClusterV2", nil, `{"clusterName":"clicks","tags":{"team":"web"},"serverless":{"vpcConfigs":[`+
			`{"subnetIds":["subnet-a","subnet-b"],"securityGroupIds":["sg-1"]}],"clientAuthentication":{"sasl":{"iam":{"enabled":true}}}}}`, nil),
		named("CreateClusterV2-provisioned", of("CreateClusterV2", nil, `{"clusterName":"plain","provisioned":{`+
			`"brokerNodeGroupInfo":{"clientSubnets":["subnet-a"],"instanceType":"express.m7g.large"},"kafkaVersion":"3.9.x","numberOfBrokerNodes":1}}`,
			nil), nil),
		named("DescribeCluster-creating", on("DescribeCluster", "", nil), nil),
	}
}

func looks() []func(*World) Step {
	tuning := map[string]string{"arn": TuningARN()}
	clicks := map[string]string{"clusterArn": ClicksARN()}
	return []func(*World) Step{
		named("DescribeCluster", on("DescribeCluster", "", nil), active),
		on("DescribeClusterV2", "", nil),
		named("DescribeClusterV2-serverless", of("DescribeClusterV2", clicks, "", nil), nil),
		named("DescribeClusterV2-defaults",
			of("DescribeClusterV2", map[string]string{"clusterArn": Home().Cluster("plain", ID(3))}, "", nil), func(w *World) { w.Plane.Activate("plain") }),
		of("ListClusters", nil, "", url.Values{"clusterNameFilter": {"ord"}, "maxResults": {"10"}}),
		of("ListClustersV2", nil, "", url.Values{"clusterTypeFilter": {"SERVERLESS"}, "maxResults": {"10"}}),
		on("GetBootstrapBrokers", "", nil),
		named("GetBootstrapBrokers-serverless", of("GetBootstrapBrokers", clicks, "", nil), nil),
		on("ListNodes", "", url.Values{"maxResults": {"2"}}),
		of("ListKafkaVersions", nil, "", url.Values{"maxResults": {"10"}}),
		of("GetCompatibleKafkaVersions", nil, "", url.Values{"clusterArn": {OrdersARN()}}),
		named("GetCompatibleKafkaVersions-all", of("GetCompatibleKafkaVersions", nil, "", nil), nil),
		of("DescribeConfiguration", tuning, "", nil),
		of("UpdateConfiguration", tuning, `{"description":"more","serverProperties":"bnVtLnBhcnRpdGlvbnM9Ngo="}`, nil),
		of("ListConfigurations", nil, "", url.Values{"maxResults": {"10"}}),
		of("ListConfigurationRevisions", tuning, "", url.Values{"maxResults": {"1"}}),
		of("DescribeConfigurationRevision", map[string]string{"arn": TuningARN(), "revision": "2"}, "", nil),
	}
}

// update is a call that changes Orders, with the version that it has then; rest is the body without it.
func update(operation, rest string) func(*World) Step {
	return func(w *World) Step {
		if c := w.Plane.All[Orders]; c.Operation != 0 {
			w.Plane.Finish(Orders, control.Fault{})
		}
		return on(operation, `{"currentVersion":"`+version(w, Orders)+`",`+rest+`}`, nil)(w)
	}
}

func updates() []func(*World) Step {
	tuning := `"configurationInfo":{"arn":"` + TuningARN() + `","revision":2}`
	working := map[string]string{"clusterOperationArn": OperationARN()}
	finish := func(w *World) { w.Plane.Finish(Orders, control.Fault{}) }
	fail := func(w *World) {
		w.Plane.Finish(Orders, control.Fault{Code: "BROKER_DID_NOT_START", Message: "Broker 1 did not start."})
	}
	return []func(*World) Step{
		update("UpdateBrokerCount", `"targetNumberOfBrokerNodes":6`),
		named("DescribeCluster-updating", on("DescribeCluster", "", nil), nil),
		named("DescribeClusterOperation-pending", of("DescribeClusterOperation", working, "", nil), nil),
		named("DescribeClusterOperation", of("DescribeClusterOperation", working, "", nil), finish),
		of("DescribeClusterOperationV2", working, "", nil),
		update("UpdateBrokerType", `"targetInstanceType":"express.m7g.xlarge"`),
		update("UpdateMonitoring", `"enhancedMonitoring":"PER_TOPIC_PER_BROKER",`+logging+`,"openMonitoring":{"prometheus":`+
			`{"jmxExporter":{"enabledInBroker":false},"nodeExporter":{"enabledInBroker":true}}}`),
		update("UpdateSecurity", `"clientAuthentication":{"sasl":{"scram":{"enabled":false},"iam":{"enabled":true}},"tls":{"enabled":false},`+
			`"unauthenticated":{"enabled":false}},"encryptionInfo":{"encryptionAtRest":{"dataVolumeKMSKeyId":"arn:aws:kms:us-east-1:123456789012:key/1"},`+
			`"encryptionInTransit":{"clientBroker":"TLS","inCluster":true}}`),
		update("UpdateConnectivity", `"connectivityInfo":{"publicAccess":{"type":"SERVICE_PROVIDED_EIPS"},"networkType":"DUAL",`+
			`"vpcConnectivity":{"clientAuthentication":{"sasl":{"scram":{"enabled":false},"iam":{"enabled":true}},"tls":{"enabled":false}}}}`),
		named("GetBootstrapBrokers-public", on("GetBootstrapBrokers", "", nil), finish),
		update("UpdateRebalancing", `"rebalancing":{"status":"PAUSED"}`),
		update("UpdateClusterConfiguration", tuning),
		update("UpdateClusterKafkaVersion", `"targetKafkaVersion":"3.9.x",`+tuning),
		named("RebootBroker", on("RebootBroker", `{"brokerIds":["2"]}`, nil), finish),
		named("ListClusterOperations", on("ListClusterOperations", "", url.Values{"maxResults": {"3"}}), fail),
		on("ListClusterOperationsV2", "", url.Values{"maxResults": {"3"}}),
		named("UpdateBrokerStorage", update("UpdateBrokerStorage", `"targetBrokerEBSVolumeInfo":[{"kafkaBrokerNodeId":"All","volumeSizeGB":200,`+
			`"provisionedThroughput":{"enabled":true,"volumeThroughput":250}}]`), volumes),
		update("UpdateStorage", `"storageMode":"LOCAL","volumeSizeGB":300,"provisionedThroughput":{"enabled":false}`),
		named("DescribeCluster-volumes", on("DescribeCluster", "", nil), finish),
	}
}

// volumes gives Orders volumes, as a cluster of another engine has.
func volumes(w *World) {
	c := w.Plane.All[Orders]
	c.Settings.VolumeGiB = 100
	w.Plane.All[Orders] = c
}

func topicCalls() []func(*World) Step {
	entered := map[string]string{"clusterArn": OrdersARN(), "topicName": Entered}
	return []func(*World) Step{
		on("CreateTopic", `{"topicName":"entered","partitionCount":3,"replicationFactor":3,"configs":"eyJyZXRlbnRpb24ubXMiOiAiNjAwMDAifQ=="}`, nil),
		of("DescribeTopic", entered, "", nil),
		on("ListTopics", "", url.Values{"topicNameFilter": {"ent"}, "maxResults": {"5"}}),
		of("DescribeTopicPartitions", entered, "", url.Values{"maxResults": {"2"}}),
		of("UpdateTopic", entered, `{"partitionCount":6}`, nil),
		named("UpdateTopic-configs", of("UpdateTopic", entered, `{"configs":"eyJyZXRlbnRpb24ubXMiOiI3MDAwMCJ9"}`, nil), nil),
		of("DeleteTopic", entered, "", nil),
	}
}

func ends() []func(*World) Step {
	return []func(*World) Step{
		func(w *World) Step {
			return on("DeleteCluster", "", url.Values{"currentVersion": {version(w, Orders)}})(w)
		},
		of("DeleteConfiguration", map[string]string{"arn": TuningARN()}, "", nil),
	}
}
