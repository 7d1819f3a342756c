package acl

import "github.com/twmb/franz-go/pkg/kmsg"

func groupProbes() []probe {
	return []probe{
		simple(5, "JoinGroup", func() *kmsg.JoinGroupRequest {
			q := kmsg.NewPtrJoinGroupRequest()
			q.Group, q.SessionTimeoutMillis, q.ProtocolType = group, 1, "consumer" // a timeout out of bounds: nobody joins
			q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
			return q
		}),
		simple(4, "Heartbeat", func() *kmsg.HeartbeatRequest {
			q := kmsg.NewPtrHeartbeatRequest()
			q.Group, q.MemberID, q.Generation = group, "m", 1
			return q
		}),
		simple(5, "LeaveGroup", func() *kmsg.LeaveGroupRequest {
			q := kmsg.NewPtrLeaveGroupRequest()
			q.Group = group
			q.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "m"}}
			return q
		}),
		simple(5, "SyncGroup", func() *kmsg.SyncGroupRequest {
			q := kmsg.NewPtrSyncGroupRequest()
			q.Group, q.MemberID, q.Generation, q.Protocol, q.ProtocolType = group, "m", 1, ptr("range"), ptr("consumer")
			return q
		}),
		simple(6, "DescribeGroups", func() *kmsg.DescribeGroupsRequest {
			q := kmsg.NewPtrDescribeGroupsRequest()
			q.Groups, q.IncludeAuthorizedOperations = []string{group, "other"}, true
			return q
		}),
		simple(5, "ListGroups", kmsg.NewPtrListGroupsRequest),
		simple(2, "DeleteGroups", func() *kmsg.DeleteGroupsRequest {
			q := kmsg.NewPtrDeleteGroupsRequest()
			q.Groups = []string{group + "-none", "other"}
			return q
		}),
		simple(0, "OffsetDelete", func() *kmsg.OffsetDeleteRequest {
			q := kmsg.NewPtrOffsetDeleteRequest()
			q.Group = group
			for _, n := range []string{orders, secret, absent} {
				q.Topics = append(q.Topics, kmsg.OffsetDeleteRequestTopic{Topic: n, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}}})
			}
			return q
		}),
		simple(1, "ConsumerGroupHeartbeat", func() *kmsg.ConsumerGroupHeartbeatRequest {
			q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			q.Group, q.MemberID, q.MemberEpoch = group, "m", 5
			return q
		}),
		simple(1, "ConsumerGroupHeartbeat of topics", func() *kmsg.ConsumerGroupHeartbeatRequest {
			q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			q.Group, q.MemberID, q.MemberEpoch, q.SubscribedTopicNames = group, "m", 5, []string{orders, secret}
			return q
		}),
		simple(1, "ConsumerGroupDescribe", func() *kmsg.ConsumerGroupDescribeRequest {
			q := kmsg.NewPtrConsumerGroupDescribeRequest()
			q.Groups, q.IncludeAuthorizedOperations = []string{group}, true
			return q
		}),
	}
}

