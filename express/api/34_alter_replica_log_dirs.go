package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// AlterReplicaLogDirs: v1-2. v2 flexible.
//
// A broker has one directory, where its partitions are already.

func (a *API) alterReplicaLogDirs(_ context.Context, c caller, req *kmsg.AlterReplicaLogDirsRequest) *kmsg.AlterReplicaLogDirsResponse {
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	allowed := a.mayCluster(c, kmsg.ACLOperationAlter)
	for _, dir := range req.Dirs {
		for _, in := range dir.Topics {
			out := kmsg.NewAlterReplicaLogDirsResponseTopic()
			out.Topic = in.Topic
			for _, index := range in.Partitions {
				var code kerr.Code
				switch {
				case !allowed:
					code = kerr.ClusterAuthorizationFailed
				case dir.Dir != a.cfg.LogDir:
					code = kerr.LogDirNotFound
				default:
					_, code = a.findByName(in.Topic, index)
				}
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition, p.ErrorCode = index, int16(code)
				out.Partitions = append(out.Partitions, p)
			}
			resp.Topics = append(resp.Topics, out)
		}
	}
	return resp
}
