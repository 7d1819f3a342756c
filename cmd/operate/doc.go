// Package operate has the verbs by which people look at a cluster and have the control plane do something with it: cluster, and what audit asks
// of brokers.
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
