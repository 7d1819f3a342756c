package scram

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"millrace/secure/identity"
)

// formatVersion is that of all records of this package; see docs/formats/scram.md.
const formatVersion = 1

// record is what lies in etcd for a user.
type record struct {
	Format      int                                   `json:"format"`
	Credentials map[identity.Mechanism]recordOfSecret `json:"credentials"`
}

// recordOfSecret is one credential: its keys in the clear, or sealed.
type recordOfSecret struct {
	Iterations int    `json:"iterations"`
	Salt       []byte `json:"salt"`
	StoredKey  []byte `json:"stored_key,omitempty"`
	ServerKey  []byte `json:"server_key,omitempty"`
	Sealed     []byte `json:"sealed,omitempty"` // stored key, then server key
}

// decoyRecord is the secret of which the salts of users are made that do not exist.
type decoyRecord struct {
	Format int    `json:"format"`
	Secret []byte `json:"secret"`
}

func decodeRecord(value []byte) (record, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if r.Format < 1 || r.Format > formatVersion {
		return record{}, fmt.Errorf("%w: format %d, this version reads up to %d", ErrFormat, r.Format, formatVersion)
	}
	return r, nil
}

// userKey is the last part of a user's key; names may hold any character.
func userKey(name string) string { return url.PathEscape(name) }

func userOfKey(key, prefix string) (string, error) {
	name, err := url.PathUnescape(strings.TrimPrefix(key, prefix))
	if err != nil || CheckUser(name) != nil {
		return "", fmt.Errorf("%w: key %q", ErrFormat, key)
	}
	return name, nil
}

// seal makes a credential fit to be stored. context binds what is sealed to its place.
func seal(s Sealer, c Credential, key string) (recordOfSecret, error) {
	r := recordOfSecret{Iterations: c.Iterations, Salt: c.Salt}
	if s == nil {
		r.StoredKey, r.ServerKey = c.StoredKey, c.ServerKey
		return r, nil
	}
	both := append(append([]byte(nil), c.StoredKey...), c.ServerKey...)
	sealed, err := s.Seal(both, sealContext(key, c.Mechanism))
	if err != nil {
		return recordOfSecret{}, fmt.Errorf("seal credential: %w", err)
	}
	r.Sealed = sealed
	return r, nil
}

// open is the reverse of seal.
func open(s Sealer, r recordOfSecret, m identity.Mechanism, key string) (Credential, error) {
	newHash, err := hashOf(m)
	if err != nil {
		return Credential{}, err
	}
	c := Credential{Mechanism: m, Iterations: r.Iterations, Salt: r.Salt, StoredKey: r.StoredKey, ServerKey: r.ServerKey}
	if len(r.Sealed) > 0 {
		if s == nil {
			return Credential{}, fmt.Errorf("%w: it is sealed, and there is no key", ErrFormat)
		}
		both, err := s.Open(r.Sealed, sealContext(key, m))
		if err != nil {
			return Credential{}, fmt.Errorf("open credential: %w", err)
		}
		half := len(both) / 2
		c.StoredKey, c.ServerKey = both[:half], both[half:]
	}
	size := newHash().Size()
	if len(c.StoredKey) != size || len(c.ServerKey) != size || c.Iterations < MinIterations {
		return Credential{}, fmt.Errorf("%w: keys of %d and %d bytes, %d iterations", ErrFormat, len(c.StoredKey), len(c.ServerKey), c.Iterations)
	}
	return c, nil
}

func sealContext(key string, m identity.Mechanism) []byte {
	return []byte("scram\x00" + key + "\x00" + string(m))
}
