package secret

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"millrace/secure/iam/policy"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrNotFound: there is no such secret, or no such version of it.
	ErrNotFound = errors.New("secrets manager can't find the specified secret")
	// ErrExists: the name is taken, or the token is that of a version with another value.
	ErrExists = errors.New("the resource already exists")
	// ErrInvalid: a name, a value, a stage, a tag or a window cannot be so; the message says why.
	ErrInvalid = errors.New("invalid parameter")
	// ErrPolicy: the policy cannot be read.
	ErrPolicy = errors.New("malformed policy document")
	// ErrDeleted: the secret is marked for deletion.
	ErrDeleted = errors.New("the secret is marked for deletion")
	// ErrScheduled: an ErrDeleted of Create: a secret of the name waits for its end.
	ErrScheduled = fmt.Errorf("%w: a secret with this name is already scheduled for deletion", ErrDeleted)
	// ErrState: the secret has no version of the stage that is asked for, or the stage is another version's.
	ErrState = errors.New("not in this state")
	// ErrLimit: there are as many secrets, stages or tags as there can be.
	ErrLimit = errors.New("limit reached")
	// ErrNewer: a record was written by a newer version of Millrace.
	ErrNewer = errors.New("secret record written by a newer version of millrace")
)

// Bounds, those of AWS but for maxSecrets and maxVersions.
const (
	maxSecrets     = 10_000
	maxVersions    = 24 // of a secret; more than can have a stage, so that one that has none is there to go
	maxStages      = 20 // of a secret
	maxValue       = 64 << 10
	maxName        = 512
	maxDescription = 2048
	maxKMSKey      = 2048
	maxStage       = 256
	minToken       = 32
	maxToken       = 64
	maxTags        = 50
	maxTagKey      = 128
	maxTagValue    = 256
	minWindow      = 7 // days
	maxWindow      = 30
)

func checkName(name string) error {
	good := name != "" && len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/_+=.@-", r)
	}) < 0
	if !good {
		return fmt.Errorf("%w: Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@", ErrInvalid)
	}
	return nil
}

func checkText(what, text string, most int) error {
	if n := utf8.RuneCountInString(text); n > most || !utf8.ValidString(text) {
		return fmt.Errorf("%w: %s has %d characters, at most %d", ErrInvalid, what, n, most)
	}
	return nil
}

func checkValue(v *Value) error {
	if v != nil && (len(v.Bytes) < 1 || len(v.Bytes) > maxValue) {
		return fmt.Errorf("%w: a secret value of %d bytes; 1 to %d can be", ErrInvalid, len(v.Bytes), maxValue)
	}
	return nil
}

func checkToken(token string) error {
	if n := utf8.RuneCountInString(token); token != "" && (n < minToken || n > maxToken || !utf8.ValidString(token)) {
		return fmt.Errorf("%w: a client request token of %d characters; %d to %d can be", ErrInvalid, n, minToken, maxToken)
	}
	return nil
}

func checkStages(stages []string) error {
	if len(stages) > maxStages {
		return fmt.Errorf("%w: %d staging labels, at most %d", ErrInvalid, len(stages), maxStages)
	}
	for _, s := range stages {
		if err := checkText("a staging label", s, maxStage); err != nil || s == "" {
			return errors.Join(err, fmt.Errorf("%w: a staging label has 1 to %d characters", ErrInvalid, maxStage))
		}
	}
	return nil
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fmt.Errorf("%w: %d tags, at most %d", ErrLimit, len(tags), maxTags)
	}
	for k, v := range tags {
		if k == "" || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return fmt.Errorf("%w: a tag's key is not empty and does not begin with the word aws and a colon", ErrInvalid)
		}
		if err := errors.Join(checkText("a tag's key", k, maxTagKey), checkText("a tag's value", v, maxTagValue)); err != nil {
			return err
		}
	}
	return nil
}

func checkPolicy(document []byte) error {
	if _, err := policy.Parse(document, policy.Resource, "of the secret"); err != nil {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return nil
}
