package secretsmanager

import (
	"errors"
	"net/http"
	"strings"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/secure/secret"
)

func invalidParameter(format string, args ...any) *door.Error {
	return door.Fail(http.StatusBadRequest, "InvalidParameterException", "", format, args...)
}

// told gives the client's error for one of the store's; nil: it is not for clients.
func told(err error) *door.Error {
	fail := func(code string, sentinel error) *door.Error {
		return door.Fail(http.StatusBadRequest, code, "", "%s", because(err, sentinel))
	}
	switch {
	case errors.Is(err, arn.ErrElsewhere), errors.Is(err, secret.ErrNotFound):
		return door.Fail(http.StatusBadRequest, "ResourceNotFoundException", "", "Secrets Manager can't find the specified secret%s.", after(err))
	case errors.Is(err, secret.ErrExists):
		return fail("ResourceExistsException", secret.ErrExists)
	case errors.Is(err, secret.ErrScheduled):
		return door.Fail(http.StatusBadRequest, "InvalidRequestException", "",
			"You can't create this secret because a secret with this name is already scheduled for deletion.")
	case errors.Is(err, secret.ErrDeleted):
		return door.Fail(http.StatusBadRequest, "InvalidRequestException", "",
			"You can't perform this operation on the secret because it was marked for deletion.")
	case errors.Is(err, secret.ErrState):
		return fail("InvalidRequestException", secret.ErrState)
	case errors.Is(err, secret.ErrLimit):
		return fail("LimitExceededException", secret.ErrLimit)
	case errors.Is(err, secret.ErrPolicy):
		return fail("MalformedPolicyDocumentException", secret.ErrPolicy)
	case errors.Is(err, secret.ErrInvalid):
		return fail("InvalidParameterException", secret.ErrInvalid)
	}
	return nil
}

// after is what a missing version is told by.
func after(err error) string {
	_, what, _ := strings.Cut(err.Error(), secret.ErrNotFound.Error())
	return what
}

// because is what an error says beyond its sentinel.
func because(err, sentinel error) string {
	text := strings.ReplaceAll(err.Error(), sentinel.Error()+": ", "")
	return strings.ReplaceAll(text, "\n", "; ") + "."
}

// decode is door.Decode with the service's own code.
func decode[T any](c *door.Call) (T, error) {
	in, err := door.Decode[T](c)
	var e *door.Error
	if errors.As(err, &e) {
		err = invalidParameter("%s", e.Message)
	}
	return in, err
}
