package differential

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/record"
)

// singles lists the requests that are sent with every edge value of every field.
func singles() (all []single) {
	// What lists all that there is comes before what makes more of it.
	all = append(all, listSingles()...)
	all = append(all, recordSingles()...)
	all = append(all, clusterSingles()...)
	all = append(all, groupSingles()...)
	all = append(all, topicSingles()...)
	all = append(all, configSingles()...)
	all = append(all, transactionSingles()...)
	all = append(all, newGroupSingles()...)
	return append(all, stateSingles()...)
}

func listSingles() []single {
	return []single{
		{name: "metadata", key: kmsg.Metadata, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrMetadataRequest()
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = ptr(fixTopic)
			q.Topics = append(q.Topics, t)
			return q
		}, keep: []string{"Topics"}},
		{name: "metadata-topic", key: kmsg.Metadata, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrMetadataRequest()
			q.IncludeTopicAuthorizedOperations = true
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = ptr(fixTopic)
			q.Topics = append(q.Topics, t)
			return q
		}, keep: []string{"=null"}},
		{name: "metadata-id", key: kmsg.Metadata, low: 10, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrMetadataRequest()
			t := kmsg.NewMetadataRequestTopic()
			t.TopicID = r.id(fixTopic)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "describe-log-dirs", key: kmsg.DescribeLogDirs, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeLogDirsRequest()
			t := kmsg.NewDescribeLogDirsRequestTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0}
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "list-groups", key: kmsg.ListGroups, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrListGroupsRequest()
			q.StatesFilter, q.TypesFilter = []string{"Stable"}, []string{"classic"}
			return q
		}, keep: []string{"=null"}},
		{name: "list-config-resources", key: kmsg.ListConfigResources, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrListConfigResourcesRequest()
			q.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeClientMetrics)}
			return q
		}, keep: []string{"=0"}},
		{name: "describe-quotas", key: kmsg.DescribeClientQuotas, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeClientQuotasRequest()
			c := kmsg.NewDescribeClientQuotasRequestComponent()
			c.EntityType, c.Match = "client-id", ptr("nobody")
			q.Components = append(q.Components, c)
			return q
		}},
		{name: "describe-scram", key: kmsg.DescribeUserSCRAMCredentials, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			q.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "nobody"}, {Name: "somebody"}}
			return q
		}},
		{name: "describe-acls", key: kmsg.DescribeACLs, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeACLsRequest()
			q.ResourceType, q.ResourcePatternType, q.Operation, q.PermissionType = kmsg.ACLResourceTypeTopic, kmsg.ACLResourcePatternTypeAny, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
			q.ResourceName, q.Principal, q.Host = ptr("fix"), ptr("User:alice"), ptr("*")
			return q
		}},
		{name: "create-acls", key: kmsg.CreateACLs, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrCreateACLsRequest()
			q.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: kmsg.ACLResourceTypeTopic, ResourceName: "fix", ResourcePatternType: kmsg.ACLResourcePatternTypeLiteral,
				Principal: "User:alice", Host: "*", Operation: kmsg.ACLOperationRead, PermissionType: kmsg.ACLPermissionTypeAllow}}
			return q
		}},
		{name: "delete-acls", key: kmsg.DeleteACLs, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDeleteACLsRequest()
			q.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: kmsg.ACLResourceTypeTopic, ResourceName: ptr("fix"), ResourcePatternType: kmsg.ACLResourcePatternTypeAny,
				Principal: ptr("User:alice"), Host: ptr("*"), Operation: kmsg.ACLOperationAny, PermissionType: kmsg.ACLPermissionTypeAny}}
			return q
		}},
		{name: "alter-scram", key: kmsg.AlterUserSCRAMCredentials, request: func(_ *run, u string) kmsg.Request {
			q := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
			d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
			d.Name, d.Mechanism = u, 1
			p := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
			p.Name, p.Mechanism, p.Iterations, p.Salt, p.SaltedPassword = u, 2, 4096, []byte("salt"), []byte("salted")
			q.Deletions, q.Upsertions = append(q.Deletions, d), append(q.Upsertions, p)
			return q
		}},
		{name: "sasl-handshake", key: kmsg.SASLHandshake, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrSASLHandshakeRequest()
			q.Mechanism = "SCRAM-SHA-512"
			return q
		}},
		{name: "sasl-authenticate", key: kmsg.SASLAuthenticate, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrSASLAuthenticateRequest()
			q.SASLAuthBytes = []byte("n,,n=alice,r=abc")
			return q
		}},
		{name: "list-transactions", key: kmsg.ListTransactions, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrListTransactionsRequest()
			q.StateFilters, q.ProducerIDFilters = []string{"Ongoing"}, []int64{invented + 7}
			q.DurationFilterMillis, q.TransactionalIDPattern = 1000, ptr("no-.*")
			return q
		}, keep: []string{"ProducerIDFilters"}},
	}
}

