package keys

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"millrace/base/disk"
)

// Sentinels, for errors.Is.
var (
	// ErrBadURL: no KMS can be made of the URL.
	ErrBadURL = errors.New("keys: bad KMS URL")
	// ErrUnavailable: the KMS could not be asked, or had a fault of its own. The same call may work later.
	ErrUnavailable = errors.New("keys: KMS is away")
	// ErrWrongKMS: the KMS was asked, and refuses: it is not the one that wrapped this, or does not allow it.
	ErrWrongKMS = errors.New("keys: not to be unwrapped by this KMS")
	// ErrUnknownKey: there is no data key of this id here.
	ErrUnknownKey = errors.New("keys: unknown data key")
	// ErrSealed: what is to be opened is damaged, or was sealed with another key or for another context.
	ErrSealed = errors.New("keys: cannot be opened")
	// ErrNewer: written by a newer version.
	ErrNewer = errors.New("keys: written by a newer version")
)

// KMS wraps data keys with a key that it keeps. Implementations are safe for concurrent use, and name no secret in their errors.
type KMS interface {
	// Name is the URL that the KMS was opened by, without what is secret. It is for people.
	Name() string
	// Wrap encrypts at most 4 KiB. Context is bound to the result and needed again to unwrap. Errors: ErrUnavailable, ErrWrongKMS, ctx's.
	Wrap(ctx context.Context, plain, context []byte) ([]byte, error)
	// Unwrap is the inverse. Errors: ErrUnavailable, ErrWrongKMS, ctx's.
	Unwrap(ctx context.Context, wrapped, context []byte) ([]byte, error)
}

// OpenKMS opens the KMS that a URL names:
//
//	keyring:///DIR/FILE                         a local key ring, see CreateKeyring
//	aws-kms://KEY?region=R[&endpoint=URL]       AWS KMS; KEY is an ARN, an id or alias/NAME; credentials are found as the AWS SDK does
//	vault://KEY[?addr=URL&mount=transit&namespace=N&token-file=F]   Vault Transit; VAULT_ADDR, VAULT_TOKEN and so on where nothing is said
//
// It asks nothing of a remote one yet. Errors: ErrBadURL, those of a local file, ErrNewer.
func OpenKMS(ctx context.Context, rawURL string, fs disk.FS) (KMS, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, fmt.Errorf("%w: %q has no scheme; use keyring:///FILE, aws-kms://KEY or vault://KEY", ErrBadURL, rawURL)
	}
	// The authority of an ARN has colons that url.Parse takes for a port, so the parts are taken by hand.
	place, rawQuery, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrBadURL, rawURL, err)
	}
	switch scheme {
	case keyringScheme:
		return openKeyring(place, query, fs)
	case awsScheme:
		return openAWS(ctx, place, query)
	case vaultScheme:
		return openVault(place, query, fs)
	}
	return nil, fmt.Errorf("%w: %q; use keyring:///FILE, aws-kms://KEY or vault://KEY", ErrBadURL, rawURL)
}

// only returns an error when the query has a parameter that is not known, so that a slip of the pen is not passed over.
func only(query url.Values, known ...string) error {
	for name, values := range query {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found || len(values) != 1 {
			return fmt.Errorf("%w: parameter %q; known, once each, are %s", ErrBadURL, name, strings.Join(append(known, "no more"), ", "))
		}
	}
	return nil
}
