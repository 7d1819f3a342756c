package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadShareGroupState: v0 (KIP-932). Sent by the leader of a share-partition, which fences the leaders before it.

func (a *API) readShareGroupState(
	ctx context.Context, c caller, req *kmsg.ReadShareGroupStateRequest,
) *kmsg.ReadShareGroupStateResponse {
	return a.world.ShareState.ReadShareGroupState(ctx, req, a.refuseBroker(c))
}