func topicProbes() []probe {
	names := []string{orders, secret, absent}
	return []probe{
		simple(9, "ListOffsets", func() *kmsg.ListOffsetsRequest {
			q := kmsg.NewPtrListOffsetsRequest()
			q.ReplicaID = -1
			for _, n := range names {
				p := kmsg.NewListOffsetsRequestTopicPartition()
				p.Timestamp, p.CurrentLeaderEpoch = -1, -1
				q.Topics = append(q.Topics, kmsg.ListOffsetsRequestTopic{Topic: n, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}})
			}
			return q
		}),
		simple(4, "OffsetForLeaderEpoch", func() *kmsg.OffsetForLeaderEpochRequest {
			q := kmsg.NewPtrOffsetForLeaderEpochRequest()
			q.ReplicaID = -1
			for _, n := range names {
				p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
				p.CurrentLeaderEpoch = -1
				q.Topics = append(q.Topics, kmsg.OffsetForLeaderEpochRequestTopic{Topic: n, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}})
			}
			return q
		}),
		simple(7, "CreateTopics", func() *kmsg.CreateTopicsRequest {
			q := kmsg.NewPtrCreateTopicsRequest()
			q.ValidateOnly, q.TimeoutMillis = true, 5000
			for _, n := range []string{orders, absent, "else", "__cluster_metadata"} {
				t := kmsg.NewCreateTopicsRequestTopic()
				t.Topic, t.NumPartitions, t.ReplicationFactor = n, 1, 1
				q.Topics = append(q.Topics, t)
			}
			return q
		}),
		simple(3, "CreatePartitions", func() *kmsg.CreatePartitionsRequest {
			q := kmsg.NewPtrCreatePartitionsRequest()
			q.ValidateOnly, q.TimeoutMillis = true, 5000
			for _, n := range names {
				q.Topics = append(q.Topics, kmsg.CreatePartitionsRequestTopic{Topic: n, Count: 5})
			}
			return q
		}),
		simple(2, "DeleteRecords", func() *kmsg.DeleteRecordsRequest {
			q := kmsg.NewPtrDeleteRecordsRequest()
			q.TimeoutMillis = 5000
			for _, n := range names {
				q.Topics = append(q.Topics, kmsg.DeleteRecordsRequestTopic{Topic: n, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{}}})
			}
			return q
		}),
		simple(0, "DescribeProducers", func() *kmsg.DescribeProducersRequest {
			q := kmsg.NewPtrDescribeProducersRequest()
			for _, n := range names {
				q.Topics = append(q.Topics, kmsg.DescribeProducersRequestTopic{Topic: n, Partitions: []int32{1}})
			}
			return q
		}),
		simple(0, "DescribeTopicPartitions", func() *kmsg.DescribeTopicPartitionsRequest {
			q := kmsg.NewPtrDescribeTopicPartitionsRequest()
			q.ResponsePartitionLimit = 1000
			for _, n := range names {
				q.Topics = append(q.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: n})
			}
			return q
		}),
		simple(0, "DescribeTopicPartitions of all", func() *kmsg.DescribeTopicPartitionsRequest {
			q := kmsg.NewPtrDescribeTopicPartitionsRequest()
			q.ResponsePartitionLimit = 1000
			return q
		}),
		{"DeleteTopics by id", func(ids map[string][16]byte) kmsg.Request {
			q := kmsg.NewPtrDeleteTopicsRequest()
			q.TimeoutMillis = 5000
			for _, n := range []string{victim, absent} {
				t := kmsg.NewDeleteTopicsRequestTopic()
				t.Topic, t.TopicID = nil, ids[n]
				if n == absent {
					t.TopicID = [16]byte{1, 2, 3}
				}
				q.Topics = append(q.Topics, t)
			}
			return at(6, q)
		}},
		simple(6, "DeleteTopics by name", func() *kmsg.DeleteTopicsRequest {
			q := kmsg.NewPtrDeleteTopicsRequest()
			q.TimeoutMillis = 5000
			for _, n := range []string{victim + "2", absent} {
				t := kmsg.NewDeleteTopicsRequestTopic()
				t.Topic = ptr(n)
				q.Topics = append(q.Topics, t)
			}
			return q
		}),
	}
}

func transactionProbes() []probe {
	const someProducer = 123456 // nobody has this id
	return []probe{
		simple(5, "InitProducerId", kmsg.NewPtrInitProducerIDRequest),
		simple(5, "InitProducerId of a transactional id", func() *kmsg.InitProducerIDRequest {
			q := kmsg.NewPtrInitProducerIDRequest()
			q.TransactionalID, q.TransactionTimeoutMillis, q.ProducerID, q.ProducerEpoch = ptr(txnID), 60000, -1, -1
			return q
		}),
		simple(3, "AddPartitionsToTxn", func() *kmsg.AddPartitionsToTxnRequest {
			q := kmsg.NewPtrAddPartitionsToTxnRequest()
			q.TransactionalID, q.ProducerID = txnID, someProducer
			q.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: orders, Partitions: []int32{0}}, {Topic: secret, Partitions: []int32{0}}}
			return q
		}),
		simple(3, "AddPartitionsToTxn of one", func() *kmsg.AddPartitionsToTxnRequest {
			q := kmsg.NewPtrAddPartitionsToTxnRequest()
			q.TransactionalID, q.ProducerID = txnID, someProducer
			q.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: orders, Partitions: []int32{0}}}
			return q
		}),
		simple(5, "AddPartitionsToTxn of brokers", func() *kmsg.AddPartitionsToTxnRequest {
			q := kmsg.NewPtrAddPartitionsToTxnRequest()
			t := kmsg.NewAddPartitionsToTxnRequestTransaction()
			t.TransactionalID, t.ProducerID, t.VerifyOnly = txnID, someProducer, true
			t.Topics = []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: orders, Partitions: []int32{0}}}
			q.Transactions = append(q.Transactions, t)
			return q
		}),
		simple(4, "AddOffsetsToTxn", func() *kmsg.AddOffsetsToTxnRequest {
			q := kmsg.NewPtrAddOffsetsToTxnRequest()
			q.TransactionalID, q.ProducerID, q.Group = txnID, someProducer, group
			return q
		}),
		simple(3, "TxnOffsetCommit", func() *kmsg.TxnOffsetCommitRequest {
			q := kmsg.NewPtrTxnOffsetCommitRequest()
			q.TransactionalID, q.Group, q.ProducerID, q.Generation, q.MemberID = txnID, group, someProducer, 7, "m"
			for _, n := range []string{orders, secret} {
				q.Topics = append(q.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: n, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{}}})
			}
			return q
		}),
		simple(4, "EndTxn", func() *kmsg.EndTxnRequest {
			q := kmsg.NewPtrEndTxnRequest()
			q.TransactionalID, q.ProducerID = txnID, someProducer
			return q
		}),
		simple(1, "WriteTxnMarkers", func() *kmsg.WriteTxnMarkersRequest {
			q := kmsg.NewPtrWriteTxnMarkersRequest()
			m := kmsg.NewWriteTxnMarkersRequestMarker()
			m.ProducerID = someProducer
			m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: absent, Partitions: []int32{0}}}
			q.Markers = append(q.Markers, m)
			return q
		}),
		simple(0, "DescribeTransactions", func() *kmsg.DescribeTransactionsRequest {
			q := kmsg.NewPtrDescribeTransactionsRequest()
			q.TransactionalIDs = []string{openTxn, "other"}
			return q
		}),
		simple(2, "ListTransactions", kmsg.NewPtrListTransactionsRequest),
	}
}

