package gateway

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// clusterRules are the keys about the cluster as a whole: its ACLs, users, quotas, features, replicas. They pass to those who may; what is
// in the cluster's ACLs counts for who reaches the brokers without the gateway.
func clusterRules(reading, changing adder) {
	reading(kmsg.DescribeACLs, 1, 3, clusterOnly(opDescribe, topError))
	changing(kmsg.CreateACLs, 1, 3, on(createACLs))
	changing(kmsg.DeleteACLs, 1, 3, on(deleteACLs))
	reading(kmsg.DescribeUserSCRAMCredentials, 0, 0, clusterOnly(opDescribe, topError))
	changing(kmsg.AlterUserSCRAMCredentials, 0, 0, on(alterUserSCRAM))
	reading(kmsg.DescribeClientQuotas, 0, 1, clusterOnly(opDescribeConfigs, topError))
	changing(kmsg.AlterClientQuotas, 0, 1, clusterOnly(opAlterConfigs, mirrored))
	reading(kmsg.ListConfigResources, 0, 1, clusterOnly(opDescribeConfigs, topError))
	changing(kmsg.UpdateFeatures, 0, 2, clusterOnly(opAlter, topError))
	reading(kmsg.DescribeLogDirs, 1, 4, clusterOnly(opDescribe, describeLogDirsRefused))
	changing(kmsg.AlterReplicaLogDirs, 1, 2, on(alterReplicaLogDirs))
	changing(kmsg.ElectLeaders, 0, 2, clusterOnly(opAlter, mirrored))
	changing(kmsg.AlterPartitionAssignments, 0, 1, clusterOnly(opAlter, topError))
	reading(kmsg.ListPartitionReassignments, 0, 0, clusterOnly(opDescribe, topError))
	reading(kmsg.DescribeQuorum, 0, 1, clusterOnly(opDescribe, topError)) // from version 2 on it tells where controllers are
	changing(kmsg.UnregisterBroker, 0, 0, clusterOnly(opAlter, topError))
	// Clients tell of themselves only.
	free := func(context.Context, *call, kmsg.Request) verdict { return verdict{} }
	reading(kmsg.GetTelemetrySubscriptions, 0, 0, free)
	reading(kmsg.PushTelemetry, 0, 0, free)
}

// describeLogDirsRefused is without directories; before version 3 there is no place for the code.
func describeLogDirsRefused(req kmsg.Request, code kerr.Code) verdict {
	v := topError(req, code)
	if req.GetVersion() < 3 {
		v.answer.(*kmsg.DescribeLogDirsResponse).ErrorCode = 0
	}
	return v
}

func createACLs(_ context.Context, c *call, req *kmsg.CreateACLsRequest) verdict {
	if c.mayCluster(opAlter) {
		return verdict{}
	}
	resp := kmsg.NewPtrCreateACLsResponse()
	for range req.Creations {
		r := kmsg.NewCreateACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = int16(kerr.ClusterAuthorizationFailed), text(kerr.ClusterAuthorizationFailed)
		resp.Results = append(resp.Results, r)
	}
	return verdict{answer: resp}
}

func deleteACLs(_ context.Context, c *call, req *kmsg.DeleteACLsRequest) verdict {
	if c.mayCluster(opAlter) {
		return verdict{}
	}
	resp := kmsg.NewPtrDeleteACLsResponse()
	for range req.Filters {
		r := kmsg.NewDeleteACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = int16(kerr.ClusterAuthorizationFailed), text(kerr.ClusterAuthorizationFailed)
		resp.Results = append(resp.Results, r)
	}
	return verdict{answer: resp}
}

func alterUserSCRAM(_ context.Context, c *call, req *kmsg.AlterUserSCRAMCredentialsRequest) verdict {
	if c.mayCluster(opAlter) {
		return verdict{}
	}
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	named := map[string]bool{}
	add := func(user string) {
		if named[user] {
			return
		}
		named[user] = true
		r := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		r.User, r.ErrorCode, r.ErrorMessage = user, int16(kerr.ClusterAuthorizationFailed), text(kerr.ClusterAuthorizationFailed)
		resp.Results = append(resp.Results, r)
	}
	for _, d := range req.Deletions {
		add(d.Name)
	}
	for _, u := range req.Upsertions {
		add(u.Name)
	}
	return verdict{answer: resp}
}

func alterReplicaLogDirs(_ context.Context, c *call, req *kmsg.AlterReplicaLogDirsRequest) verdict {
	if c.mayCluster(opAlter) {
		return verdict{}
	}
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	for i := range req.Dirs {
		for j := range req.Dirs[i].Topics {
			resp.Topics = append(resp.Topics, mirrorOf[kmsg.AlterReplicaLogDirsResponseTopic](&req.Dirs[i].Topics[j], kerr.ClusterAuthorizationFailed))
		}
	}
	return verdict{answer: resp}
}