func recordSingles() []single {
	return []single{
		{name: "produce", key: kmsg.Produce, request: func(r *run, u string) kmsg.Request {
			return r.producing(single0(r, "single-produce"), 0, batch(record.Options{}, 0, 2))
		}, offsets: true, mute: []string{"Records=null"}},
		{name: "fetch", key: kmsg.Fetch, request: func(r *run, _ string) kmsg.Request {
			q := r.fetching(fixTopic, 0, 2)
			forgotten := kmsg.NewFetchRequestForgottenTopic()
			forgotten.Topic, forgotten.TopicID, forgotten.Partitions = fixTopic, r.id(fixTopic), []int32{1}
			q.ForgottenTopics = append(q.ForgottenTopics, forgotten)
			return q
		}},
		{name: "list-offsets", key: kmsg.ListOffsets, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrListOffsetsRequest()
			q.ReplicaID, q.TimeoutMillis = -1, 1000
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = fixTopic
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = 0, began+1000
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "offset-for-leader-epoch", key: kmsg.OffsetForLeaderEpoch, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrOffsetForLeaderEpochRequest()
			q.ReplicaID = -1
			t := kmsg.NewOffsetForLeaderEpochRequestTopic()
			t.Topic = fixTopic
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "delete-records", key: kmsg.DeleteRecords, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrDeleteRecordsRequest()
			q.TimeoutMillis = 1000
			t := kmsg.NewDeleteRecordsRequestTopic()
			t.Topic = single0(r, "single-delete-records")
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			p.Offset = 1
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "describe-producers", key: kmsg.DescribeProducers, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeProducersRequest()
			t := kmsg.NewDescribeProducersRequestTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0}
			q.Topics = append(q.Topics, t)
			return q
		}},
	}
}

// single0 makes a topic of one partition with two records, for requests of one kind only.
func single0(r *run, name string) string {
	if r.labels[name] == 0 {
		r.labels[name] = 1
		r.quietly(func() {
			r.createTopic(name, 1)
			r.produce(name, 0, 0, 2)
		})
	}
	return name
}

func clusterSingles() []single {
	return []single{
		{name: "metadata-topics", key: kmsg.Metadata, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrMetadataRequest()
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = ptr("no-such-topic")
			q.Topics = append(q.Topics, t)
			return q
		}, keep: []string{"Topics"}},
		{name: "api-versions", key: kmsg.ApiVersions, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrApiVersionsRequest()
			q.ClientSoftwareName, q.ClientSoftwareVersion = "differential", "1"
			return q
		}},
		{name: "describe-cluster", key: kmsg.DescribeCluster, request: func(*run, string) kmsg.Request {
			return kmsg.NewPtrDescribeClusterRequest()
		}},
		{name: "describe-topic-partitions", key: kmsg.DescribeTopicPartitions, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeTopicPartitionsRequest()
			t := kmsg.NewDescribeTopicPartitionsRequestTopic()
			t.Topic = fixTopic
			q.Topics = append(q.Topics, t)
			cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
			cursor.Topic = fixTopic
			q.Cursor = &cursor
			return q
		}, keep: []string{"=null"}},
		{name: "alter-log-dirs", key: kmsg.AlterReplicaLogDirs, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrAlterReplicaLogDirsRequest()
			d := kmsg.NewAlterReplicaLogDirsRequestDir()
			d.Dir = "/no/such/directory"
			t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0}
			d.Topics = append(d.Topics, t)
			q.Dirs = append(q.Dirs, d)
			return q
		}},
		{name: "describe-quorum", key: kmsg.DescribeQuorum, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeQuorumRequest()
			t := kmsg.NewDescribeQuorumRequestTopic()
			t.Topic = "__cluster_metadata"
			t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "update-features", key: kmsg.UpdateFeatures, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrUpdateFeaturesRequest()
			q.ValidateOnly = true
			update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			update.Feature, update.MaxVersionLevel, update.UpgradeType, update.AllowDowngrade = "group.version", 1, 1, false
			q.FeatureUpdates = append(q.FeatureUpdates, update)
			return q
		}},
		{name: "elect-leaders", key: kmsg.ElectLeaders, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrElectLeadersRequest()
			q.TimeoutMillis = 1000
			t := kmsg.NewElectLeadersRequestTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0, 1}
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "alter-reassignments", key: kmsg.AlterPartitionAssignments, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			q.TimeoutMillis = 1000
			t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
			t.Topic = fixTopic
			p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			p.Partition, p.Replicas = 0, []int32{r.side.broker}
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "list-reassignments", key: kmsg.ListPartitionReassignments, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrListPartitionReassignmentsRequest()
			q.TimeoutMillis = 1000
			t := kmsg.NewListPartitionReassignmentsRequestTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0}
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "telemetry-subscriptions", key: kmsg.GetTelemetrySubscriptions, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
			q.ClientInstanceID = [16]byte{1, 2, 3}
			return q
		}},
		{name: "push-telemetry", key: kmsg.PushTelemetry, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrPushTelemetryRequest()
			q.ClientInstanceID = [16]byte{3, 2, 1}
			return q
		}},
	}
}