func clusterProbes() []probe {
	return []probe{
		simple(4, "DescribeLogDirs", func() *kmsg.DescribeLogDirsRequest {
			q := kmsg.NewPtrDescribeLogDirsRequest()
			q.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: orders, Partitions: []int32{0}}}
			return q
		}),
		simple(2, "AlterReplicaLogDirs", func() *kmsg.AlterReplicaLogDirsRequest {
			q := kmsg.NewPtrAlterReplicaLogDirsRequest()
			q.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/nowhere",
				Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: orders, Partitions: []int32{0}}}}}
			return q
		}),
		simple(2, "ElectLeaders", func() *kmsg.ElectLeadersRequest {
			q := kmsg.NewPtrElectLeadersRequest()
			q.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: orders, Partitions: []int32{0}}}
			return q
		}),
		simple(0, "AlterPartitionReassignments", func() *kmsg.AlterPartitionAssignmentsRequest {
			q := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			q.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: orders,
				Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 0}}}}
			return q
		}),
		simple(0, "ListPartitionReassignments", kmsg.NewPtrListPartitionReassignmentsRequest),
		simple(1, "DescribeClientQuotas", kmsg.NewPtrDescribeClientQuotasRequest),
		simple(1, "AlterClientQuotas", func() *kmsg.AlterClientQuotasRequest {
			q := kmsg.NewPtrAlterClientQuotasRequest()
			q.ValidateOnly = true
			q.Entries = []kmsg.AlterClientQuotasRequestEntry{{
				Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: ptr(alice)}},
				Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1e6}},
			}}
			return q
		}),
		simple(0, "DescribeUserScramCredentials", func() *kmsg.DescribeUserSCRAMCredentialsRequest {
			q := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			q.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "nobody"}} // all of them, refused, Apache Kafka never answers
			return q
		}),
		simple(1, "UpdateFeatures", func() *kmsg.UpdateFeaturesRequest {
			q := kmsg.NewPtrUpdateFeaturesRequest()
			q.ValidateOnly = true
			u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			u.Feature, u.MaxVersionLevel, u.UpgradeType = "group.version", 1, 1
			q.FeatureUpdates = append(q.FeatureUpdates, u)
			return q
		}),
		simple(1, "DescribeCluster", func() *kmsg.DescribeClusterRequest {
			q := kmsg.NewPtrDescribeClusterRequest()
			q.IncludeClusterAuthorizedOperations, q.EndpointType = true, 1
			return q
		}),
		simple(1, "ListConfigResources of groups", func() *kmsg.ListConfigResourcesRequest {
			q := kmsg.NewPtrListConfigResourcesRequest()
			q.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeGroupConfig)}
			return q
		}),
		simple(0, "ListConfigResources", kmsg.NewPtrListConfigResourcesRequest),
		simple(3, "DescribeAcls", func() *kmsg.DescribeACLsRequest {
			q := kmsg.NewPtrDescribeACLsRequest()
			q.ResourceType, q.ResourcePatternType, q.Operation, q.PermissionType = 1, 1, 1, 1
			return q
		}),
		simple(3, "CreateAcls", func() *kmsg.CreateACLsRequest { // none of them can be made
			q := kmsg.NewPtrCreateACLsRequest()
			c := kmsg.NewCreateACLsRequestCreation()
			c.ResourceType, c.ResourcePatternType, c.Principal, c.Host, c.Operation, c.PermissionType = 2, 3, "User:x", "*", 3, 3
			wrong := c
			wrong.ResourceType, wrong.ResourceName = kmsg.ACLResourceTypeCluster, "other"
			q.Creations = append(q.Creations, c, wrong)
			return q
		}),
		simple(3, "DeleteAcls", func() *kmsg.DeleteACLsRequest { // finds nothing
			q := kmsg.NewPtrDeleteACLsRequest()
			f := kmsg.NewDeleteACLsRequestFilter()
			f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType, f.Principal = 1, 1, 1, 1, ptr("User:nobody")
			q.Filters = append(q.Filters, f)
			return q
		}),
	}
}

