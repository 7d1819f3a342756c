package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// ListPartitionReassignments: v0 (KIP-455). There is never one in progress.

func (a *API) listPartitionReassignments(_ context.Context, c caller, _ *kmsg.ListPartitionReassignmentsRequest) *kmsg.ListPartitionReassignmentsResponse {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	if !a.mayCluster(c, kmsg.ACLOperationDescribe) {
		code := kerr.ClusterAuthorizationFailed
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, nil)
	}
	return resp
}
