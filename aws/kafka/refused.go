package kafka

import (
	"context"

	"millrace/aws/door"
)

// noReplicators refuses what has to do with replicators, of which there is none yet.
func noReplicators(*Service) handler {
	return func(context.Context, *door.Call) (any, error) {
		return nil, door.BadRequest("", "Replicators are not supported yet.")
	}
}

// noChannels refuses what has to do with channels.
func noChannels(*Service) handler {
	return func(context.Context, *door.Call) (any, error) {
		return nil, door.BadRequest("", "Channels are not supported yet.")
	}
}
