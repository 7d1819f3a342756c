package api

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// WriteTxnMarkers: v1-2.
//
//   - v1 flexible, v2 the version of the transaction (KIP-1228)
//
// Coordinators send it to the owners of partitions, and administrators to end a transaction that nobody ends.

// markersAtOnce bounds the markers of one request that are written at a time.
const markersAtOnce = 64

func (a *API) writeTxnMarkers(ctx context.Context, c caller, req *kmsg.WriteTxnMarkersRequest) *kmsg.WriteTxnMarkersResponse {
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	allowed := a.mayCluster(c.looking(), kmsg.ACLOperationAlter) || a.mayCluster(c, kmsg.ACLOperationClusterAction)
	slots := make(chan struct{}, markersAtOnce)
	var writing sync.WaitGroup
	for _, m := range req.Markers {
		marker := machine.Marker{
			Producer: machine.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch}, Commit: m.Committed, CoordinatorEpoch: m.CoordinatorEpoch,
			TransactionVersion: int16(m.TransactionVersion),
		}
		out := kmsg.NewWriteTxnMarkersResponseMarker()
		out.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			partitions := make([]kmsg.WriteTxnMarkersResponseMarkerTopicPartition, len(t.Partitions))
			for i, p := range t.Partitions {
				partitions[i].Partition = p
				if !allowed {
					partitions[i].ErrorCode = int16(kerr.ClusterAuthorizationFailed)
					continue
				}
				slots <- struct{}{}
				writing.Go(func() {
					partitions[i].ErrorCode = int16(a.writeMarker(ctx, machine.TopicPartition{Topic: t.Topic, Partition: p}, marker))
					<-slots
				})
			}
			out.Topics = append(out.Topics, kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: t.Topic, Partitions: partitions})
		}
		resp.Markers = append(resp.Markers, out)
	}
	writing.Wait()
	return resp
}

func (a *API) writeMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker) kerr.Code {
	switch {
	case m.ID < 0 || m.Epoch < 0:
		return kerr.InvalidRequest
	case !a.exists(tp):
		return kerr.UnknownTopicOrPartition
	}
	switch code := a.code(a.world.Markers.WriteMarker(ctx, tp, m)); code {
	case kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator:
		return kerr.NotLeaderOrFollower // of a group; the sender retries what it knows
	default:
		return code
	}
}