func shareProbes() []probe {
	return []probe{
		simple(1, "ShareGroupHeartbeat", func() *kmsg.ShareGroupHeartbeatRequest {
			q := kmsg.NewPtrShareGroupHeartbeatRequest()
			q.GroupID, q.MemberID, q.MemberEpoch = "share", "AAAAAAAAAAAAAAAAAAAAAQ", 5
			return q
		}),
		simple(1, "ShareGroupHeartbeat of topics", func() *kmsg.ShareGroupHeartbeatRequest {
			q := kmsg.NewPtrShareGroupHeartbeatRequest()
			q.GroupID, q.MemberID, q.MemberEpoch, q.SubscribedTopicNames = "share", "AAAAAAAAAAAAAAAAAAAAAQ", 5, []string{orders, secret}
			return q
		}),
		simple(1, "ShareGroupDescribe", func() *kmsg.ShareGroupDescribeRequest {
			q := kmsg.NewPtrShareGroupDescribeRequest()
			q.GroupIDs, q.IncludeAuthorizedOperations = []string{"share"}, true
			return q
		}),
		{"ShareFetch", func(ids map[string][16]byte) kmsg.Request {
			q := kmsg.NewPtrShareFetchRequest()
			q.GroupID, q.MemberID, q.ShareSessionEpoch, q.MaxBytes, q.MaxRecords = ptr("share"), ptr("AAAAAAAAAAAAAAAAAAAAAQ"), 7, 1<<20, 10
			q.Topics = []kmsg.ShareFetchRequestTopic{{TopicID: ids[orders], Partitions: []kmsg.ShareFetchRequestTopicPartition{{}}}}
			return at(1, q)
		}},
		{"ShareAcknowledge", func(ids map[string][16]byte) kmsg.Request {
			q := kmsg.NewPtrShareAcknowledgeRequest()
			q.GroupID, q.MemberID, q.ShareSessionEpoch = ptr("share"), ptr("AAAAAAAAAAAAAAAAAAAAAQ"), 7
			q.Topics = []kmsg.ShareAcknowledgeRequestTopic{{TopicID: ids[orders], Partitions: []kmsg.ShareAcknowledgeRequestTopicPartition{{}}}}
			return at(1, q)
		}},
		{"ReadShareGroupState", func(ids map[string][16]byte) kmsg.Request {
			q := kmsg.NewPtrReadShareGroupStateRequest()
			q.GroupID = "share"
			q.Topics = []kmsg.ReadShareGroupStateRequestTopic{{TopicID: ids[orders], Partitions: []kmsg.ReadShareGroupStateRequestTopicPartition{{}}}}
			return q
		}},
		{"WriteShareGroupState", func(ids map[string][16]byte) kmsg.Request {
			q := kmsg.NewPtrWriteShareGroupStateRequest()
			q.GroupID = "share"
			q.Topics = []kmsg.WriteShareGroupStateRequestTopic{{TopicID: ids[orders],
				Partitions: []kmsg.WriteShareGroupStateRequestTopicPartition{{LeaderEpoch: -7, StateEpoch: -7}}}}
			return q
		}},
		simple(0, "DescribeShareGroupOffsets", func() *kmsg.DescribeShareGroupOffsetsRequest {
			q := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
			g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
			g.GroupID = "share"
			g.Topics = []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{{Topic: orders, Partitions: []int32{0}}, {Topic: secret, Partitions: []int32{0}}}
			q.Groups = append(q.Groups, g)
			return q
		}),
		simple(0, "DeleteShareGroupOffsets", func() *kmsg.DeleteShareGroupOffsetsRequest {
			q := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
			q.GroupID = "share-none"
			q.Topics = []kmsg.DeleteShareGroupOffsetsRequestTopic{{Topic: orders}, {Topic: secret}}
			return q
		}),
	}
}
