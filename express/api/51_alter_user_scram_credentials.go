package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/users"
)

// AlterUserScramCredentials: v0 (KIP-554). It brings salted passwords, of which only the keys are kept.

func (a *API) alterUserScramCredentials(ctx context.Context, c caller, req *kmsg.AlterUserSCRAMCredentialsRequest) *kmsg.AlterUserSCRAMCredentialsResponse {
	ctx, cancel := withTimeout(ctx, int32(timeoutMost.Milliseconds()))
	defer cancel()
	var refused error
	if !a.mayCluster(c, kmsg.ACLOperationAlter) {
		refused = kerr.ClusterAuthorizationFailed
	}
	results := users.Alter(ctx, a.world.Users, req, refused)
	for _, r := range results {
		if r.Err != nil {
			_ = a.code(r.Err) // counts it
		}
		var after any
		if r.Told != nil {
			after = r.Told
		}
		a.recordAdmin(c, change{resource: "scram-user/" + clip(r.User), after: after, err: r.Err})
	}
	return users.Response(results)
}
