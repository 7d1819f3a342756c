package access

import (
	"context"
	"errors"

	"millrace/aws/door"
	"millrace/aws/kafka/fault"
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
		return door.BadRequest("", "%s.", fault.Because(err, ErrConnection))
	case errors.Is(err, iam.ErrInvalid):
		return door.BadRequest("", "%s", fault.Because(err, iam.ErrInvalid))
	case errors.Is(err, iam.ErrLimit):
		return door.BadRequest("tags", "%s", fault.Because(err, iam.ErrLimit))
	case errors.Is(err, context.DeadlineExceeded):
		return door.Unavailable("", "The request took too long. Try again.")
	}
	return nil
}
