package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/acls"
	"millrace/kafka/kerr"
)

// CreateAcls: v1-3. v1 prefixed patterns (KIP-290), v2 flexible, v3 the resource type USER (KIP-373).

func (a *API) createACLs(ctx context.Context, c caller, req *kmsg.CreateACLsRequest) *kmsg.CreateACLsResponse {
	ctx, cancel := withTimeout(ctx, int32(timeoutMost.Milliseconds()))
	defer cancel()
	switch {
	case !a.mayCluster(c, kmsg.ACLOperationAlter):
		return acls.RefusedCreate(req, kerr.ClusterAuthorizationFailed, message(kerr.ClusterAuthorizationFailed, nil))
	case a.world.ACLs == nil:
		return acls.RefusedCreate(req, kerr.SecurityDisabled, kmsg.StringPtr(acls.NoAuthorizer))
	case acls.FiltersOnly(req):
		return acls.RefusedCreate(req, kerr.UnknownServerError, message(kerr.UnknownServerError, nil))
	}
	resp, errs, err := acls.Create(ctx, a.world.ACLs, req)
	if err != nil {
		code := a.code(err)
		return acls.RefusedCreate(req, code, message(code, nil))
	}
	for i, b := range acls.Bindings(req) {
		a.recordAdmin(c, change{resource: aclResource(b), after: b, err: errs[i]})
	}
	return resp
}
