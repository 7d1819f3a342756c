package door

import (
	"fmt"
	"net/http"
)

// Error is what a client is told. It is not changed once made.
type Error struct {
	Code             string // "BadRequestException"
	Status           int    // of HTTP
	Message          string
	InvalidParameter string // wire name of the field that is wrong, the innermost one; "": none
}

// Error implements error.
func (e *Error) Error() string {
	if e.InvalidParameter != "" {
		return e.Code + ": " + e.Message + " (" + e.InvalidParameter + ")"
	}
	return e.Code + ": " + e.Message
}

// Fail makes an Error of any code. param is the field that is wrong; "": none.
func Fail(status int, code, param, format string, args ...any) *Error {
	return &Error{Code: code, Status: status, InvalidParameter: param, Message: fmt.Sprintf(format, args...)}
}

// BadRequest is a BadRequestException, 400: the request is not valid. param is the field that is wrong; "": none, here and below.
func BadRequest(param, format string, args ...any) *Error {
	return Fail(http.StatusBadRequest, "BadRequestException", param, format, args...)
}

// Unauthorized is an UnauthorizedException, 401.
func Unauthorized(param, format string, args ...any) *Error {
	return Fail(http.StatusUnauthorized, "UnauthorizedException", param, format, args...)
}

// Forbidden is a ForbiddenException, 403. What policies refuse is told by the door itself, as an AccessDeniedException.
func Forbidden(param, format string, args ...any) *Error {
	return Fail(http.StatusForbidden, "ForbiddenException", param, format, args...)
}

// NotFound is a NotFoundException, 404.
func NotFound(param, format string, args ...any) *Error {
	return Fail(http.StatusNotFound, "NotFoundException", param, format, args...)
}

// Conflict is a ConflictException, 409: the name is taken, or something else goes on.
func Conflict(param, format string, args ...any) *Error {
	return Fail(http.StatusConflict, "ConflictException", param, format, args...)
}

// TooMany is a TooManyRequestsException, 429: a limit is reached. SDKs try again.
func TooMany(param, format string, args ...any) *Error {
	return Fail(http.StatusTooManyRequests, "TooManyRequestsException", param, format, args...)
}

// Unavailable is a ServiceUnavailableException, 503: something that is needed is away for a moment. SDKs try again.
func Unavailable(param, format string, args ...any) *Error {
	return Fail(http.StatusServiceUnavailable, "ServiceUnavailableException", param, format, args...)
}

// Internal is an InternalServerErrorException, 500. SDKs try again. The door makes it of every error that is not for clients.
func Internal() *Error {
	return Fail(http.StatusInternalServerError, "InternalServerErrorException", "", "The request could not be processed because of an internal error.")
}