func groupSingles() []single {
	return []single{
		{name: "find-coordinator", key: kmsg.FindCoordinator, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrFindCoordinatorRequest()
			q.CoordinatorKey, q.CoordinatorKeys = fixGroup, []string{fixGroup, "fixtxn"}
			return q
		}},
		{name: "offset-commit", key: kmsg.OffsetCommit, request: func(r *run, u string) kmsg.Request {
			return r.committing("g-"+u, fixTopic, 0, 3)
		}},
		{name: "offset-fetch", key: kmsg.OffsetFetch, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrOffsetFetchRequest()
			q.Group = fixGroup
			t := kmsg.NewOffsetFetchRequestTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0, 1}
			q.Topics = append(q.Topics, t)
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = fixGroup
			gt := kmsg.NewOffsetFetchRequestGroupTopic()
			gt.Topic, gt.TopicID, gt.Partitions = fixTopic, r.id(fixTopic), []int32{0, 1}
			g.Topics = append(g.Topics, gt)
			q.Groups = append(q.Groups, g)
			return q
		}},
		// A group that is joined twice waits for its first member, so the group's name stays.
		{name: "join-group", key: kmsg.JoinGroup, request: func(r *run, u string) kmsg.Request { return joining("g-" + u) }, keep: []string{"Group"}, mute: []string{"Protocols[0].Metadata=garbage"}},
		{name: "heartbeat", key: kmsg.Heartbeat, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrHeartbeatRequest()
			q.Group, q.MemberID = fixGroup, "m"
			return q
		}},
		{name: "leave-group", key: kmsg.LeaveGroup, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrLeaveGroupRequest()
			q.Group, q.MemberID = fixGroup, "m"
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = "m"
			q.Members = append(q.Members, m)
			return q
		}},
		{name: "sync-group", key: kmsg.SyncGroup, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrSyncGroupRequest()
			q.Group, q.MemberID, q.ProtocolType, q.Protocol = fixGroup, "m", ptr("consumer"), ptr("range")
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = "m", []byte("mine")
			q.GroupAssignment = append(q.GroupAssignment, a)
			return q
		}},
		{name: "describe-groups", key: kmsg.DescribeGroups, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeGroupsRequest()
			q.Groups = []string{fixGroup}
			return q
		}},
		{name: "delete-groups", key: kmsg.DeleteGroups, request: func(r *run, u string) kmsg.Request {
			group := "g-" + u
			r.commit(group, fixTopic, 0, 1)
			q := kmsg.NewPtrDeleteGroupsRequest()
			q.Groups = []string{group}
			return q
		}},
		{name: "offset-delete", key: kmsg.OffsetDelete, request: func(r *run, u string) kmsg.Request {
			group := "g-" + u
			r.commit(group, fixTopic, 0, 1)
			q := kmsg.NewPtrOffsetDeleteRequest()
			q.Group = group
			t := kmsg.NewOffsetDeleteRequestTopic()
			t.Topic = fixTopic
			t.Partitions = append(t.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
			q.Topics = append(q.Topics, t)
			return q
		}},
	}
}

// subscription is what the member of a classic consumer group says of itself.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

// joining makes a request to join a group as a new member.
func joining(group string) *kmsg.JoinGroupRequest {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Group, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis, q.ProtocolType = group, 10_000, 1000, "consumer"
	for _, name := range []string{"range", "roundrobin"} {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription(fixTopic)
		q.Protocols = append(q.Protocols, p)
	}
	return q
}

