// Package security has the verbs about who may come in and do what, and who did: iam, env, cert, network, compliance, kms, and of audit those that
// show the trail. They ask the control plane, but for the trail, which is read from this host's files.
package security

import (
	"github.com/spf13/cobra"

	"millrace/cmd/terminal"
)

// verbs is what they share.
type verbs struct{ *terminal.IO }

// Commands are the verbs, which use io while they run.
func Commands(io *terminal.IO) []*cobra.Command {
	a := &verbs{io}
	return []*cobra.Command{a.iamCommand(), a.envCommand(), a.certCommand(), a.networkCommand(), a.complianceCommand(), a.kmsCommand()}
}

// TrailCommands are the verbs below audit that show the trail.
func TrailCommands(io *terminal.IO) []*cobra.Command {
	a := &verbs{io}
	return []*cobra.Command{a.trailLog(), a.trailAlerts()}
}
