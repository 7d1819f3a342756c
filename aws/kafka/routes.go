package kafka

import (
	"context"
	"net/http"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka/fault"
)

// handler answers one operation.
type handler = fault.Handler

// route is one operation as the service model has it.
type route struct {
	name, method, path string
	declares           fault.Declared
	answer             func(*Service) handler
	about              resource
}

// resource says what thing an operation is about, for policies.
type resource int

const (
	anything      resource = iota // "*": what does not exist yet, and lists
	cluster                       // the ARN in {clusterArn}
	clusterQuery                  // the ARN in ?clusterArn
	operation                     // the cluster of the ARN in {clusterOperationArn}
	configured                    // the ARN in {arn}
	replicator                    // the ARN in {replicatorArn}
	topic                         // the cluster, and a topic of it
	topicsOfPlace                 // the cluster, and all its topics
)

// Paths that several operations have.
const (
	v1Clusters       = "/v1/clusters"
	v1Cluster        = v1Clusters + "/{clusterArn}"
	v2Clusters       = "/api/v2/clusters"
	v2Cluster        = v2Clusters + "/{clusterArn}"
	v1Configurations = "/v1/configurations"
	v1Configuration  = v1Configurations + "/{arn}"
	v1Topics         = v1Cluster + "/topics"
	v1Topic          = v1Topics + "/{topicName}"
	v1Channels       = v1Cluster + "/channels"
	v1Channel        = v1Channels + "/{channelArn}"
	replicators      = "/replication/v1/replicators"
	oneReplicator    = replicators + "/{replicatorArn}"
)

// with makes the handler of a method of the Service.
func with(f func(*Service, context.Context, *door.Call) (any, error)) func(*Service) handler {
	return func(s *Service) handler {
		return func(ctx context.Context, c *door.Call) (any, error) { return f(s, ctx, c) }
	}
}

// routes is the table of operations, by groups.
func routes() []route {
	all := clusterRoutes()
	all = append(all, updateRoutes()...)
	all = append(all, configurationRoutes()...)
	all = append(all, topicRoutes()...)
	return append(all, refusedRoutes()...)
}

func clusterRoutes() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{"CreateCluster", post, v1Clusters, fault.Conflict | fault.TooMany | fault.Unavailable, with((*Service).createCluster), anything},
		{"ListClusters", get, v1Clusters, 0, with((*Service).listClusters), anything},
		{"DescribeCluster", get, v1Cluster, fault.NotFound, with((*Service).describeCluster), cluster},
		{"DeleteCluster", http.MethodDelete, v1Cluster, fault.NotFound, with((*Service).deleteCluster), cluster},
		{"CreateClusterV2", post, v2Clusters, fault.Conflict | fault.TooMany | fault.Unavailable, with((*Service).createClusterV2), anything},
		{"ListClustersV2", get, v2Clusters, 0, with((*Service).listClustersV2), anything},
		{"DescribeClusterV2", get, v2Cluster, fault.NotFound, with((*Service).describeClusterV2), cluster},
		{"GetBootstrapBrokers", get, v1Cluster + "/bootstrap-brokers", fault.Conflict, with((*Service).getBootstrapBrokers), cluster},
		{"ListNodes", get, v1Cluster + "/nodes", fault.NotFound, with((*Service).listNodes), cluster},
		{"ListClusterOperations", get, v1Cluster + "/operations", 0, with((*Service).listClusterOperations), cluster},
		{
			"ListClusterOperationsV2", get, v2Cluster + "/operations", fault.NotFound | fault.TooMany | fault.Unavailable,
			with((*Service).listClusterOperationsV2), cluster,
		},
		{"DescribeClusterOperation", get, "/v1/operations/{clusterOperationArn}", fault.NotFound, with((*Service).describeClusterOperation), operation},
		{
			"DescribeClusterOperationV2", get, "/api/v2/operations/{clusterOperationArn}", fault.NotFound | fault.TooMany | fault.Unavailable,
			with((*Service).describeClusterOperationV2), operation,
		},
		{"ListKafkaVersions", get, "/v1/kafka-versions", 0, with((*Service).listKafkaVersions), anything},
		{
			"GetCompatibleKafkaVersions", get, "/v1/compatible-kafka-versions", fault.NotFound | fault.TooMany | fault.Unavailable,
			with((*Service).getCompatibleKafkaVersions), clusterQuery,
		},
	}
}

func updateRoutes() []route {
	const put, usual = http.MethodPut, fault.NotFound | fault.TooMany | fault.Unavailable
	return []route{
		{"UpdateBrokerCount", put, v1Cluster + "/nodes/count", fault.Unavailable, with((*Service).updateBrokerCount), cluster},
		{"UpdateBrokerType", put, v1Cluster + "/nodes/type", usual, with((*Service).updateBrokerType), cluster},
		{"UpdateBrokerStorage", put, v1Cluster + "/nodes/storage", fault.Unavailable, with((*Service).updateBrokerStorage), cluster},
		{"UpdateStorage", put, v1Cluster + "/storage", usual, with((*Service).updateStorage), cluster},
		{"UpdateMonitoring", put, v1Cluster + "/monitoring", fault.Unavailable, with((*Service).updateMonitoring), cluster},
		{"UpdateSecurity", http.MethodPatch, v1Cluster + "/security", usual, with((*Service).updateSecurity), cluster},
		{"UpdateConnectivity", put, v1Cluster + "/connectivity", fault.NotFound | fault.Unavailable, with((*Service).updateConnectivity), cluster},
		{"UpdateRebalancing", put, v1Cluster + "/rebalancing", usual, with((*Service).updateRebalancing), cluster},
		{
			"UpdateClusterConfiguration", put, v1Cluster + "/configuration", fault.NotFound | fault.Unavailable,
			with((*Service).updateClusterConfiguration), cluster,
		},
		{"UpdateClusterKafkaVersion", put, v1Cluster + "/version", usual, with((*Service).updateClusterKafkaVersion), cluster},
		{"RebootBroker", put, v1Cluster + "/reboot-broker", usual, with((*Service).rebootBroker), cluster},
	}
}