func topicSingles() []single {
	return []single{
		{name: "create-topics", key: kmsg.CreateTopics, request: func(r *run, u string) kmsg.Request {
			q := kmsg.NewPtrCreateTopicsRequest()
			q.TimeoutMillis = 5000
			t := kmsg.NewCreateTopicsRequestTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = u, 1, 1
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = "retention.ms", ptr("3600000")
			t.Configs = append(t.Configs, c)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "create-topics-assigned", key: kmsg.CreateTopics, request: func(r *run, u string) kmsg.Request {
			q := kmsg.NewPtrCreateTopicsRequest()
			q.TimeoutMillis = 5000
			t := kmsg.NewCreateTopicsRequestTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = u, -1, -1
			for n := range int32(2) {
				a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
				a.Partition, a.Replicas = n, []int32{r.side.broker}
				t.ReplicaAssignment = append(t.ReplicaAssignment, a)
			}
			q.Topics = append(q.Topics, t)
			return q
		}, keep: []string{"Topic", "TimeoutMillis", "Configs"}},
		{name: "delete-topics", key: kmsg.DeleteTopics, request: func(r *run, u string) kmsg.Request {
			r.createTopic(u, 1)
			q := kmsg.NewPtrDeleteTopicsRequest()
			q.TimeoutMillis, q.TopicNames = 5000, []string{u}
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = &u
			q.Topics = append(q.Topics, t)
			return q
		}, keep: []string{"TimeoutMillis"}},
		{name: "delete-topics-id", key: kmsg.DeleteTopics, low: 6, request: func(r *run, u string) kmsg.Request {
			r.createTopic(u, 1)
			q := kmsg.NewPtrDeleteTopicsRequest()
			q.TimeoutMillis = 5000
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.TopicID = r.id(u)
			q.Topics = append(q.Topics, t)
			return q
		}, keep: []string{"TimeoutMillis"}},
		{name: "create-partitions", key: kmsg.CreatePartitions, request: func(r *run, u string) kmsg.Request {
			r.createTopic(u, 1)
			q := kmsg.NewPtrCreatePartitionsRequest()
			q.TimeoutMillis = 5000
			t := kmsg.NewCreatePartitionsRequestTopic()
			t.Topic, t.Count = u, 2
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = []int32{r.side.broker}
			t.Assignment = append(t.Assignment, a)
			q.Topics = append(q.Topics, t)
			return q
		}},
	}
}

func configSingles() []single {
	return []single{
		{name: "describe-configs", key: kmsg.DescribeConfigs, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeConfigsRequest()
			q.IncludeSynonyms = true
			one := kmsg.NewDescribeConfigsRequestResource()
			one.ResourceType, one.ResourceName, one.ConfigNames = kmsg.ConfigResourceTypeTopic, fixTopic, []string{"retention.ms", "cleanup.policy"}
			q.Resources = append(q.Resources, one)
			return q
		}, keep: []string{"ConfigNames"}},
		{name: "describe-configs-group", key: kmsg.DescribeConfigs, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeConfigsRequest()
			one := kmsg.NewDescribeConfigsRequestResource()
			one.ResourceType, one.ResourceName = kmsg.ConfigResourceTypeGroupConfig, fixGroup
			q.Resources = append(q.Resources, one)
			return q
		}, keep: []string{"ResourceType"}},
		{name: "alter-configs", key: kmsg.AlterConfigs, request: func(r *run, u string) kmsg.Request {
			q := kmsg.NewPtrAlterConfigsRequest()
			one := kmsg.NewAlterConfigsRequestResource()
			one.ResourceType, one.ResourceName = kmsg.ConfigResourceTypeTopic, single0(r, "single-alter-configs")
			c := kmsg.NewAlterConfigsRequestResourceConfig()
			c.Name, c.Value = "retention.ms", ptr("3600000")
			one.Configs = append(one.Configs, c)
			q.Resources = append(q.Resources, one)
			return q
		}, mute: []string{"Resources=twice"}},
		{name: "incremental-alter-configs", key: kmsg.IncrementalAlterConfigs, request: func(r *run, u string) kmsg.Request {
			q := kmsg.NewPtrIncrementalAlterConfigsRequest()
			one := kmsg.NewIncrementalAlterConfigsRequestResource()
			one.ResourceType, one.ResourceName = kmsg.ConfigResourceTypeTopic, single0(r, "single-incremental")
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value = "cleanup.policy", ptr("compact")
			one.Configs = append(one.Configs, c)
			q.Resources = append(q.Resources, one)
			return q
		}},
		{name: "alter-quotas", key: kmsg.AlterClientQuotas, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrAlterClientQuotasRequest()
			e := kmsg.NewAlterClientQuotasRequestEntry()
			entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
			entity.Type, entity.Name = "client-id", ptr("someone")
			e.Entity = append(e.Entity, entity)
			op := kmsg.NewAlterClientQuotasRequestEntryOp()
			op.Key, op.Value = "producer_byte_rate", 1e9
			e.Ops = append(e.Ops, op)
			q.Entries = append(q.Entries, e)
			return q
		}, keep: []string{"Name"}},
	}
}

