package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// WriteShareGroupState: v0-1 (KIP-932). v1 how many records are done (KIP-1226). Sent by the leader of a share-partition.

func (a *API) writeShareGroupState(
	ctx context.Context, c caller, req *kmsg.WriteShareGroupStateRequest,
) *kmsg.WriteShareGroupStateResponse {
	return a.world.ShareState.WriteShareGroupState(ctx, req, a.refuseBroker(c))
}
