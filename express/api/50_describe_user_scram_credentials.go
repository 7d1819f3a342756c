package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/users"
)

// DescribeUserScramCredentials: v0 (KIP-554). It is served without SCRAM too, because kafka-configs asks for credentials whenever it describes
// a user, be it for the quotas alone.

func (a *API) describeUserScramCredentials(_ context.Context, c caller, req *kmsg.DescribeUserSCRAMCredentialsRequest) *kmsg.DescribeUserSCRAMCredentialsResponse {
	if !a.mayCluster(c, kmsg.ACLOperationDescribe) {
		resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
		code := kerr.ClusterAuthorizationFailed
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, nil)
		for range req.Users { // without their names, as in Kafka
			out := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
			out.ErrorCode, out.ErrorMessage = int16(code), message(code, nil)
			resp.Results = append(resp.Results, out)
		}
		return resp
	}
	return users.Describe(a.world.Users, req)
}