func transactionSingles() []single {
	const pid = invented + 7
	return []single{
		{name: "init-producer", key: kmsg.InitProducerID, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrInitProducerIDRequest()
			q.TransactionTimeoutMillis = 60_000
			return q
		}},
		{name: "init-transactions", key: kmsg.InitProducerID, request: func(_ *run, u string) kmsg.Request {
			q := kmsg.NewPtrInitProducerIDRequest()
			q.TransactionalID, q.TransactionTimeoutMillis = ptr("t-"+u), 60_000
			return q
		}},
		{name: "add-partitions", key: kmsg.AddPartitionsToTxn, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrAddPartitionsToTxnRequest()
			q.TransactionalID, q.ProducerID = "no-transaction", pid
			t := kmsg.NewAddPartitionsToTxnRequestTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0}
			q.Topics = append(q.Topics, t)
			one := kmsg.NewAddPartitionsToTxnRequestTransaction()
			one.TransactionalID, one.ProducerID = "no-transaction", pid
			ot := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
			ot.Topic, ot.Partitions = fixTopic, []int32{0}
			one.Topics = append(one.Topics, ot)
			q.Transactions = append(q.Transactions, one)
			return q
		}, mute: []string{"Transactions=null", "Transactions=none"}},
		{name: "add-offsets", key: kmsg.AddOffsetsToTxn, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrAddOffsetsToTxnRequest()
			q.TransactionalID, q.ProducerID, q.Group = "no-transaction", pid, fixGroup
			return q
		}},
		{name: "end-transaction", key: kmsg.EndTxn, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrEndTxnRequest()
			q.TransactionalID, q.ProducerID = "no-transaction", pid
			return q
		}},
		{name: "commit-in-transaction", key: kmsg.TxnOffsetCommit, request: func(r *run, u string) kmsg.Request {
			q := kmsg.NewPtrTxnOffsetCommitRequest()
			q.TransactionalID, q.ProducerID, q.Group, q.Generation = "no-transaction", pid, "g-"+u, -1
			t := kmsg.NewTxnOffsetCommitRequestTopic()
			t.Topic, t.TopicID = fixTopic, r.id(fixTopic)
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Offset = 1
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "write-markers", key: kmsg.WriteTxnMarkers, request: func(r *run, _ string) kmsg.Request {
			q := kmsg.NewPtrWriteTxnMarkersRequest()
			m := kmsg.NewWriteTxnMarkersRequestMarker()
			m.ProducerID = pid
			t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			t.Topic, t.Partitions = single0(r, "single-markers"), []int32{0}
			m.Topics = append(m.Topics, t)
			q.Markers = append(q.Markers, m)
			return q
		}, mute: []string{"Topics=twice", "Partitions=twice"}, keep: []string{"ProducerID"}},
		{name: "describe-transactions", key: kmsg.DescribeTransactions, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeTransactionsRequest()
			q.TransactionalIDs = []string{"no-transaction"}
			return q
		}},
	}
}

