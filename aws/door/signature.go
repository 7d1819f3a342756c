package door

import (
	"errors"
	"net/http"
	"time"

	"millrace/secure/iam"
	"millrace/secure/login"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
)

// authenticate finds out who calls, or what they are told.
func (h *Handler) authenticate(s *room, c *Call, conn *http.ResponseController) error {
	_ = conn.SetReadDeadline(h.world.Clock.Now().Add(h.cfg.BodyTime)) // what is no connection has none
	who, err := h.world.Signatures.Verify(c.Request)
	_ = conn.SetReadDeadline(time.Time{}) // or the operation would end with it
	refused := trail.Event{Kind: trail.Login, Action: "api:Authenticate", Outcome: trail.Refused}
	switch {
	case err != nil:
		if errors.Is(err, login.ErrUnsigned) { // all other refusals were told already
			refused.Reason = "not signed"
			h.recordBy(c, refused)
		}
		if told := signatureFault(err); told != nil {
			return told
		}
		return err
	case s == nil || who.IAM == nil:
		refused.Reason = "signed for a service that is not served here"
		h.recordBy(c, refused)
		return signatureFault(sigv4.ErrScope)
	}
	c.Caller = who
	return nil
}

// signatureFault is what a client is told of a signature that does not do. Codes are those of REST and JSON; queryCodes has the others.
// nil: it is a fault of ours.
func signatureFault(err error) *Error {
	refuse := func(code, message string) *Error { return Fail(http.StatusForbidden, code, "", "%s", message) }
	switch {
	case errors.Is(err, login.ErrUnsigned):
		return refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	case errors.Is(err, login.ErrBody):
		return Fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "", "The request body is too large, or did not arrive in time.")
	case errors.Is(err, login.ErrGuessing):
		return errThrottled()
	case errors.Is(err, login.ErrExpired), errors.Is(err, iam.ErrExpired):
		return refuse("ExpiredTokenException", "The security token included in the request is expired")
	case errors.Is(err, login.ErrUnknownKey):
		return refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	case errors.Is(err, sigv4.ErrSignature):
		return refuse("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	case errors.Is(err, sigv4.ErrTime):
		return refuse("InvalidSignatureException", "Signature expired or not yet current: the time of the request is too far from the time here.")
	case errors.Is(err, sigv4.ErrScope):
		return refuse("InvalidSignatureException", "Credential should be scoped to a valid region and to a service that is served here.")
	case errors.Is(err, sigv4.ErrMalformed):
		return refuse("IncompleteSignatureException", "The request signature does not conform to AWS standards.")
	case errors.Is(err, iam.ErrNotReady):
		return errBusy()
	}
	return nil
}

// queryCodes are the codes of the door's own errors in the Query protocol.
func queryCodes() map[string]string {
	return map[string]string{
		"MissingAuthenticationTokenException": "MissingAuthenticationToken", "ExpiredTokenException": "ExpiredToken", "UnrecognizedClientException": "InvalidClientTokenId",
		"InvalidSignatureException": "SignatureDoesNotMatch", "IncompleteSignatureException": "IncompleteSignature", "ThrottlingException": "Throttling",
		"AccessDeniedException": "AccessDenied", "InternalServerErrorException": "InternalFailure", "ServiceUnavailableException": "ServiceUnavailable",
		"RequestEntityTooLargeException": "RequestEntityTooLarge", "BadRequestException": "ValidationError",
	}
}
