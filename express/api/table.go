package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/server"
	"millrace/kafka/wire"
)

// entry is one API key that is served.
type entry struct {
	min, max int16 // versions served
	listed   int16 // lowest version advertised; below min only for Produce
	handle   func(context.Context, *server.Request)
}

// newTable lists all keys that are served, with the versions of Apache Kafka 4.2. ApiVersions is derived
// from it.
func (a *API) newTable() map[int16]entry {
	same := func(low, high int16, handle func(context.Context, *server.Request)) entry {
		return entry{min: low, max: high, listed: low, handle: handle}
	}
	return map[int16]entry{
		// librdkafka sends uncompressed records to a broker that does not list Produce version 0.
		int16(kmsg.Produce):                 {min: wire.ProduceMin, max: wire.ProduceMax, listed: 0, handle: a.produce},
		int16(kmsg.Fetch):                   same(wire.FetchMin, wire.FetchMax, a.fetch),
		int16(kmsg.ListOffsets):             same(1, 11, answer(a, a.listOffsets)),
		int16(kmsg.Metadata):                same(0, 13, a.handleMetadata),
		int16(kmsg.OffsetCommit):            same(2, 10, answer(a, a.offsetCommit)),
		int16(kmsg.OffsetFetch):             same(1, 10, answer(a, a.offsetFetch)),
		int16(kmsg.FindCoordinator):         same(0, 6, answer(a, a.findCoordinator)),
		int16(kmsg.JoinGroup):               same(0, 9, answer(a, a.joinGroup)),
		int16(kmsg.Heartbeat):               same(0, 4, answer(a, a.heartbeat)),
		int16(kmsg.LeaveGroup):              same(0, 5, answer(a, a.leaveGroup)),
		int16(kmsg.SyncGroup):               same(0, 5, answer(a, a.syncGroup)),
		int16(kmsg.DescribeGroups):          same(0, 6, answer(a, a.describeGroups)),
		int16(kmsg.ListGroups):              same(0, 5, answer(a, a.listGroups)),
		int16(kmsg.SASLHandshake):           same(0, 1, a.login),
		int16(kmsg.ApiVersions):             same(0, 4, a.apiVersions),
		int16(kmsg.CreateTopics):            same(2, 7, answer(a, a.createTopics)),
		int16(kmsg.DeleteTopics):            same(1, 6, answer(a, a.deleteTopics)),
		int16(kmsg.DeleteRecords):           same(0, 2, answer(a, a.deleteRecords)),
		int16(kmsg.InitProducerID):          same(0, 5, answer(a, a.initProducerID)),
		int16(kmsg.AddPartitionsToTxn):      same(0, 5, answer(a, a.addPartitionsToTxn)),
		int16(kmsg.AddOffsetsToTxn):         same(0, 4, answer(a, a.addOffsetsToTxn)),
		int16(kmsg.EndTxn):                  same(0, 5, answer(a, a.endTxn)),
		int16(kmsg.WriteTxnMarkers):         same(1, 2, answer(a, a.writeTxnMarkers)),
		int16(kmsg.TxnOffsetCommit):         same(0, 5, answer(a, a.txnOffsetCommit)),
		int16(kmsg.DescribeTransactions):    same(0, 0, answer(a, a.describeTransactions)),
		int16(kmsg.ListTransactions):        same(0, 2, answer(a, a.listTransactions)),
		int16(kmsg.OffsetForLeaderEpoch):    same(2, 4, answer(a, a.offsetForLeaderEpoch)),
		int16(kmsg.DescribeACLs):            same(1, 3, answer(a, a.describeACLs)),
		int16(kmsg.CreateACLs):              same(1, 3, answer(a, a.createACLs)),
		int16(kmsg.DeleteACLs):              same(1, 3, answer(a, a.deleteACLs)),
		int16(kmsg.DescribeConfigs):         same(1, 4, answer(a, a.describeConfigs)),
		int16(kmsg.AlterConfigs):            same(0, 2, answer(a, a.alterConfigs)),
		int16(kmsg.DescribeLogDirs):         same(1, 4, answer(a, a.describeLogDirs)),
		int16(kmsg.SASLAuthenticate):        same(0, 2, a.login),
		int16(kmsg.CreatePartitions):        same(0, 3, answer(a, a.createPartitions)),
		int16(kmsg.DeleteGroups):            same(0, 2, answer(a, a.deleteGroups)),
		int16(kmsg.IncrementalAlterConfigs): same(0, 1, answer(a, a.incrementalAlterConfigs)),
		int16(kmsg.OffsetDelete):            same(0, 0, answer(a, a.offsetDelete)),
		int16(kmsg.AlterReplicaLogDirs):     same(1, 2, answer(a, a.alterReplicaLogDirs)),
		int16(kmsg.ElectLeaders):            same(0, 2, answer(a, a.electLeaders)),
		// The codec names 45 otherwise than Kafka.
		int16(kmsg.AlterPartitionAssignments):    same(0, 1, answer(a, a.alterPartitionReassignments)),
		int16(kmsg.ListPartitionReassignments):   same(0, 0, answer(a, a.listPartitionReassignments)),
		int16(kmsg.DescribeClientQuotas):         same(0, 1, answer(a, a.describeClientQuotas)),
		int16(kmsg.AlterClientQuotas):            same(0, 1, answer(a, a.alterClientQuotas)),
		int16(kmsg.DescribeUserSCRAMCredentials): same(0, 0, answer(a, a.describeUserScramCredentials)),
		int16(kmsg.AlterUserSCRAMCredentials):    same(0, 0, answer(a, a.alterUserScramCredentials)),
		int16(kmsg.UpdateFeatures):               same(0, 2, answer(a, a.updateFeatures)),
		int16(kmsg.DescribeCluster):              same(0, 2, answer(a, a.describeCluster)),
		int16(kmsg.DescribeProducers):            same(0, 0, answer(a, a.describeProducers)),
		int16(kmsg.ConsumerGroupHeartbeat):       same(0, 1, answer(a, a.consumerGroupHeartbeat)),
		int16(kmsg.ConsumerGroupDescribe):        same(0, 1, answer(a, a.consumerGroupDescribe)),
		int16(kmsg.ListConfigResources):          same(0, 1, answer(a, a.listConfigResources)),
		int16(kmsg.DescribeTopicPartitions):      same(0, 0, answer(a, a.describeTopicPartitions)),

		int16(kmsg.ShareGroupHeartbeat):        same(1, 1, answer(a, a.shareGroupHeartbeat)),
		int16(kmsg.ShareGroupDescribe):         same(1, 1, answer(a, a.shareGroupDescribe)),
		int16(kmsg.ShareFetch):                 same(wire.ShareFetchMin, wire.ShareFetchMax, a.shareFetch),
		int16(kmsg.ShareAcknowledge):           same(1, 2, answer(a, a.shareAcknowledge)),
		int16(kmsg.InitializeShareGroupState):  same(0, 0, answer(a, a.initializeShareGroupState)),
		int16(kmsg.ReadShareGroupState):        same(0, 0, answer(a, a.readShareGroupState)),
		int16(kmsg.WriteShareGroupState):       same(0, 1, answer(a, a.writeShareGroupState)),
		int16(kmsg.DeleteShareGroupState):      same(0, 0, answer(a, a.deleteShareGroupState)),
		int16(kmsg.ReadShareGroupStateSummary): same(0, 1, answer(a, a.readShareGroupStateSummary)),
		int16(kmsg.DescribeShareGroupOffsets):  same(0, 1, answer(a, a.describeShareGroupOffsets)),
		int16(kmsg.AlterShareGroupOffsets):     same(0, 0, answer(a, a.alterShareGroupOffsets)),
		int16(kmsg.DeleteShareGroupOffsets):    same(0, 0, answer(a, a.deleteShareGroupOffsets)),
	}
}
