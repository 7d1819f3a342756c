package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"millrace/base/kv"
)

const (
	recordFormat = 1
	prefix       = "security/datakeys/"
	maxPurpose   = 256
)

// record is a data key in etcd.
type record struct {
	Format    int    `json:"format"`
	CreatedMs int64  `json:"created_ms"` // wall clock of who made it
	KMS       string `json:"kms"`        // KMS.Name of what wrapped it, for people
	Wrapped   []byte `json:"wrapped"`
}

// Prefix is below which the data keys of a purpose lie in etcd, for who deletes them with what they are for: nothing can read that any more.
func Prefix(purpose string) string { return prefix + purpose + "/" }

// recordKey is where data key id is. Ten digits hold every uint32, so that keys sort as numbers.
func recordKey(purpose string, id uint32) string {
	return fmt.Sprintf("%s%s/%010d", prefix, purpose, id)
}

// parseRecordKey is the inverse.
func parseRecordKey(key string) (purpose string, id uint32, ok bool) {
	rest, found := strings.CutPrefix(key, prefix)
	i := strings.LastIndexByte(rest, '/')
	if !found || i < 1 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(rest[i+1:], 10, 32)
	purpose, id = rest[:i], uint32(n)
	return purpose, id, err == nil && id > 0 && recordKey(purpose, id) == key
}

// wrapContext binds a wrapped key to its place, so that none can stand in for another.
func wrapContext(purpose string, id uint32) []byte {
	return []byte("millrace/" + recordKey(purpose, id))
}

func (r *record) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("keys: " + err.Error()) // plain fields always encode
	}
	return b
}

func decodeRecord(b []byte) (r record, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("not a data key: %w", err)
	}
	switch {
	case r.Format > recordFormat:
		return r, fmt.Errorf("%w: format %d", ErrNewer, r.Format)
	case r.Format < 1 || len(r.Wrapped) == 0:
		return r, errors.New("not a data key: fields are missing")
	}
	return r, nil
}

func checkPurpose(purpose string) error {
	if purpose == "" || len(purpose) > maxPurpose || strings.HasPrefix(purpose, "/") || strings.HasSuffix(purpose, "/") {
		return fmt.Errorf("keys: purpose %q", purpose)
	}
	return nil
}

// Exists tells whether etcd has a data key of any purpose: then a new local key ring would be the wrong one.
func Exists(ctx context.Context, store kv.KV) (bool, error) {
	items, _, err := store.List(ctx, prefix)
	return len(items) > 0, err
}
