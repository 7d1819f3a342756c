package door

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"time"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/cmd/api"
	"millrace/secure/keys"
)

// keysPatience is how long a request waits for a KMS that is away. It is less than what its client waits.
const keysPatience = 20 * time.Second

// DataKeys is what the API needs to look after the data keys of an installation.
type DataKeys struct {
	KMS   string // URL of what serve was started with
	Store kv.KV
	Files disk.FS
	Ring  func(ctx context.Context, purpose string) (*keys.Ring, error) // of a purpose; the caller closes it
}

// errNoPurpose: data keys of a purpose that has none.
var errNoPurpose = errors.New("there are no data keys for this purpose")

// errKMS is a request that names a KMS that cannot be used, or that finds serve's own in the way.
var errKMS = errors.New("the KMS cannot be used")

// dataKeyRoutes are what lies below /millrace/v1/security/datakeys.
func dataKeyRoutes() []route {
	const all = api.Security + api.DataKeys
	return []route{
		at("GET "+all, "millrace:ListDataKeys", nil, func(c *securityCall) (any, error) { return c.Keys.list(c.ctx()) }),
		at("POST "+all+"/rotate", "millrace:RotateDataKeys", nil, func(c *securityCall) (any, error) {
			var b api.Rotate
			if err := c.body(&b); err != nil {
				return nil, err
			}
			done, err := c.Keys.rotate(c.ctx(), b.Purpose)
			return map[string]any{"rotated": done}, err
		}).of(newestKeys),
		at("POST "+all+"/rewrap", "millrace:RewrapDataKeys", nil, func(c *securityCall) (any, error) {
			var b api.Rewrap
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return c.Keys.rewrap(c.ctx(), b.To)
		}).of(newestKeys),
	}
}

// newestKeys is the newest data key of each purpose, with what wraps it.
func newestKeys(c *securityCall) (any, error) {
	all, err := keys.List(c.ctx(), c.Keys.Store)
	newest := map[string]keys.Info{}
	for _, k := range all {
		newest[k.Purpose] = k // they come by purpose and id
	}
	return map[string]any{"newest": newest}, err
}

func (d *DataKeys) list(ctx context.Context) (api.DataKeyList, error) {
	all, err := keys.List(ctx, d.Store)
	return api.DataKeyList{KMS: d.KMS, Keys: all}, err
}

// rotate makes a new data key of each purpose that has some. All rings are opened before anything is made: a KMS that is the wrong one, or
// away, changes nothing.
func (d *DataKeys) rotate(ctx context.Context, purpose string) (done []api.Rotated, err error) {
	all, err := keys.List(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	var purposes []string
	for _, k := range all {
		if (purpose == "" || k.Purpose == purpose) && !slices.Contains(purposes, k.Purpose) {
			purposes = append(purposes, k.Purpose)
		}
	}
	if len(purposes) == 0 {
		return nil, fmt.Errorf("%w: %q", errNoPurpose, purpose)
	}
	ctx, cancel := context.WithTimeout(ctx, keysPatience)
	defer cancel()
	if err := keys.MayRotate(ctx, d.Store); err != nil { // before serve's own KMS is found to be the former one, which says less
		return nil, err
	}
	rings := make([]*keys.Ring, 0, len(purposes))
	defer func() {
		for _, r := range rings {
			r.Close()
		}
	}()
	for _, p := range purposes {
		ring, err := d.Ring(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errKMS, err)
		}
		rings = append(rings, ring)
	}
	for i, p := range purposes {
		id, err := rings[i].Rotate(ctx)
		if err != nil {
			return done, err
		}
		done = append(done, api.Rotated{Purpose: p, ID: id})
	}
	return done, nil
}

// rewrap wraps all data keys by another KMS.
func (d *DataKeys) rewrap(ctx context.Context, to string) (api.Rewrapped, error) {
	if to == "" {
		to = d.KMS
	}
	ctx, cancel := context.WithTimeout(ctx, keysPatience)
	defer cancel()
	older, err := keys.OpenKMS(ctx, d.KMS, d.Files)
	if err != nil {
		return api.Rewrapped{}, fmt.Errorf("%w: %w", errKMS, err)
	}
	newer, err := keys.OpenKMS(ctx, to, d.Files)
	if errors.Is(err, fs.ErrNotExist) {
		return api.Rewrapped{}, fmt.Errorf("%w: %w (`millrace kms keyring FILE` makes a key ring)", errKMS, err)
	}
	if err != nil {
		return api.Rewrapped{}, fmt.Errorf("%w: %w", errKMS, err)
	}
	n, err := keys.Rewrap(ctx, d.Store, older, newer)
	return api.Rewrapped{KMS: newer.Name(), Keys: n}, err
}

// keysStatus is the HTTP status of what data keys and KMS fail with; 0: it is none of theirs.
func keysStatus(err error) int {
	switch {
	case errors.Is(err, errNoPurpose):
		return http.StatusNotFound
	case errors.Is(err, keys.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	case errors.Is(err, keys.ErrBadURL):
		return http.StatusBadRequest
	case errors.Is(err, errKMS), errors.Is(err, keys.ErrWrongKMS), errors.Is(err, keys.ErrHeldBefore):
		return http.StatusConflict
	}
	return 0
}
