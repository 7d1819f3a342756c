package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadShareGroupStateSummary: v0-1 (KIP-932). v1 how many records are done (KIP-1226). Sent by the coordinator of a group.

func (a *API) readShareGroupStateSummary(
	ctx context.Context, c caller, req *kmsg.ReadShareGroupStateSummaryRequest,
) *kmsg.ReadShareGroupStateSummaryResponse {
	return a.world.ShareState.ReadShareGroupStateSummary(ctx, req, a.refuseBroker(c))
}
