package api

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/acls"
	"millrace/kafka/kerr"
	"millrace/secure/acl"
)

// DeleteAcls: v1-3. v1 prefixed patterns (KIP-290), v2 flexible, v3 the resource type USER (KIP-373).

func (a *API) deleteACLs(ctx context.Context, c caller, req *kmsg.DeleteACLsRequest) *kmsg.DeleteACLsResponse {
	ctx, cancel := withTimeout(ctx, int32(timeoutMost.Milliseconds()))
	defer cancel()
	switch {
	case !a.mayCluster(c, kmsg.ACLOperationAlter):
		return acls.RefusedDelete(req, kerr.ClusterAuthorizationFailed, message(kerr.ClusterAuthorizationFailed, nil))
	case a.world.ACLs == nil:
		return acls.RefusedDelete(req, kerr.SecurityDisabled, kmsg.StringPtr(acls.NoAuthorizer))
	}
	resp, deleted, err := acls.Delete(ctx, a.world.ACLs, req)
	if err != nil {
		code := a.code(err)
		return acls.RefusedDelete(req, code, message(code, nil))
	}
	seen := map[acl.Binding]bool{}
	for _, d := range deleted {
		for _, b := range d.Bindings {
			if !seen[b] {
				seen[b] = true
				a.recordAdmin(c, change{resource: aclResource(b), before: b})
			}
		}
	}
	return resp
}

// aclResource is what an ACL is about, for the trail.
func aclResource(b acl.Binding) string {
	return "acl/" + strings.ToLower(b.Resource.String()) + "/" + clip(b.Name)
}
