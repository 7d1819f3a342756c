package logins

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/iam/action"
	"millrace/secure/iam/iamtest"
)

// txnCall is about transactions. None is open: what is allowed fails for that.
func txnCall(call iamtest.Call) (asked, bool) {
	topics, group, id := named(call, action.OnTopic), first(named(call, action.OnGroup)), first(named(call, action.OnTransactionalID))
	switch call.API {
	case "InitProducerId":
		req, on := kmsg.NewPtrInitProducerIDRequest(), call.On[0]
		if id != "" {
			req.TransactionalID, req.TransactionTimeoutMillis = &id, 60000
		}
		return asked{req, func(r kmsg.Response, c codes) { c[on] = r.(*kmsg.InitProducerIDResponse).ErrorCode }}, true
	case "AddPartitionsToTxn":
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID = id, 1<<40
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: []int32{0}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.AddPartitionsToTxnResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "AddOffsetsToTxn":
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.Group = id, 1<<40, group
		return asked{req, func(r kmsg.Response, c codes) { c.group(group, r.(*kmsg.AddOffsetsToTxnResponse).ErrorCode) }}, true
	case "TxnOffsetCommit":
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.ProducerID, req.Group = id, 1<<40, group
		for _, name := range topics {
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			req.Topics = append(req.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.TxnOffsetCommitResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "EndTxn":
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID = id, 1<<40
		return asked{req, func(r kmsg.Response, c codes) { c.txn(id, r.(*kmsg.EndTxnResponse).ErrorCode) }}, true
	case "DescribeTransactions":
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = named(call, action.OnTransactionalID)
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.DescribeTransactionsResponse).TransactionStates {
				c.txn(t.TransactionalID, t.ErrorCode)
			}
		}}, true
	}
	return asked{}, false
}

// configured is what a setting is of.
func configured(on iamtest.On) (kmsg.ConfigResourceType, string) {
	if on.Kind == action.OnCluster {
		return kmsg.ConfigResourceTypeBroker, ""
	}
	return kmsg.ConfigResourceTypeTopic, on.Name
}

func (c codes) config(kind kmsg.ConfigResourceType, name string, code int16) {
	if kind == kmsg.ConfigResourceTypeBroker {
		c.cluster(code)
		return
	}
	c.topic(name, code)
}

// clusterCall is about settings, and the cluster as such.
func clusterCall(call iamtest.Call) (asked, bool) {
	value := "60000"
	switch call.API {
	case "DescribeConfigs":
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, on := range call.On {
			kind, name := configured(on)
			req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kind, ResourceName: name})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.DescribeConfigsResponse).Resources {
				c.config(t.ResourceType, t.ResourceName, t.ErrorCode)
			}
		}}, true
	case "IncrementalAlterConfigs":
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.ValidateOnly = true
		for _, on := range call.On {
			kind, name := configured(on)
			one := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "segment.ms", Value: &value}
			if on.Kind == action.OnCluster {
				one.Name = "log.roll.ms"
			}
			req.Resources = append(req.Resources, kmsg.IncrementalAlterConfigsRequestResource{
				ResourceType: kind, ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{one},
			})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.IncrementalAlterConfigsResponse).Resources {
				c.config(t.ResourceType, t.ResourceName, t.ErrorCode)
			}
		}}, true
	case "AlterConfigs":
		req := kmsg.NewPtrAlterConfigsRequest()
		req.ValidateOnly = true
		for _, on := range call.On {
			kind, name := configured(on)
			req.Resources = append(req.Resources, kmsg.AlterConfigsRequestResource{ResourceType: kind, ResourceName: name})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.AlterConfigsResponse).Resources {
				c.config(t.ResourceType, t.ResourceName, t.ErrorCode)
			}
		}}, true
	case "DescribeAcls":
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
		req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		return asked{req, func(r kmsg.Response, c codes) { c.cluster(r.(*kmsg.DescribeACLsResponse).ErrorCode) }}, true
	case "CreateAcls":
		req := kmsg.NewPtrCreateACLsRequest() // about nobody
		req.Creations = []kmsg.CreateACLsRequestCreation{{
			ResourceType: kmsg.ACLResourceTypeTopic, ResourceName: "nowhere", ResourcePatternType: kmsg.ACLResourcePatternTypeLiteral,
			Principal: "User:nobody", Host: "*", Operation: kmsg.ACLOperationRead, PermissionType: kmsg.ACLPermissionTypeAllow,
		}}
		return asked{req, func(r kmsg.Response, c codes) { c.cluster(r.(*kmsg.CreateACLsResponse).Results[0].ErrorCode) }}, true
	case "DescribeLogDirs":
		return asked{kmsg.NewPtrDescribeLogDirsRequest(), func(r kmsg.Response, c codes) { c.cluster(r.(*kmsg.DescribeLogDirsResponse).ErrorCode) }}, true
	case "DescribeClientQuotas":
		return asked{kmsg.NewPtrDescribeClientQuotasRequest(), func(r kmsg.Response, c codes) { c.cluster(r.(*kmsg.DescribeClientQuotasResponse).ErrorCode) }}, true
	case "AlterClientQuotas":
		req, who := kmsg.NewPtrAlterClientQuotasRequest(), "nobody"
		req.ValidateOnly = true
		req.Entries = []kmsg.AlterClientQuotasRequestEntry{{
			Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &who}},
			Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1e6}},
		}}
		return asked{req, func(r kmsg.Response, c codes) { c.cluster(r.(*kmsg.AlterClientQuotasResponse).Entries[0].ErrorCode) }}, true
	case "ElectLeaders":
		req := kmsg.NewPtrElectLeadersRequest()
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "nowhere", Partitions: []int32{0}}}
		return asked{req, func(r kmsg.Response, c codes) { c.cluster(r.(*kmsg.ElectLeadersResponse).ErrorCode) }}, true
	case "ListPartitionReassignments":
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.TimeoutMillis = 5000
		return asked{req, func(r kmsg.Response, c codes) { c.cluster(r.(*kmsg.ListPartitionReassignmentsResponse).ErrorCode) }}, true
	}
	return asked{}, false
}