func configurationRoutes() []route {
	const get, usual = http.MethodGet, fault.NotFound | fault.Unavailable
	revisions := v1Configuration + "/revisions"
	return []route{
		{"CreateConfiguration", http.MethodPost, v1Configurations, fault.Conflict | fault.TooMany | fault.Unavailable, with((*Service).createConfiguration), anything},
		{"ListConfigurations", get, v1Configurations, fault.Unavailable, with((*Service).listConfigurations), anything},
		{"DescribeConfiguration", get, v1Configuration, usual, with((*Service).describeConfiguration), configured},
		{"UpdateConfiguration", http.MethodPut, v1Configuration, usual, with((*Service).updateConfiguration), configured},
		{"DeleteConfiguration", http.MethodDelete, v1Configuration, fault.NotFound, with((*Service).deleteConfiguration), configured},
		{"ListConfigurationRevisions", get, revisions, usual, with((*Service).listConfigurationRevisions), configured},
		{"DescribeConfigurationRevision", get, revisions + "/{revision}", usual, with((*Service).describeConfigurationRevision), configured},
	}
}

func topicRoutes() []route {
	const get = http.MethodGet
	return []route{
		{"CreateTopic", http.MethodPost, v1Topics, fault.Conflict | fault.TooMany | fault.Unavailable | fault.OfTopics | fault.TopicExists, with((*Service).createTopic), topicsOfPlace},
		{"ListTopics", get, v1Topics, fault.Unavailable, with((*Service).listTopics), topicsOfPlace},
		{"DescribeTopic", get, v1Topic, fault.NotFound, with((*Service).describeTopic), topic},
		{"UpdateTopic", http.MethodPut, v1Topic, fault.NotFound | fault.Unavailable | fault.OfTopics, with((*Service).updateTopic), topic},
		{"DeleteTopic", http.MethodDelete, v1Topic, fault.NotFound | fault.OfTopics, with((*Service).deleteTopic), topic},
		{"DescribeTopicPartitions", get, v1Topic + "/partitions", fault.NotFound, with((*Service).describeTopicPartitions), topic},
	}
}

func refusedRoutes() []route {
	const get, put, usual = http.MethodGet, http.MethodPut, fault.NotFound | fault.TooMany | fault.Unavailable
	return []route{
		{"CreateReplicator", http.MethodPost, replicators, usual | fault.Conflict, noReplicators, anything},
		{"ListReplicators", get, replicators, usual, noReplicators, anything},
		{"DescribeReplicator", get, oneReplicator, usual, noReplicators, replicator},
		{"DeleteReplicator", http.MethodDelete, oneReplicator, usual, noReplicators, replicator},
		{"UpdateReplicationInfo", put, oneReplicator + "/replication-info", usual, noReplicators, replicator},
		{"CreateChannel", http.MethodPost, v1Channels, usual | fault.Conflict, noChannels, cluster},
		{"ListChannels", get, v1Channels, usual, noChannels, cluster},
		{"DescribeChannel", get, v1Channel, usual, noChannels, cluster},
		{"UpdateChannel", put, v1Channel, usual, noChannels, cluster},
		{"DeleteChannel", http.MethodDelete, v1Channel, usual, noChannels, cluster},
	}
}

// Operations is the table for the door.
func (s *Service) Operations() []door.Operation {
	all := make([]door.Operation, 0, len(routes()))
	for _, r := range routes() {
		op := door.Operation{
			Name: r.name, Method: r.method, Path: r.path, Status: http.StatusOK, Reads: r.method == http.MethodGet,
			Action: "kafka:" + r.name, Resource: s.resource(r.about), Handle: r.declares.Guard(r.answer(s), told),
		}
		if r.about == topic || r.about == topicsOfPlace {
			op.Action, op.Needs = "kafka-cluster:Connect", s.topicNeeds(r.name)
		}
		if r.name == "CreateCluster" || r.name == "CreateClusterV2" {
			op.Tags, op.Needs = requestTags, tagging
		}
		all = append(all, op)
	}
	return all
}

// resource tells the ARN of what a call is about.
func (s *Service) resource(about resource) func(*door.Call) string {
	switch about {
	case cluster, topic, topicsOfPlace:
		return func(c *door.Call) string { return c.Params["clusterArn"] }
	case clusterQuery:
		return func(c *door.Call) string { return c.Query.Get("clusterArn") }
	case configured:
		return func(c *door.Call) string { return c.Params["arn"] }
	case replicator:
		return func(c *door.Call) string { return c.Params["replicatorArn"] }
	case operation:
		return func(c *door.Call) string {
			r, err := s.home.Find(c.Params["clusterOperationArn"], arn.Operation)
			if err != nil {
				return ""
			}
			return s.home.Cluster(r.Name, r.ID)
		}
	}
	return nil
}

// requestTags are those that a request to create something gives it.
func requestTags(c *door.Call) (set map[string]string, removed []string) {
	r, err := door.Decode[struct {
		Tags map[string]string `json:"tags"`
	}](c)
	if err != nil {
		return nil, nil
	}
	return r.Tags, nil
}

// tagging is the further permission of who gives tags.
func tagging(c *door.Call) []door.Need {
	if tags, _ := requestTags(c); len(tags) > 0 {
		return []door.Need{{Action: "kafka:TagResource"}}
	}
	return nil
}
