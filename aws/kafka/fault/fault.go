// Package fault is what the operations of the service kafka say when they refuse something: which errors each may answer with, and sentences that
// several have.
package fault

import (
	"context"
	"errors"
	"strings"

	"millrace/aws/arn"
	"millrace/aws/door"
)

// Declared are the errors that an operation may answer with beside those that all have: BadRequest, Forbidden and InternalServerError.
type Declared uint

// What operations declare.
const (
	NotFound Declared = 1 << iota
	Conflict
	TooMany
	Unavailable
	OfTopics    // those that Kafka gives
	TopicExists // and this one
)

// Codes of errors about topics that are treated apart.
const (
	CodeTopicExists  = "TopicExistsException"
	CodeKafkaTimeout = "KafkaTimeoutException"
	CodeConnectivity = "ClusterConnectivityException"
	CodeUnknownTopic = "UnknownTopicOrPartitionException"
)

// Handler answers one operation.
type Handler = func(context.Context, *door.Call) (any, error)

// Guard holds a handler to the errors that its operation declares. told gives the client's error for any; nil from it: it is not for clients.
func (d Declared) Guard(h Handler, told func(error) *door.Error) Handler {
	return func(ctx context.Context, c *door.Call) (any, error) {
		answer, err := h(ctx, c)
		if err == nil {
			return answer, nil
		}
		if e := told(err); e != nil {
			return nil, d.Holds(e)
		}
		return nil, err
	}
}

// Holds is an answer's error as the operation may say it. What it does not know, the request is at fault for, or we are.
func (d Declared) Holds(e *door.Error) *door.Error {
	need, ours := OfTopics, false // who is at fault where the operation can't say it
	switch e.Code {
	case "BadRequestException", "ForbiddenException", "InternalServerErrorException":
		return e
	case "NotFoundException":
		need = NotFound
	case "ConflictException":
		need = Conflict
	case "TooManyRequestsException":
		need = TooMany
	case "ServiceUnavailableException":
		need, ours = Unavailable, true
	case CodeTopicExists:
		need = TopicExists
	case CodeKafkaTimeout, CodeConnectivity:
		ours = true
	}
	switch {
	case d&need != 0:
		return e
	case ours:
		return door.Internal()
	case e.Code == CodeUnknownTopic && d&NotFound != 0:
		return door.NotFound(e.InvalidParameter, "%s", e.Message)
	}
	return door.BadRequest(e.InvalidParameter, "%s", e.Message)
}

// Because is what an error says beyond its sentinel.
func Because(err, sentinel error) string {
	text := strings.ReplaceAll(err.Error(), sentinel.Error()+": ", "")
	return strings.ReplaceAll(text, "\n", "; ")
}

// ARN tells what is wrong with an ARN in a request.
func ARN(param string, err error) error {
	if errors.Is(err, arn.ErrElsewhere) {
		return door.BadRequest(param, "One or more of the parameters are not valid. The ARN belongs to another Region or account.")
	}
	return door.BadRequest(param, "One or more of the parameters are not valid. The ARN is not of the form that is needed.")
}
