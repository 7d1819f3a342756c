package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/features"
	"millrace/kafka/kerr"
)

// UpdateFeatures: v0-2 (KIP-584).
//
//   - v1 type of the change instead of a permission to downgrade, and validation only (KIP-778)
//   - v2 answers for the request as a whole (KIP-1022)
//
// The levels of features come with the program: a change to the level that is in force succeeds, and no other does.

func (a *API) updateFeatures(_ context.Context, c caller, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	if !a.mayCluster(c, kmsg.ACLOperationAlter) {
		code := kerr.ClusterAuthorizationFailed
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, nil)
		return resp
	}
	all := features.All()
	for _, u := range req.FeatureUpdates {
		kind := u.UpgradeType
		if req.Version == 0 {
			kind = features.Upgrade // whatever it permits, as in Kafka
		}
		if why := features.Change(all, u.Feature, u.MaxVersionLevel, kind, a.catalog.Controller()); why != "" {
			resp.ErrorCode = int16(kerr.InvalidUpdateVersion)
			resp.ErrorMessage = kmsg.StringPtr("The update failed for all features since the following feature had an error: " + why)
			resp.Results = nil
			return resp
		}
		if req.Version < 2 {
			out := kmsg.NewUpdateFeaturesResponseResult()
			out.Feature, out.ErrorMessage = u.Feature, kmsg.StringPtr("NONE")
			resp.Results = append(resp.Results, out)
		}
	}
	return resp
}

// clip keeps a hostile text from filling answers.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
