package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/acls"
	"millrace/kafka/kerr"
)

// DescribeAcls: v1-3. v1 prefixed patterns (KIP-290), v2 flexible, v3 the resource type USER (KIP-373).

func (a *API) describeACLs(_ context.Context, c caller, req *kmsg.DescribeACLsRequest) *kmsg.DescribeACLsResponse {
	refuse := func(code kerr.Code, text *string) *kmsg.DescribeACLsResponse {
		resp := kmsg.NewPtrDescribeACLsResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(code), text
		return resp
	}
	switch {
	case !a.mayCluster(c, kmsg.ACLOperationDescribe):
		return refuse(kerr.ClusterAuthorizationFailed, message(kerr.ClusterAuthorizationFailed, nil))
	case a.world.ACLs == nil:
		return refuse(kerr.SecurityDisabled, kmsg.StringPtr("No Authorizer is configured on the broker"))
	}
	return acls.Describe(a.world.ACLs.Snapshot(), req)
}
