package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"
)

// format of all records here.
const format = 1

// The keys in etcd.
const (
	dirSecrets = "security/secrets/"
	dirValues  = "security/secret-values/"
	keyCount   = "security/secret-count"
)

// The stages that have a meaning of their own.
const (
	Current  = "AWSCURRENT"
	Previous = "AWSPREVIOUS"
	Pending  = "AWSPENDING"
)

// Secret is what may be told of a secret. It has no value.
type Secret struct {
	Format      int               `json:"format"`
	Name        string            `json:"name"`
	Tail        string            `json:"tail"` // random end of its ARN, which tells it from others that had the name
	Description string            `json:"description,omitempty"`
	KMSKey      string            `json:"kms_key,omitempty"` // as it was given, to be read back; "": the default one
	Created     time.Time         `json:"created"`
	Changed     time.Time         `json:"changed"`
	Deleted     time.Time         `json:"deleted,omitzero"` // when it will be gone; zero: it is not deleted
	Tags        map[string]string `json:"tags,omitempty"`
	Policy      json.RawMessage   `json:"policy,omitempty"`   // resource policy; none: nil
	Versions    []Version         `json:"versions,omitempty"` // the oldest first
}

// Version is what may be told of a version.
type Version struct {
	ID      string    `json:"id"`               // 32 to 64 characters
	Stages  []string  `json:"stages,omitempty"` // sorted; none: it is deprecated
	Created time.Time `json:"created"`
}

// Ref names a secret.
type Ref struct {
	Name string
	Tail string // "": whatever it is
}

// Ref is how the secret is named.
func (s Secret) Ref() Ref { return Ref{s.Name, s.Tail} }

// Version finds one by its ID.
func (s Secret) Version(id string) (Version, bool) {
	i := slices.IndexFunc(s.Versions, func(v Version) bool { return v.ID == id })
	if i < 0 {
		return Version{}, false
	}
	return s.Versions[i], true
}

// staged finds the version that has a stage.
func (s Secret) staged(stage string) (Version, bool) {
	i := slices.IndexFunc(s.Versions, func(v Version) bool { return slices.Contains(v.Stages, stage) })
	if i < 0 {
		return Version{}, false
	}
	return s.Versions[i], true
}

// Value is what is secret.
type Value struct {
	Binary bool // it was given as bytes, not as text
	Bytes  []byte
}

// String tells the size.
func (v Value) String() string { return fmt.Sprintf("%d secret bytes", len(v.Bytes)) }

// GoString is String.
func (v Value) GoString() string { return v.String() }

// Format hides the bytes, whatever the verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, v.String()) }

// LogValue is String.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// sealedValue is a Value in etcd.
type sealedValue struct {
	Format int    `json:"format"`
	Binary bool   `json:"binary,omitempty"`
	Sealed []byte `json:"sealed"`
}

// counted is how many secrets there are.
type counted struct {
	Format  int `json:"format"`
	Secrets int `json:"secrets"`
}

func (s Secret) version() int      { return s.Format }
func (v sealedValue) version() int { return v.Format }
func (c counted) version() int     { return c.Format }

// decode reads a record. The error is ErrNewer for a later format.
func decode[T interface{ version() int }](value []byte) (T, error) {
	var r T
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("secret record: %w", err)
	}
	if r.version() != format {
		return r, fmt.Errorf("%w: format %d", ErrNewer, r.version())
	}
	return r, nil
}

func secretKey(name string) string { return dirSecrets + name }

// valuesOf is below what the values of a secret lie.
func (r Ref) valuesOf() string               { return dirValues + url.PathEscape(r.Name) + "-" + r.Tail + "/" }
func (r Ref) valueKey(version string) string { return r.valuesOf() + url.PathEscape(version) }
