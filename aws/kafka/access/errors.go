package access

import (
	"context"
	"errors"
	"strings"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/control"
	"millrace/control/configuration"
	"millrace/secure/iam"
)

// errNoPolicy: the cluster has no policy.
var errNoPolicy = errors.New("the cluster has no policy")

// told gives the client's error for any; nil: it is not for clients.
func told(err error) *door.Error {
	var e *door.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, control.ErrNoCluster):
		return door.NotFound("clusterArn", "The cluster doesn't exist.")
	case errors.Is(err, configuration.ErrNotFound):
		return door.NotFound("resourceArn", "Configuration ARN does not exist.")
	case errors.Is(err, ErrNoConnection):
		return door.NotFound("arn", "The VPC connection doesn't exist.")
	case errors.Is(err, errNoPolicy):
		return door.NotFound("clusterArn", "There isn't a cluster policy for the cluster.")
	case errors.Is(err, ErrAuthentication):
		return door.BadRequest("authentication", "VPC connectivity isn't turned on for the authentication type on the cluster.")
	case errors.Is(err, ErrConnection):
		return door.BadRequest("", "%s.", because(err, ErrConnection))
	case errors.Is(err, iam.ErrInvalid):
		return door.BadRequest("", "%s", because(err, iam.ErrInvalid))
	case errors.Is(err, iam.ErrLimit):
		return door.BadRequest("tags", "%s", because(err, iam.ErrLimit))
	case errors.Is(err, context.DeadlineExceeded):
		return door.Unavailable("", "The request took too long. Try again.")
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

// declared are the errors that an operation may answer with beside BadRequest, Forbidden and InternalServerError.
type declared uint

const (
	notFound declared = 1 << iota
	unavailable
)

// guard holds a handler to the errors that its operation declares.
func (d declared) guard(h handler) handler {
	return func(ctx context.Context, c *door.Call) (any, error) {
		answer, err := h(ctx, c)
		if err == nil {
			return answer, nil
		}
		e := told(err)
		switch {
		case e == nil:
			return nil, err
		case e.Code == "NotFoundException" && d&notFound == 0:
			e = door.BadRequest(e.InvalidParameter, "%s", e.Message)
		case e.Code == "ServiceUnavailableException" && d&unavailable == 0:
			e = door.Internal()
		}
		return nil, e
	}
}
