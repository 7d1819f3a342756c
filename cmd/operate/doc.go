// Package operate has the verbs by which people make, look at and change clusters: those below `millrace cluster`, and what audit asks of
// brokers.
//
// Managed clusters are asked for by the MSK API (cmd/managed); the verbs for the cluster of serve, and usage, go by the verbs' own API
// (cmd/remote). Files: cluster.go (the tree), create.go, update.go, managed.go (looking and deleting), operations.go, usage.go; operate.go and
// audit.go (the cluster of serve).
package operate

import (
	"github.com/spf13/cobra"

	"millrace/cmd/terminal"
)

// verbs is what they share.
type verbs struct{ *terminal.IO }

// Commands are the verbs, which use io while they run.
func Commands(io *terminal.IO) []*cobra.Command {
	a := &verbs{io}
	return []*cobra.Command{a.clusterCommand()}
}
