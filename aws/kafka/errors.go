package kafka

import (
	"context"
	"errors"

	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/control"
	"millrace/control/configuration"
)

// told gives the client's error for any; nil: it is not for clients.
func told(err error) *door.Error {
	var e *door.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, control.ErrNoCluster):
		return door.NotFound("clusterArn", "The cluster doesn't exist.")
	case errors.Is(err, control.ErrNoOperation):
		return door.NotFound("clusterOperationArn", "The cluster operation doesn't exist.")
	case errors.Is(err, control.ErrExists):
		return door.Conflict("clusterName", "A resource with this name already exists.")
	case errors.Is(err, control.ErrVersion):
		return door.BadRequest("currentVersion", "The version of the cluster isn't current. Check the current version and try again.")
	case errors.Is(err, control.ErrBusy):
		return door.BadRequest("", "Another operation on the cluster is in progress. Wait until it is complete, then try again.")
	case errors.Is(err, control.ErrState):
		return door.BadRequest("", "The state of the cluster doesn't allow this operation: %s", fault.Because(err, control.ErrState))
	case errors.Is(err, control.ErrLimit):
		return door.BadRequest("", "The limit of clusters is reached: %s", fault.Because(err, control.ErrLimit))
	case errors.Is(err, control.ErrSpec):
		return door.BadRequest("", "The request can't be fulfilled: %s", fault.Because(err, control.ErrSpec))
	case errors.Is(err, control.ErrLost):
		return door.Unavailable("", "A host that the operation needs is away. Try again when it is back.")
	case errors.Is(err, context.DeadlineExceeded):
		return door.Unavailable("", "The request took too long. Try again.")
	}
	if e := toldOfConfiguration(err); e != nil {
		return e
	}
	return toldOfTopic(err)
}

func toldOfConfiguration(err error) *door.Error {
	switch {
	case errors.Is(err, configuration.ErrNotFound):
		return door.BadRequest("arn", "Configuration ARN does not exist.")
	case errors.Is(err, configuration.ErrInUse):
		return door.BadRequest("arn", "Configuration is in use by one or more clusters. Dissociate the configuration from the clusters.")
	case errors.Is(err, configuration.ErrExists):
		return door.Conflict("name", "A resource with this name already exists.")
	case errors.Is(err, configuration.ErrState):
		return door.BadRequest("arn", "The state of the configuration doesn't allow this operation.")
	case errors.Is(err, configuration.ErrLimit):
		return door.BadRequest("", "The limit of configurations is reached: %s", fault.Because(err, configuration.ErrLimit))
	case errors.Is(err, configuration.ErrInvalid):
		return door.BadRequest("serverProperties", "%s", fault.Because(err, configuration.ErrInvalid))
	case errors.Is(err, configuration.ErrRefused):
		return door.BadRequest("configurationInfo", "%s", fault.Because(err, configuration.ErrRefused))
	case errors.Is(err, configuration.ErrServerless):
		return door.BadRequest("configurationInfo", "A serverless cluster takes no configuration.")
	}
	return nil
}
