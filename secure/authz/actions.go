package authz

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/iam/action"
)

// Action gives the action of kafka-cluster that stands for an operation of Kafka on a type of resource. It reports false where there
// is none: nobody who logged in by IAM may do that.
//
// Group configurations count as the group's own: DescribeGroup and AlterGroup; CLUSTER_ACTION is what brokers do among
// themselves, and WriteTxnMarkers since Kafka 3.8 also with ALTER, so no action stands for it.
func Action(op kmsg.ACLOperation, resource kmsg.ACLResourceType) (name string, ok bool) {
	a, ok := actionOf(op, resource)
	return string(a), ok
}

func actionOf(op kmsg.ACLOperation, resource kmsg.ACLResourceType) (a action.Action, ok bool) {
	switch resource {
	case kmsg.ACLResourceTypeCluster:
		return clusterAction(op)
	case kmsg.ACLResourceTypeTopic:
		return topicAction(op)
	case kmsg.ACLResourceTypeGroup:
		switch op {
		case kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs:
			return action.DescribeGroup, true
		case kmsg.ACLOperationRead, kmsg.ACLOperationAlter, kmsg.ACLOperationAlterConfigs:
			return action.AlterGroup, true
		case kmsg.ACLOperationDelete:
			return action.DeleteGroup, true
		default:
			return "", false
		}
	case kmsg.ACLResourceTypeTransactionalId:
		switch op {
		case kmsg.ACLOperationDescribe:
			return action.DescribeTransactionalID, true
		case kmsg.ACLOperationWrite:
			return action.AlterTransactionalID, true
		default:
			return "", false
		}
	default:
		return "", false
	}
}

func clusterAction(op kmsg.ACLOperation) (action.Action, bool) {
	switch op {
	case kmsg.ACLOperationDescribe:
		return action.DescribeCluster, true
	case kmsg.ACLOperationAlter:
		return action.AlterCluster, true
	case kmsg.ACLOperationDescribeConfigs:
		return action.DescribeClusterDynamicConfiguration, true
	case kmsg.ACLOperationAlterConfigs:
		return action.AlterClusterDynamicConfiguration, true
	case kmsg.ACLOperationIdempotentWrite:
		return action.WriteDataIdempotently, true
	default:
		return "", false
	}
}

func topicAction(op kmsg.ACLOperation) (action.Action, bool) {
	switch op {
	case kmsg.ACLOperationCreate:
		return action.CreateTopic, true
	case kmsg.ACLOperationDescribe:
		return action.DescribeTopic, true
	case kmsg.ACLOperationAlter:
		return action.AlterTopic, true
	case kmsg.ACLOperationDelete:
		return action.DeleteTopic, true
	case kmsg.ACLOperationDescribeConfigs:
		return action.DescribeTopicDynamicConfiguration, true
	case kmsg.ACLOperationAlterConfigs:
		return action.AlterTopicDynamicConfiguration, true
	case kmsg.ACLOperationRead:
		return action.ReadData, true
	case kmsg.ACLOperationWrite:
		return action.WriteData, true
	default:
		return "", false
	}
}

// Needs gives the action on the same resource that an action does not count without; "" where there is none. Beside it all need
// Connect on the cluster. What they need on other resources (ReadData: AlterGroup; WriteDataIdempotently: WriteData) the requests for
// these ask for.
func Needs(name string) string { return string(needs(action.Action(name))) }

func needs(a action.Action) action.Action {
	switch a {
	case action.AlterCluster:
		return action.DescribeCluster
	case action.AlterClusterDynamicConfiguration:
		return action.DescribeClusterDynamicConfiguration
	case action.AlterTopic, action.DeleteTopic, action.ReadData, action.WriteData:
		return action.DescribeTopic
	case action.AlterTopicDynamicConfiguration:
		return action.DescribeTopicDynamicConfiguration
	case action.AlterGroup, action.DeleteGroup:
		return action.DescribeGroup
	case action.AlterTransactionalID:
		return action.DescribeTransactionalID
	default:
		return ""
	}
}

// arns builds the ARNs of what is in a cluster.
type arns struct {
	cluster                   string
	topic, group, transaction string // what these begin with
}

// newARNs takes arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID. The zero value is for a cluster without an ARN.
func newARNs(cluster string) (arns, error) {
	if cluster == "" {
		return arns{}, nil
	}
	head, path, ok := strings.Cut(cluster, ":cluster/")
	name, id, ok2 := strings.Cut(path, "/")
	if !ok || !ok2 || name == "" || id == "" || strings.Contains(id, "/") || strings.Count(head, ":") != 4 {
		return arns{}, fmt.Errorf("%w: ClusterARN %q is not arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID", ErrConfig, cluster)
	}
	return arns{
		cluster: cluster,
		topic:   head + ":topic/" + path + "/", group: head + ":group/" + path + "/", transaction: head + ":transactional-id/" + path + "/",
	}, nil
}

// of gives the ARN of a resource; "" where it has none.
func (a arns) of(resource kmsg.ACLResourceType, name string) string {
	switch resource {
	case kmsg.ACLResourceTypeCluster:
		return a.cluster
	case kmsg.ACLResourceTypeTopic:
		return a.topic + name
	case kmsg.ACLResourceTypeGroup:
		return a.group + name
	case kmsg.ACLResourceTypeTransactionalId:
		return a.transaction + name
	default:
		return ""
	}
}
