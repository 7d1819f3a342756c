package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// DescribeUserScramCredentials: v0 (KIP-554). Listeners have no login, so no user has credentials. It is served because
// kafka-configs asks for them whenever it describes a user, be it for the quotas alone.

func (a *API) describeUserScramCredentials(_ context.Context, c caller, req *kmsg.DescribeUserSCRAMCredentialsRequest) *kmsg.DescribeUserSCRAMCredentialsResponse {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	if !a.mayCluster(c, kmsg.ACLOperationDescribe) {
		code := kerr.ClusterAuthorizationFailed
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, nil)
		return resp
	}
	resp.ErrorMessage = kmsg.StringPtr("") // as Apache Kafka says it
	mentions := make(map[string]int, len(req.Users))
	for _, user := range req.Users {
		mentions[user.Name]++
	}
	for _, user := range req.Users {
		name, code := user.Name, kerr.ResourceNotFound
		switch mentions[name] {
		case 0: // Answered at its first mention.
			continue
		case 1:
		default:
			code = kerr.DuplicateResource
		}
		delete(mentions, name)
		out := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		out.User, out.ErrorCode, out.ErrorMessage = name, int16(code), message(code, nil)
		resp.Results = append(resp.Results, out)
	}
	return resp
}
