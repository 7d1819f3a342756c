package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteShareGroupState: v0 (KIP-932). Sent by the coordinator of a group.

func (a *API) deleteShareGroupState(
	ctx context.Context, c caller, req *kmsg.DeleteShareGroupStateRequest,
) *kmsg.DeleteShareGroupStateResponse {
	return a.world.ShareState.DeleteShareGroupState(ctx, req, a.refuseBroker(c))
}
