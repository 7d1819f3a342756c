package iam

import (
	"errors"
	"fmt"
)

// Errors of this package, to be tested with errors.Is.
var (
	ErrNotFound  = errors.New("not found")            // user, role, policy or key; the text says which
	ErrExists    = errors.New("exists already")       // a name that is taken
	ErrInvalid   = errors.New("not valid")            // a name, a tag, a policy, a duration
	ErrLimit     = errors.New("limit reached")        // one of the limits of IAM
	ErrInUse     = errors.New("in use")               // it has keys, or policies, or is attached
	ErrDenied    = errors.New("access denied")        // AssumeRole that the trust policy or the caller's policies do not allow
	ErrKey       = errors.New("access key not valid") // unknown, disabled, expired, its owner gone, or its token not ours: callers tell no more than this
	ErrExpired   = fmt.Errorf("%w: the session is over", ErrKey)
	ErrNotReady  = errors.New("access keys are not read yet") // a View that has not followed etcd so far
	ErrNewFormat = errors.New("written by a newer millrace")  // a record of a later format
	ErrContended = errors.New("changed by others again and again")
)

var errBroken = errors.New("record cannot be read")
