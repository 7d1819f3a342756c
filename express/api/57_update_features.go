package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// UpdateFeatures: v0-2 (KIP-584).
//
//   - v1 type of the change instead of a permission to downgrade, and validation only (KIP-778)
//   - v2 answers for the request as a whole (KIP-1022)
//
// The levels of features come with the program: a change to the level that is in force succeeds, and no other does.

// Types of changes.
const (
	changeUpgrade         int8 = 1
	changeSafeDowngrade   int8 = 2
	changeUnsafeDowngrade int8 = 3
)

func (a *API) updateFeatures(_ context.Context, c caller, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	if !a.mayCluster(c, kmsg.ACLOperationAlter) {
		code := kerr.ClusterAuthorizationFailed
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, nil)
		return resp
	}
	all := features()
	for _, u := range req.FeatureUpdates {
		kind := u.UpgradeType
		if req.Version == 0 {
			kind = changeUpgrade // whatever it permits, as in Kafka
		}
		if why := changeFeature(all, u.Feature, u.MaxVersionLevel, kind, a.catalog.Controller()); why != "" {
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

// changeFeature says why a feature cannot be brought to a level, in Kafka's words; nothing if it is there.
func changeFeature(all []feature, name string, level int16, kind int8, controller int32) string {
	invalid := func(format string, args ...any) string {
		return fmt.Sprintf("Invalid update version %d for feature %s. ", level, clip(name)) + fmt.Sprintf(format, args...)
	}
	at := slices.IndexFunc(all, func(f feature) bool { return f.name == name })
	switch {
	case kind < changeUpgrade || kind > changeUnsafeDowngrade:
		return invalid("The controller does not support the given upgrade type.")
	case level < 0:
		return invalid("A feature version cannot be less than 0.")
	case at < 0 && level == 0:
		return invalid("Feature %s not found.", clip(name))
	case at < 0:
		return invalid("Local controller %d does not support this feature.", controller)
	}
	f := all[at]
	switch {
	case level < f.min || level > f.max:
		return invalid("Local controller %d only supports versions %d-%d", controller, f.min, f.max)
	case level == f.finalized:
		return ""
	case level < f.finalized && kind == changeUpgrade:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case level > f.finalized && kind != changeUpgrade:
		return invalid("Can't downgrade to a newer version.")
	case level > f.finalized || name != "metadata.version":
		return invalid("The level of this feature comes with the program and stays at %d.", f.finalized)
	case kind == changeSafeDowngrade:
		return fmt.Sprintf("Unsupported metadata.version downgrade from %d to %d. "+
			"Refusing to perform the requested downgrade because it might delete metadata information.", f.finalized, level)
	default:
		return fmt.Sprintf("Unsupported metadata.version downgrade from %d to %d. "+
			"Unsafe metadata downgrade is not supported in this version.", f.finalized, level)
	}
}

// clip keeps a hostile text from filling answers.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
