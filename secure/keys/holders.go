package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/base/kv"
)

// ErrHeldBefore: processes run that were started before the data keys were wrapped by another KMS; what is wrapped from now on they could
// not unwrap.
var ErrHeldBefore = errors.New("keys: the KMS was changed, and processes run that were started before")

const (
	holderPrefix = "security/kms/holders/"
	movedKey     = "security/kms/moved"
	holderFormat = 1
	// holderTTL is how long a process that has died still counts as one that runs.
	holderTTL = 15 * time.Second
)

// holder is a process that has a Ring, in etcd as long as it runs. One that is cut off from etcd for longer than holderTTL is not seen
// until it is back.
type holder struct {
	Format int    `json:"format"`
	Who    string `json:"who"`
	// Since is the revision at which it first stood here, before the Ring read any data key; 0: that of the record itself.
	Since int64 `json:"since,omitempty"`
}

func readHolder(item kv.Item) (h holder, err error) {
	if err := json.Unmarshal(item.Value, &h); err != nil || h.Format > holderFormat {
		return h, fmt.Errorf("%w: %s cannot be read", ErrNewer, item.Key)
	}
	if h.Since == 0 {
		h.Since = item.ModRev
	}
	return h, nil
}

// moved says that the data keys were wrapped by another KMS; its revision says when. What is in it is for people.
type moved struct {
	Format int    `json:"format"`
	To     string `json:"to"` // KMS.Name
}

// tenancy keeps the record of a holder in etcd until it is told to end.
type tenancy struct {
	store kv.KV
	key   string
	who   string
	since int64
	lease kv.Lease
}

// errSucceeded: another process of the same name has come since.
var errSucceeded = errors.New("keys: another process of this name has data keys since")

// announce writes who has a Ring. The record is there before any data key is read (Y8). It takes the place of that of a process of the same
// name, which has ended, perhaps without a word.
func announce(ctx context.Context, store kv.KV, purpose, who string) (*tenancy, error) {
	t := &tenancy{store: store, key: holderPrefix + purpose + "/" + who, who: who}
	if err := t.write(ctx); err != nil {
		return nil, fmt.Errorf("announce who has data keys: %w", err)
	}
	return t, nil
}

func (t *tenancy) write(ctx context.Context) (err error) {
	lease, err := t.store.Grant(ctx, holderTTL)
	if err != nil {
		return err
	}
	for {
		var rev int64
		rev, err = t.put(ctx, lease.ID())
		if err == nil {
			t.lease = lease
			if t.since == 0 {
				t.since = rev
			}
			return nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			_ = lease.Close(context.WithoutCancel(ctx)) // it ends by itself otherwise
			return err
		}
	}
}

// put writes the record in the place of the one that is there.
func (t *tenancy) put(ctx context.Context, lease kv.LeaseID) (rev int64, err error) {
	cond := kv.KeyMissing(t.key)
	item, err := t.store.Get(ctx, t.key)
	switch {
	case err == nil:
		if h, err := readHolder(item); err == nil && t.since != 0 && h.Since > t.since {
			return 0, errSucceeded
		}
		cond = kv.ModRevEquals(t.key, item.ModRev)
	case !errors.Is(err, kv.ErrNotFound):
		return 0, err
	}
	value := encodeJSON(holder{Format: holderFormat, Who: t.who, Since: t.since})
	return t.store.Txn(ctx, []kv.Cond{cond}, []kv.Op{kv.PutLeased(t.key, value, lease)})
}

// keep writes the record again whenever etcd has let it go, until ctx ends; then it goes.
func (t *tenancy) keep(ctx context.Context) {
	for wait := firstRetry; ; {
		select {
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRetry)
			defer cancel()
			_ = t.lease.Close(late) // it ends by itself otherwise
			return
		case <-t.lease.Done():
		}
		switch err := t.write(ctx); {
		case err == nil:
			wait = firstRetry
		case errors.Is(err, kv.ErrClosed):
			return
		default:
			pause(ctx, wait)
			wait = min(2*wait, lastRetry)
		}
	}
}

// settled returns the condition that the data keys are wrapped by the KMS by which they are now, or ErrHeldBefore with the names of those
// who would not learn a new one.
func settled(ctx context.Context, store kv.KV) (kv.Cond, error) {
	when, err := store.Get(ctx, movedKey)
	if errors.Is(err, kv.ErrNotFound) {
		return kv.KeyMissing(movedKey), nil
	}
	if err != nil {
		return kv.Cond{}, err
	}
	items, _, err := store.List(ctx, holderPrefix)
	if err != nil {
		return kv.Cond{}, err
	}
	var before []string
	for _, item := range items {
		h, err := readHolder(item)
		if err != nil {
			return kv.Cond{}, err
		}
		if h.Since < when.ModRev && !slices.Contains(before, h.Who) {
			before = append(before, h.Who)
		}
	}
	if len(before) > 0 {
		slices.Sort(before)
		return kv.Cond{}, fmt.Errorf("%w: %s; they would not learn a new data key. Start serve, agents and gateways anew with the new --kms, "+
			"then `millrace cluster roll`, then rotate", ErrHeldBefore, clipNames(before))
	}
	return kv.ModRevEquals(movedKey, when.ModRev), nil
}

// MayRotate returns what Rotate would refuse with now because of who has a Ring: nil, ErrHeldBefore, or an error of etcd or ctx.
func MayRotate(ctx context.Context, store kv.KV) error {
	_, err := settled(ctx, store)
	return err
}

// clipNames lists names, a few of many.
func clipNames(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func encodeJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("keys: " + err.Error()) // plain fields always encode
	}
	return b
}
