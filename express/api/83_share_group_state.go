package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Keys 83 to 87 (KIP-932) keep the states of share-partitions. Brokers send them to one another, and no client may.

// initializeShareGroupState is InitializeShareGroupState, v0 (KIP-932). Sent by the coordinator of a group.
func (a *API) initializeShareGroupState(
	ctx context.Context, c caller, req *kmsg.InitializeShareGroupStateRequest,
) *kmsg.InitializeShareGroupStateResponse {
	return a.world.ShareState.InitializeShareGroupState(ctx, req, a.refuseBroker(c))
}

// readShareGroupState is ReadShareGroupState, v0 (KIP-932). Sent by the leader of a share-partition, which fences the leaders before it.
func (a *API) readShareGroupState(
	ctx context.Context, c caller, req *kmsg.ReadShareGroupStateRequest,
) *kmsg.ReadShareGroupStateResponse {
	return a.world.ShareState.ReadShareGroupState(ctx, req, a.refuseBroker(c))
}

// writeShareGroupState is WriteShareGroupState, v0-1 (KIP-932). v1 how many records are done (KIP-1226). Sent by the leader of a share-partition.
func (a *API) writeShareGroupState(
	ctx context.Context, c caller, req *kmsg.WriteShareGroupStateRequest,
) *kmsg.WriteShareGroupStateResponse {
	return a.world.ShareState.WriteShareGroupState(ctx, req, a.refuseBroker(c))
}

// deleteShareGroupState is DeleteShareGroupState, v0 (KIP-932). Sent by the coordinator of a group.
func (a *API) deleteShareGroupState(
	ctx context.Context, c caller, req *kmsg.DeleteShareGroupStateRequest,
) *kmsg.DeleteShareGroupStateResponse {
	return a.world.ShareState.DeleteShareGroupState(ctx, req, a.refuseBroker(c))
}

// readShareGroupStateSummary is ReadShareGroupStateSummary, v0-1 (KIP-932). v1 how many records are done (KIP-1226). Sent by the coordinator of a group.
func (a *API) readShareGroupStateSummary(
	ctx context.Context, c caller, req *kmsg.ReadShareGroupStateSummaryRequest,
) *kmsg.ReadShareGroupStateSummaryResponse {
	return a.world.ShareState.ReadShareGroupStateSummary(ctx, req, a.refuseBroker(c))
}
