package api

import (
	"context"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/partition"
	"millrace/kafka/kerr"
)

// ListOffsets: v1-11.
//
//   - v2 isolation level, v4 leader epochs (KIP-320), v6 flexible
//   - v7 the largest timestamp (KIP-734), v8 the local log start (KIP-405), v9 the last tiered offset
//     (KIP-1005), v10 timeout (KIP-1075), v11 the earliest offset still to be uploaded
//
// An express broker has one tier that clients can see: everything counts as local, nothing as tiered.

// Timestamps with a meaning of their own.
const (
	latest           int64 = -1
	earliest         int64 = -2
	maxTimestamp     int64 = -3 // v7
	earliestLocal    int64 = -4 // v8
	latestTiered     int64 = -5 // v9
	earliestToUpload int64 = -6 // v11
)

// sinceVersion is the first version in which a special timestamp means something.
func sinceVersion(timestamp int64) int16 {
	switch timestamp {
	case maxTimestamp:
		return 7
	case earliestLocal:
		return 8
	case latestTiered:
		return 9
	case earliestToUpload:
		return 11
	default:
		if timestamp < earliestToUpload {
			return math.MaxInt16 // none yet
		}
		return 0
	}
}

func (a *API) listOffsets(ctx context.Context, c caller, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := kmsg.NewPtrListOffsetsResponse()
	type key struct {
		topic string
		index int32
	}
	times := make(map[key]int)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			times[key{t.Topic, p.Partition}]++
		}
	}
	for _, t := range req.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		allowed := a.mayTopic(c, kmsg.ACLOperationDescribe, t.Topic)
		for _, in := range t.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = in.Partition
			var found partition.Found
			var err error
			switch {
			case !allowed:
				err = kerr.TopicAuthorizationFailed
			case times[key{t.Topic, in.Partition}] > 1:
				err = kerr.InvalidRequest
			default:
				found, err = a.listOffset(ctx, req, t.Topic, in)
			}
			if err == nil && !a.world.Leads() {
				err = kerr.NotLeaderOrFollower // another may lead since, and have acknowledged more
			}
			if err != nil {
				p.ErrorCode = int16(a.code(err))
				found = partition.Found{Offset: -1, Timestamp: -1, Epoch: -1}
			}
			p.Offset, p.Timestamp, p.LeaderEpoch = found.Offset, found.Timestamp, found.Epoch
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// listOffset answers for one partition.
func (a *API) listOffset(ctx context.Context, req *kmsg.ListOffsetsRequest, name string, in kmsg.ListOffsetsRequestTopicPartition) (partition.Found, error) {
	none := partition.Found{Offset: -1, Timestamp: -1, Epoch: -1}
	if req.Version < sinceVersion(in.Timestamp) {
		return none, fmt.Errorf("%w: timestamp %d", kerr.UnsupportedVersion, in.Timestamp)
	}
	p, code := a.findByName(name, in.Partition)
	if code != kerr.None {
		return none, code
	}
	if req.Version >= 4 {
		if err := p.CheckEpoch(in.CurrentLeaderEpoch); err != nil {
			return none, err
		}
	}
	committed := req.IsolationLevel == 1
	o := p.Offsets()
	switch in.Timestamp {
	case latest:
		end := o.HW
		if committed {
			end = o.LSO
		}
		return partition.Found{Offset: end, Timestamp: -1, Epoch: o.Epoch}, nil
	case earliest, earliestLocal:
		return partition.Found{Offset: o.LogStart, Timestamp: -1, Epoch: p.EpochAt(o.LogStart)}, nil
	case maxTimestamp:
		return p.OffsetOfMaxTime(ctx)
	case latestTiered, earliestToUpload:
		return none, nil
	default:
		return p.OffsetForTime(ctx, in.Timestamp, committed)
	}
}
