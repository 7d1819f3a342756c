package action

import "slices"

// Action is the name of a permission as policies spell it. Policies compare it without regard to case.
type Action string

// The actions on a cluster's data, all of them.
const (
	Connect                             Action = "kafka-cluster:Connect"
	DescribeCluster                     Action = "kafka-cluster:DescribeCluster"
	AlterCluster                        Action = "kafka-cluster:AlterCluster"
	DescribeClusterDynamicConfiguration Action = "kafka-cluster:DescribeClusterDynamicConfiguration"
	AlterClusterDynamicConfiguration    Action = "kafka-cluster:AlterClusterDynamicConfiguration"
	WriteDataIdempotently               Action = "kafka-cluster:WriteDataIdempotently"
	CreateTopic                         Action = "kafka-cluster:CreateTopic"
	DescribeTopic                       Action = "kafka-cluster:DescribeTopic"
	AlterTopic                          Action = "kafka-cluster:AlterTopic"
	DeleteTopic                         Action = "kafka-cluster:DeleteTopic"
	DescribeTopicDynamicConfiguration   Action = "kafka-cluster:DescribeTopicDynamicConfiguration"
	AlterTopicDynamicConfiguration      Action = "kafka-cluster:AlterTopicDynamicConfiguration"
	ReadData                            Action = "kafka-cluster:ReadData"
	WriteData                           Action = "kafka-cluster:WriteData"
	DescribeGroup                       Action = "kafka-cluster:DescribeGroup"
	AlterGroup                          Action = "kafka-cluster:AlterGroup"
	DeleteGroup                         Action = "kafka-cluster:DeleteGroup"
	DescribeTransactionalID             Action = "kafka-cluster:DescribeTransactionalId"
	AlterTransactionalID                Action = "kafka-cluster:AlterTransactionalId"
)

// Kind is the kind of resource that an action is about, as it stands in an ARN.
type Kind string

// The kinds of resources.
const (
	OnCluster         Kind = "cluster"
	OnTopic           Kind = "topic"
	OnGroup           Kind = "group"
	OnTransactionalID Kind = "transactional-id"
)

// Entry says what an action is about.
type Entry struct {
	Action     Action
	On         Kind
	Needs      []Action // what a policy has to allow beside it, for the action to be of use; each on its own kind of resource
	Serverless bool     // known on Serverless clusters too; on them the others are refused whatever policies say
	Meaning    string   // Kafka's operation and resource
}

// Table returns all actions, a new copy at each call.
func Table() []Entry {
	return []Entry{
		{Connect, OnCluster, nil, true, "connect and log in"},
		{DescribeCluster, OnCluster, []Action{Connect}, false, "Describe on CLUSTER"},
		{AlterCluster, OnCluster, []Action{Connect, DescribeCluster}, false, "Alter on CLUSTER"},
		{DescribeClusterDynamicConfiguration, OnCluster, []Action{Connect}, false, "DescribeConfigs on CLUSTER"},
		{AlterClusterDynamicConfiguration, OnCluster, []Action{Connect, DescribeClusterDynamicConfiguration}, false, "AlterConfigs on CLUSTER"},
		{WriteDataIdempotently, OnCluster, []Action{Connect, WriteData}, true, "IdempotentWrite on CLUSTER"},
		{CreateTopic, OnTopic, []Action{Connect}, true, "Create on TOPIC"},
		{DescribeTopic, OnTopic, []Action{Connect}, true, "Describe on TOPIC"},
		{AlterTopic, OnTopic, []Action{Connect, DescribeTopic}, true, "Alter on TOPIC"},
		{DeleteTopic, OnTopic, []Action{Connect, DescribeTopic}, true, "Delete on TOPIC"},
		{DescribeTopicDynamicConfiguration, OnTopic, []Action{Connect}, true, "DescribeConfigs on TOPIC"},
		{AlterTopicDynamicConfiguration, OnTopic, []Action{Connect, DescribeTopicDynamicConfiguration}, true, "AlterConfigs on TOPIC"},
		{ReadData, OnTopic, []Action{Connect, DescribeTopic, AlterGroup}, true, "Read on TOPIC"},
		{WriteData, OnTopic, []Action{Connect, DescribeTopic}, true, "Write on TOPIC"},
		{DescribeGroup, OnGroup, []Action{Connect}, true, "Describe on GROUP"},
		{AlterGroup, OnGroup, []Action{Connect, DescribeGroup}, true, "Read on GROUP"},
		{DeleteGroup, OnGroup, []Action{Connect, DescribeGroup}, true, "Delete on GROUP"},
		{DescribeTransactionalID, OnTransactionalID, []Action{Connect}, true, "Describe on TRANSACTIONAL_ID"},
		{AlterTransactionalID, OnTransactionalID, []Action{Connect, DescribeTransactionalID, WriteData}, true, "Write on TRANSACTIONAL_ID"},
	}
}

// Find returns what an action is about; ok is false for a name that is none of the 19. Case counts.
func Find(a Action) (entry Entry, ok bool) {
	table := Table()
	i := slices.IndexFunc(table, func(e Entry) bool { return e.Action == a })
	if i < 0 {
		return Entry{}, false
	}
	return table[i], true
}
