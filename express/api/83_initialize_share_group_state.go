package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitializeShareGroupState: v0 (KIP-932). Sent by the coordinator of a group.

func (a *API) initializeShareGroupState(
	ctx context.Context, c caller, req *kmsg.InitializeShareGroupStateRequest,
) *kmsg.InitializeShareGroupStateResponse {
	return a.world.ShareState.InitializeShareGroupState(ctx, req, a.refuseBroker(c))
}
