package keys

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/base/kv"
)

// ErrHeldBefore: processes run that were started before the data keys were wrapped by another KMS; what is wrapped from now on they could not unwrap.
var ErrHeldBefore = errors.New("keys: the KMS was changed, and processes run that were started before")

const (
	holderPrefix = "security/kms/holders/"
	movedKey     = "security/kms/moved"
	holderFormat = 1
	// holderTTL is how long a process that has died still counts as one that runs.
	holderTTL = 15 * time.Second
)

// holder is a process that has a Ring, in etcd as long as it runs. One that is cut off from etcd for longer than holderTTL is not seen until it is back.
type holder struct {
	Format int    `json:"format"`
	Who    string `json:"who"`
	// Since is the revision at which it first stood here, before the Ring read any data key; 0: that of the record's creation.
	Since int64 `json:"since,omitempty"`
}

// moved says that the data keys were wrapped by another KMS; its revision says when. What is in it is for people.
type moved struct {
	Format int    `json:"format"`
	To     string `json:"to"` // KMS.Name
}

// tenancy keeps the record of a holder in etcd until stop is called.
type tenancy struct {
	who   string
	since int64
	lease kv.Lease
}

// announce writes who has a Ring. The record is there before any data key is read (Y8).
func announce(ctx context.Context, store kv.KV, who string) (*tenancy, error) {
	t := &tenancy{who: who}
	if err := t.write(ctx, store); err != nil {
		return nil, fmt.Errorf("announce who has data keys: %w", err)
	}
	return t, nil
}

func (t *tenancy) write(ctx context.Context, store kv.KV) error {
	lease, err := store.Grant(ctx, holderTTL)
	if err != nil {
		return err
	}
	value := encodeJSON(holder{Format: holderFormat, Who: t.who, Since: t.since})
	key := holderPrefix + rand.Text() // a new one each time: that of a lease which is over may still stand there
	rev, err := store.Txn(ctx, []kv.Cond{kv.KeyMissing(key)}, []kv.Op{kv.PutLeased(key, value, lease.ID())})
	if err != nil {
		_ = lease.Close(context.WithoutCancel(ctx)) // it ends by itself otherwise
		return err
	}
	if t.since == 0 {
		t.since = rev
	}
	t.lease = lease
	return nil
}

// keep writes the record again whenever etcd has let it go, until ctx ends; then it goes.
func (t *tenancy) keep(ctx context.Context, store kv.KV) {
	for wait := firstRetry; ; {
		select {
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRetry)
			defer cancel()
			_ = t.lease.Close(late) // it ends by itself otherwise
			return
		case <-t.lease.Done():
		}
		if err := t.write(ctx, store); err == nil {
			wait = firstRetry
		} else if errors.Is(err, kv.ErrClosed) {
			return
		} else if pause(ctx, wait) {
			wait = min(2*wait, lastRetry)
		}
	}
}

// settled returns the condition that the data keys are wrapped by the KMS by which they are now, or ErrHeldBefore with the names of those who would not
// learn a new one.
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
		var h holder
		if err := json.Unmarshal(item.Value, &h); err != nil || h.Format > holderFormat {
			return kv.Cond{}, fmt.Errorf("%w: %s cannot be read", ErrNewer, item.Key)
		}
		if h.Since == 0 {
			h.Since = item.CreateRev
		}
		if h.Since < when.ModRev && !slices.Contains(before, h.Who) {
			before = append(before, h.Who)
		}
	}
	if len(before) > 0 {
		slices.Sort(before)
		return kv.Cond{}, fmt.Errorf("%w: %s; they would not learn a new data key. Start serve, agents and gateways anew with the new --kms, then `millrace cluster roll`, then rotate",
			ErrHeldBefore, clipNames(before))
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
