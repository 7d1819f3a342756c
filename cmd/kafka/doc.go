// Package kafka has the verbs that any Kafka cluster understands: topic, produce, consume and group. They speak to brokers, and know
// nothing of the control plane.
package kafka

import (
	"github.com/spf13/cobra"

	"millrace/cmd/terminal"
)

// verbs is what they share.
type verbs struct{ *terminal.IO }

// Commands are the verbs, which use io while they run.
func Commands(io *terminal.IO) []*cobra.Command {
	a := &verbs{io}
	return []*cobra.Command{a.topicCommand(), a.produceCommand(), a.consumeCommand(), a.groupCommand(), a.userCommand()}
}
