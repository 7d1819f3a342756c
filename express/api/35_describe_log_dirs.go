package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// DescribeLogDirs: v1-4. v2 flexible, v3 an error of the whole request, v4 size of the volume (KIP-827).
//
// A broker has one directory. It shows the partitions that it owns.

func (a *API) describeLogDirs(_ context.Context, c caller, req *kmsg.DescribeLogDirsRequest) *kmsg.DescribeLogDirsResponse {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	if !a.mayCluster(c, kmsg.ACLOperationDescribe) {
		resp.ErrorCode = int16(kerr.ClusterAuthorizationFailed)
		return resp
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = a.cfg.LogDir
	dir.TotalBytes, dir.UsableBytes = a.world.Volume()
	if req.Topics == nil {
		for _, t := range a.catalog.Topics() {
			dir.Topics = appendLogDirTopic(dir.Topics, a.logDirTopic(t, nil))
		}
	}
	wanted := make(map[string]map[int32]bool, len(req.Topics))
	var order []string
	for _, t := range req.Topics {
		if wanted[t.Topic] == nil {
			wanted[t.Topic] = make(map[int32]bool)
			order = append(order, t.Topic)
		}
		for _, index := range t.Partitions {
			wanted[t.Topic][index] = true
		}
	}
	for _, name := range order {
		if t, ok := a.catalog.Topic(name); ok {
			dir.Topics = appendLogDirTopic(dir.Topics, a.logDirTopic(t, wanted[name]))
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp
}

// logDirTopic lists the partitions of a topic that are served here; wanted nil means all.
func (a *API) logDirTopic(t *catalog.Topic, wanted map[int32]bool) kmsg.DescribeLogDirsResponseDirTopic {
	out := kmsg.NewDescribeLogDirsResponseDirTopic()
	out.Topic = t.Name
	for i := range t.Partitions {
		index := int32(i)
		if wanted != nil && !wanted[index] {
			continue
		}
		if p, code := a.find(t, index); code == kerr.None {
			part := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			part.Partition, part.Size = index, p.Size()
			out.Partitions = append(out.Partitions, part)
		}
	}
	return out
}

func appendLogDirTopic(topics []kmsg.DescribeLogDirsResponseDirTopic, t kmsg.DescribeLogDirsResponseDirTopic) []kmsg.DescribeLogDirsResponseDirTopic {
	if len(t.Partitions) == 0 {
		return topics
	}
	return append(topics, t)
}