func newGroupSingles() []single {
	return []single{
		{name: "consumer-heartbeat", key: kmsg.ConsumerGroupHeartbeat, request: func(_ *run, u string) kmsg.Request {
			q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			q.Group, q.MemberID, q.RebalanceTimeoutMillis, q.SubscribedTopicNames = "cg-"+u, "m-"+u, 1000, []string{fixTopic}
			q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			return q
		}},
		{name: "consumer-describe", key: kmsg.ConsumerGroupDescribe, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrConsumerGroupDescribeRequest()
			q.Groups = []string{fixGroup}
			return q
		}},
		{name: "share-heartbeat", key: kmsg.ShareGroupHeartbeat, request: func(_ *run, u string) kmsg.Request {
			q := kmsg.NewPtrShareGroupHeartbeatRequest()
			q.GroupID, q.MemberID, q.SubscribedTopicNames = "sg-"+u, memberID(u), []string{fixTopic}
			return q
		}},
		{name: "share-describe", key: kmsg.ShareGroupDescribe, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrShareGroupDescribeRequest()
			q.GroupIDs = []string{fixGroup, "no-group"}
			return q
		}},
		{name: "share-fetch", key: kmsg.ShareFetch, request: func(r *run, u string) kmsg.Request {
			q := kmsg.NewPtrShareFetchRequest()
			q.GroupID, q.MemberID, q.MaxWaitMillis, q.MaxBytes, q.MaxRecords, q.BatchSize = ptr("sg-none"), ptr(memberID(u)), 0, 1<<20, 100, 100
			t := kmsg.NewShareFetchRequestTopic()
			t.TopicID = r.id(fixTopic)
			p := kmsg.NewShareFetchRequestTopicPartition()
			p.PartitionMaxBytes = 1 << 20
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "share-acknowledge", key: kmsg.ShareAcknowledge, request: func(r *run, u string) kmsg.Request {
			q := kmsg.NewPtrShareAcknowledgeRequest()
			q.GroupID, q.MemberID, q.ShareSessionEpoch = ptr("sg-none"), ptr(memberID(u)), 1
			t := kmsg.NewShareAcknowledgeRequestTopic()
			t.TopicID = r.id(fixTopic)
			p := kmsg.NewShareAcknowledgeRequestTopicPartition()
			b := kmsg.NewShareAcknowledgeRequestTopicPartitionAcknowledgementBatch()
			b.LastOffset, b.AcknowledgeTypes = 1, []int8{1}
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "share-offsets", key: kmsg.DescribeShareGroupOffsets, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
			g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
			g.GroupID = "sg-none"
			t := kmsg.NewDescribeShareGroupOffsetsRequestGroupTopic()
			t.Topic, t.Partitions = fixTopic, []int32{0}
			g.Topics = append(g.Topics, t)
			q.Groups = append(q.Groups, g)
			return q
		}, mute: []string{"Partitions[0]=2", "Partitions[0]=99", "Partitions[0]=2147483647"}},
		{name: "alter-share-offsets", key: kmsg.AlterShareGroupOffsets, request: func(_ *run, u string) kmsg.Request {
			q := kmsg.NewPtrAlterShareGroupOffsetsRequest()
			q.GroupID = "sg-" + u
			t := kmsg.NewAlterShareGroupOffsetsRequestTopic()
			t.Topic = fixTopic
			t.Partitions = append(t.Partitions, kmsg.NewAlterShareGroupOffsetsRequestTopicPartition())
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "delete-share-offsets", key: kmsg.DeleteShareGroupOffsets, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
			q.GroupID = "sg-none"
			t := kmsg.NewDeleteShareGroupOffsetsRequestTopic()
			t.Topic = fixTopic
			q.Topics = append(q.Topics, t)
			return q
		}},
		{name: "streams-heartbeat", key: kmsg.StreamsGroupHeartbeat, request: func(_ *run, u string) kmsg.Request { return streaming("st-"+u, "m-"+u) }},
		{name: "streams-describe", key: kmsg.StreamsGroupDescribe, request: func(*run, string) kmsg.Request {
			q := kmsg.NewPtrStreamsGroupDescribeRequest()
			q.Groups = []string{fixGroup, "no-group"}
			return q
		}},
	}
}

// memberID makes a member id as share consumers make them: it has to be a UUID for a share session.
func memberID(u string) string {
	var id [16]byte
	for i, c := range []byte(u) {
		id[i%16] = id[i%16]*31 + c
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// streaming makes the first heartbeat of a member of a streams group with one subtopology.
func streaming(group, member string) *kmsg.StreamsGroupHeartbeatRequest {
	q := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	q.Group, q.MemberID, q.RebalanceTimeoutMillis, q.ProcessID = group, member, 1000, ptr("process")
	topology := kmsg.NewStreamsGroupHeartbeatRequestTopology()
	sub := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
	sub.SubtopologyID, sub.SourceTopics = "0", []string{fixTopic}
	topology.Subtopologies = append(topology.Subtopologies, sub)
	q.Topology = &topology
	q.ActiveTasks, q.StandbyTasks, q.WarmupTasks = []kmsg.TaskIDs{}, []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
	return q
}
