package trail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/base/kv"
)

// Sealer seals anchors, so that who can write to etcd cannot forge one either. context is authenticated and not kept.
type Sealer interface {
	// Seal encrypts and authenticates plain.
	Seal(plain, context []byte) ([]byte, error)
	// Open is the way back; it fails for what was changed, or sealed with another context.
	Open(sealed, context []byte) ([]byte, error)
}

// Point is a place in a chain: a line's number and hash. The zero Point is before the first line.
type Point struct {
	N    uint64 `json:"n"`
	Hash Hash   `json:"hash"`
}

// Gap is where lines are missing that an anchor had named: whoever kept the files lost them, or took them away.
type Gap struct {
	After Point     `json:"after"` // last line that was there
	Until Point     `json:"until"` // last line that is missing
	Found time.Time `json:"found"`
}

// Anchor is what etcd knows of a chain.
type Anchor struct {
	Format int       `json:"format"`
	Base   Point     `json:"base"` // line before the first one that is kept
	Head   Point     `json:"head"` // last line that is known
	Time   time.Time `json:"time"`
	Gaps   []Gap     `json:"gaps,omitempty"` // oldest first, at most maxGaps
}

const (
	anchorFormat = 1
	maxGaps      = 100
)

// ErrAnchor: an anchor cannot be read: it is damaged, forged, or sealed with another key.
var ErrAnchor = errors.New("trail: bad anchor")

// Anchors keeps the anchors of all writers in etcd. Safe for concurrent use.
type Anchors struct {
	kv     kv.KV
	sealer Sealer // nil: they are not sealed
}

// anchorPrefix is where they lie in etcd.
const anchorPrefix = "security/trail/"

// NewAnchors makes Anchors over the installation's part of etcd. With a nil sealer anchors are as safe as etcd is.
func NewAnchors(store kv.KV, sealer Sealer) *Anchors { return &Anchors{kv: store, sealer: sealer} }

// get returns the anchor of a writer and its revision; the zero Anchor and 0 where there is none.
func (a *Anchors) get(ctx context.Context, writer string) (Anchor, int64, error) {
	item, err := a.kv.Get(ctx, anchorPrefix+writer)
	if errors.Is(err, kv.ErrNotFound) {
		return Anchor{}, 0, nil
	}
	if err != nil {
		return Anchor{}, 0, fmt.Errorf("read anchor of %s: %w", writer, err)
	}
	anchor, err := a.decode(item)
	return anchor, item.ModRev, err
}

func (a *Anchors) decode(item kv.Item) (Anchor, error) {
	plain := item.Value
	if a.sealer != nil {
		var err error
		if plain, err = a.sealer.Open(item.Value, []byte(item.Key)); err != nil {
			return Anchor{}, fmt.Errorf("%w: %s: %w", ErrAnchor, item.Key, err)
		}
	}
	var anchor Anchor
	if err := json.Unmarshal(plain, &anchor); err != nil {
		return Anchor{}, fmt.Errorf("%w: %s: %w", ErrAnchor, item.Key, err)
	}
	if anchor.Format > anchorFormat {
		return Anchor{}, fmt.Errorf("%w: anchor %s has format %d", ErrNewer, item.Key, anchor.Format)
	}
	return anchor, nil
}

// put replaces the anchor that was read at rev and returns its revision; kv.ErrConflict where somebody was faster.
func (a *Anchors) put(ctx context.Context, writer string, anchor Anchor, rev int64) (int64, error) {
	key := anchorPrefix + writer
	anchor.Format = anchorFormat
	value, err := json.Marshal(anchor)
	if err == nil && a.sealer != nil {
		value, err = a.sealer.Seal(value, []byte(key))
	}
	if err != nil {
		return 0, fmt.Errorf("encode anchor of %s: %w", writer, err)
	}
	at, err := a.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{kv.Put(key, value)})
	if err != nil {
		return 0, fmt.Errorf("save anchor of %s: %w", writer, err)
	}
	return at, nil
}

// list returns all anchors by writer. One that cannot be read is among the faults.
func (a *Anchors) list(ctx context.Context) (anchors map[string]Anchor, faults map[string]error, err error) {
	items, _, err := a.kv.List(ctx, anchorPrefix)
	if err != nil {
		return nil, nil, fmt.Errorf("list anchors: %w", err)
	}
	anchors, faults = map[string]Anchor{}, map[string]error{}
	for _, item := range items {
		writer := strings.TrimPrefix(item.Key, anchorPrefix)
		if anchors[writer], err = a.decode(item); err != nil {
			delete(anchors, writer)
			faults[writer] = err
		}
	}
	return anchors, faults, nil
}
