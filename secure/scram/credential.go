package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"log/slog"

	"millrace/secure/identity"
)

// Bounds of what a credential may be, as in Apache Kafka, and the iterations that its tools take.
const (
	MinIterations     = 4096
	MaxIterations     = 16384
	DefaultIterations = 4096
)

// Bounds that Kafka has not, so that a record stays small.
const (
	maxUserBytes = 1024
	maxSaltBytes = 1024
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrMechanism: it is not one of SCRAM.
	ErrMechanism = errors.New("scram: unknown mechanism")
	// ErrUnacceptable: the user's name, the salt, the iterations or the salted password are out of bounds.
	ErrUnacceptable = errors.New("scram: unacceptable credential")
	// ErrNotFound: the credential to be deleted does not exist.
	ErrNotFound = errors.New("scram: no such credential")
	// ErrUnavailable: the store cannot be read or written now.
	ErrUnavailable = errors.New("scram: store unavailable")
	// ErrFormat: a stored record cannot be read; a newer Millrace may have written it.
	ErrFormat = errors.New("scram: unreadable record")
	// ErrRefused: the login is not right. It does not say whether the user exists.
	ErrRefused = errors.New("scram: refused")
	// ErrAuthorization: the client asks to act as another than the user. It is told so whether the user exists or not.
	ErrAuthorization = errors.New("authorization id differs from the user")
)

// Credential is what is kept of one user's password for one mechanism. The keys are secrets; no String shows them.
type Credential struct {
	Mechanism  identity.Mechanism
	Iterations int
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte
}

// String tells mechanism and iterations.
func (c Credential) String() string {
	return fmt.Sprintf("%s, %d iterations", c.Mechanism, c.Iterations)
}

// GoString is String.
func (c Credential) GoString() string { return c.String() }

// LogValue is String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Info is what may be told of a credential.
type Info struct {
	Mechanism  identity.Mechanism
	Iterations int
}

// FromPassword makes a Credential of a password. It takes milliseconds. The error matches ErrMechanism or ErrUnacceptable.
func FromPassword(m identity.Mechanism, password string, salt []byte, iterations int) (Credential, error) {
	newHash, err := hashOf(m)
	if err != nil {
		return Credential{}, err
	}
	if err := checkParameters(salt, iterations); err != nil {
		return Credential{}, err
	}
	salted, err := pbkdf2.Key(newHash, password, salt, iterations, newHash().Size())
	if err != nil {
		return Credential{}, fmt.Errorf("%w: %w", ErrUnacceptable, err)
	}
	return FromSalted(m, salted, salt, iterations)
}

// FromSalted makes a Credential of a salted password, which is what clients send to change one: as good as the password, and not kept. The
// error matches ErrMechanism or ErrUnacceptable.
func FromSalted(m identity.Mechanism, salted, salt []byte, iterations int) (Credential, error) {
	newHash, err := hashOf(m)
	if err != nil {
		return Credential{}, err
	}
	if err := checkParameters(salt, iterations); err != nil {
		return Credential{}, err
	}
	if len(salted) == 0 {
		return Credential{}, unacceptable("empty salted password")
	}
	client := mac(newHash, salted, "Client Key")
	stored := newHash()
	stored.Write(client)
	return Credential{Mechanism: m, Iterations: iterations, Salt: append([]byte(nil), salt...),
		StoredKey: stored.Sum(nil), ServerKey: mac(newHash, salted, "Server Key")}, nil
}

func checkParameters(salt []byte, iterations int) error {
	switch {
	case iterations < MinIterations:
		return unacceptable("Too few iterations")
	case iterations > MaxIterations:
		return unacceptable("Too many iterations")
	case len(salt) > maxSaltBytes:
		return fmt.Errorf("%w: salt of %d bytes, at most %d", ErrUnacceptable, len(salt), maxSaltBytes)
	}
	return nil
}

// unacceptable is an ErrUnacceptable in Kafka's own words, which its tools print.
type unacceptable string

func (u unacceptable) Error() string { return string(u) }
func (u unacceptable) Unwrap() error { return ErrUnacceptable }

// CheckUser returns ErrUnacceptable for what cannot be a user's name.
func CheckUser(name string) error {
	switch {
	case name == "":
		return unacceptable("Username must not be empty")
	case len(name) > maxUserBytes:
		return fmt.Errorf("%w: name of %d bytes, at most %d", ErrUnacceptable, len(name), maxUserBytes)
	}
	return nil
}

func hashOf(m identity.Mechanism) (func() hash.Hash, error) {
	switch m {
	case identity.ScramSHA256:
		return sha256.New, nil
	case identity.ScramSHA512:
		return sha512.New, nil
	default:
		return nil, fmt.Errorf("%w %q", ErrMechanism, string(m))
	}
}

func mac(newHash func() hash.Hash, key []byte, text string) []byte {
	h := hmac.New(newHash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
