package kafka

import (
	"context"
	"errors"
	"strings"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/control"
	"millrace/control/configuration"
)

// declared are the errors that an operation may answer with beside those that all have: BadRequest, Forbidden and InternalServerError.
type declared uint

const (
	notFound declared = 1 << iota
	conflict
	tooMany
	unavailable
	ofTopics    // those that Kafka gives
	topicExists // and this one
)

// holds an answer's error to what the operation declares. What it does not know, the request is at fault for, or we are.
func (d declared) holds(e *door.Error) *door.Error {
	need, ours := ofTopics, false // who is at fault where the operation can't say it
	switch e.Code {
	case "BadRequestException", "ForbiddenException", "InternalServerErrorException":
		return e
	case "NotFoundException":
		need = notFound
	case "ConflictException":
		need = conflict
	case "TooManyRequestsException":
		need = tooMany
	case "ServiceUnavailableException":
		need, ours = unavailable, true
	case codeTopicExists:
		need = topicExists
	case codeKafkaTimeout, codeConnectivity:
		ours = true
	}
	switch {
	case d&need != 0:
		return e
	case ours:
		return door.Internal()
	case e.Code == codeUnknownTopic && d&notFound != 0:
		return door.NotFound(e.InvalidParameter, "%s", e.Message)
	}
	return door.BadRequest(e.InvalidParameter, "%s", e.Message)
}

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
		return door.BadRequest("", "The state of the cluster doesn't allow this operation: %s", because(err, control.ErrState))
	case errors.Is(err, control.ErrLimit):
		return door.BadRequest("", "The limit of clusters is reached: %s", because(err, control.ErrLimit))
	case errors.Is(err, control.ErrSpec):
		return door.BadRequest("", "The request can't be fulfilled: %s", because(err, control.ErrSpec))
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
		return door.BadRequest("", "The limit of configurations is reached: %s", because(err, configuration.ErrLimit))
	case errors.Is(err, configuration.ErrInvalid):
		return door.BadRequest("serverProperties", "%s", because(err, configuration.ErrInvalid))
	case errors.Is(err, configuration.ErrRefused):
		return door.BadRequest("configurationInfo", "%s", because(err, configuration.ErrRefused))
	case errors.Is(err, configuration.ErrServerless):
		return door.BadRequest("configurationInfo", "A serverless cluster takes no configuration.")
	}
	return nil
}

// because is what an error says beyond its sentinel.
func because(err, sentinel error) string {
	text := strings.ReplaceAll(err.Error(), sentinel.Error()+": ", "")
	return strings.ReplaceAll(text, "\n", "; ")
}

// badARN tells what is wrong with an ARN in a request.
func badARN(param string, err error) error {
	if errors.Is(err, arn.ErrElsewhere) {
		return door.BadRequest(param, "One or more of the parameters are not valid. The ARN belongs to another Region or account.")
	}
	return door.BadRequest(param, "One or more of the parameters are not valid. The ARN is not of the form that is needed.")
}
