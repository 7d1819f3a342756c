// Package features is what clients may rely on by name and level, and the rules by which levels change, which here they do not.
//
// Flow: All -> ApiVersions. A change that is asked for -> Change -> what is wrong with it.
//
// All functions are pure. Files: features.go.
package features

import (
	"fmt"
	"slices"

	"millrace/express/settings"
)

// Feature is a cluster feature that ApiVersions tells of (KIP-584).
type Feature struct {
	Name      string
	Min, Max  int16 // supported
	Finalized int16 // in force
}

// All lists what clients may rely on, a line for each: ApiVersions shows it, UpdateFeatures goes by it. streams.version
// comes here once it is served: clients turn the protocol on when they see it. kraft.version and
// eligible.leader.replicas.version do not: there is neither here.
func All() []Feature {
	return []Feature{
		{Name: "group.version", Min: 0, Max: 1, Finalized: 1},
		{Name: "metadata.version", Min: 7, Max: settings.MetadataVersionLevel, Finalized: settings.MetadataVersionLevel},
		{Name: "share.version", Min: 0, Max: 1, Finalized: 1},
		{Name: "transaction.version", Min: 0, Max: 2, Finalized: 2},
	}
}

// Types of changes, as UpdateFeatures has them.
const (
	Upgrade         int8 = 1
	SafeDowngrade   int8 = 2
	UnsafeDowngrade int8 = 3
)

// Change says why a feature cannot be brought to a level, in Kafka's words; nothing if it is there.
func Change(all []Feature, name string, level int16, kind int8, controller int32) string {
	invalid := func(format string, args ...any) string {
		return fmt.Sprintf("Invalid update version %d for feature %s. ", level, name[:min(len(name), nameMost)]) + fmt.Sprintf(format, args...)
	}
	at := slices.IndexFunc(all, func(f Feature) bool { return f.Name == name })
	switch {
	case kind < Upgrade || kind > UnsafeDowngrade:
		return invalid("The controller does not support the given upgrade type.")
	case level < 0:
		return invalid("A feature version cannot be less than 0.")
	case at < 0 && level == 0:
		return invalid("Feature %s not found.", name[:min(len(name), nameMost)])
	case at < 0:
		return invalid("Local controller %d does not support this feature.", controller)
	}
	f := all[at]
	switch {
	case level < f.Min || level > f.Max:
		return invalid("Local controller %d only supports versions %d-%d", controller, f.Min, f.Max)
	case level == f.Finalized:
		return ""
	case level < f.Finalized && kind == Upgrade:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case level > f.Finalized && kind != Upgrade:
		return invalid("Can't downgrade to a newer version.")
	case level > f.Finalized || name != "metadata.version":
		return invalid("The level of this feature comes with the program and stays at %d.", f.Finalized)
	case kind == SafeDowngrade:
		return fmt.Sprintf("Unsupported metadata.version downgrade from %d to %d. "+
			"Refusing to perform the requested downgrade because it might delete metadata information.", f.Finalized, level)
	default:
		return fmt.Sprintf("Unsupported metadata.version downgrade from %d to %d. "+
			"Unsafe metadata downgrade is not supported in this version.", f.Finalized, level)
	}
}

// nameMost keeps a hostile name from filling an answer.
const nameMost = 200
