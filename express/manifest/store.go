package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"millrace/base/kv"
	"millrace/base/object"
	"millrace/express/segment"
	"millrace/kafka/topic"
)

const (
	// Root is the first part of every body's key.
	Root = "manifests/"

	maxBodyBytes = 64 << 20 // some 200,000 segments; a larger object is not a manifest
)

// Store loads, commits and sweeps manifests. Make one with NewStore. Safe for concurrent use.
type Store struct {
	kv      kv.KV
	objects object.Store
	prefix  string // of the pointers; ends in a slash
	log     *slog.Logger

	page, sweepMax int // objects per listing and per Sweep; constants, but for tests

	turn  chan struct{} // holds one token, which a Sweep takes while it works
	sweep sweepState    // of whoever has the token
}

// NewStore keeps pointers in kv below prefix and bodies in objects. It reads nothing yet.
func NewStore(kv kv.KV, objects object.Store, prefix string, log *slog.Logger) *Store {
	s := &Store{
		kv: kv, objects: objects, prefix: strings.TrimSuffix(prefix, "/") + "/", log: log,
		page: listPage, sweepMax: sweepObjects, turn: make(chan struct{}, 1),
		sweep: sweepState{orphans: make(map[string]orphan)},
	}
	s.turn <- struct{}{}
	return s
}

func (s *Store) pointerKey(p topic.Partition) string {
	return s.prefix + p.Topic.String() + "/" + strconv.Itoa(int(p.Index))
}

// parsePointerKey is the inverse of pointerKey.
func (s *Store) parsePointerKey(key string) (topic.Partition, error) {
	id, index, _ := strings.Cut(strings.TrimPrefix(key, s.prefix), "/")
	t, err := topic.ParseID(id)
	if err != nil {
		return topic.Partition{}, fmt.Errorf("%w: pointer key %q: %w", ErrCorrupt, key, err)
	}
	n, err := strconv.ParseInt(index, 10, 32)
	if err != nil {
		return topic.Partition{}, fmt.Errorf("%w: pointer key %q: %w", ErrCorrupt, key, err)
	}
	return topic.Partition{Topic: t, Index: int32(n)}, nil
}

// bodyPrefix is what the keys of all bodies of p begin with.
func bodyPrefix(p topic.Partition) string {
	return fmt.Sprintf("%s%s/%s/%d/", Root, segment.Shard(p), p.Topic, p.Index)
}

// Load returns the current manifest of p, which is the caller's to keep but not to change; one of Version 0 when nothing
// was ever committed. It returns ErrCorrupt or ErrNewer for what it cannot read, and the stores' errors.
func (s *Store) Load(ctx context.Context, p topic.Partition) (*Manifest, error) {
	for rev := int64(0); ; {
		item, err := s.kv.Get(ctx, s.pointerKey(p))
		if errors.Is(err, kv.ErrNotFound) {
			return &Manifest{Partition: p}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("load manifest of %s: %w", p, err)
		}
		if item.ModRev == rev {
			return nil, fmt.Errorf("load manifest of %s: %w: body is gone", p, ErrCorrupt)
		}
		m, err := s.follow(ctx, p, item)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, object.ErrNotFound) {
			return nil, fmt.Errorf("load manifest of %s: %w", p, err)
		}
		// The body went while we looked: somebody committed a newer one, or the pointer points to nothing. Look again to
		// tell which; each round needs a commit and a sweep of others, so this ends.
		rev = item.ModRev
	}
}

// follow reads the body that a pointer names. A body that is not there gives object.ErrNotFound.
func (s *Store) follow(ctx context.Context, p topic.Partition, item kv.Item) (*Manifest, error) {
	ptr, err := decodePointer(item.Value)
	if err != nil {
		return nil, fmt.Errorf("pointer: %w", err)
	}
	if ptr.Body == "" {
		return &Manifest{Partition: p, Version: ptr.Version, fence: ptr.Fence, rev: item.ModRev}, nil
	}
	b, err := s.readBody(ctx, ptr.Body)
	if err != nil {
		return nil, err
	}
	m, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("body %s: %w", ptr.Body, err)
	}
	if m.Partition != p || m.Version > ptr.Version || m.LogStart > ptr.LogStart {
		return nil, fmt.Errorf("body %s: %w: it does not fit its pointer", ptr.Body, ErrCorrupt)
	}
	m.Version, m.LogStart, m.bodyKey, m.fence, m.rev = ptr.Version, ptr.LogStart, ptr.Body, ptr.Fence, item.ModRev
	if len(m.Segments) == 0 {
		m.End = m.LogStart
	}
	return m, nil
}

// Partitions lists the partitions that have a manifest, in no order. Keys that cannot be read are logged and left out.
func (s *Store) Partitions(ctx context.Context) ([]topic.Partition, error) {
	items, _, err := s.kv.List(ctx, s.prefix)
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	all := make([]topic.Partition, 0, len(items))
	for _, item := range items {
		p, err := s.parsePointerKey(item.Key)
		if err != nil {
			s.log.ErrorContext(ctx, "unreadable manifest key skipped", "err", err)
			continue
		}
		all = append(all, p)
	}
	return all, nil
}

// Commit makes next the current manifest if prev still is; next was cloned from prev. It writes a new body and then moves
// the pointer; when LogStart alone changed, only the pointer is written. On success next carries its version and must not
// be changed any more; otherwise it is as before.
//
// It returns ErrInvalid when next breaks an invariant, ErrConflict when somebody else committed first, ErrFenced when that
// was a later owner; none changed anything. After any other error the outcome may be unknown (kv.ErrUnknown): Load tells.
func (s *Store) Commit(ctx context.Context, prev, next *Manifest) error {
	err := checkStep(prev, next)
	if err == nil {
		err = next.check()
	}
	if err != nil {
		return fmt.Errorf("commit manifest of %s: %w: %w", prev.Partition, ErrInvalid, err)
	}
	rev, bodyKey, err := s.commit(ctx, prev, next)
	if err != nil {
		return fmt.Errorf("commit manifest of %s: %w", prev.Partition, err)
	}
	next.Version, next.rev, next.bodyKey = prev.Version+1, rev, bodyKey
	return nil
}

func (s *Store) commit(ctx context.Context, prev, next *Manifest) (rev int64, bodyKey string, err error) {
	nonce := uuid.New().String()
	bodyKey = prev.bodyKey
	if bodyKey == "" || !sameBody(prev, next) {
		if err := s.checkObjects(ctx, prev, next); err != nil {
			return 0, "", err
		}
		bodyKey = fmt.Sprintf("%s%020d-%s", bodyPrefix(next.Partition), prev.Version+1, nonce)
		if err := s.putBody(ctx, bodyKey, next, prev.Version+1); err != nil {
			return 0, "", err
		}
	}
	rev, err = s.movePointer(ctx, prev, pointer{
		Format: formatVersion, Version: prev.Version + 1, Body: bodyKey, LogStart: next.LogStart, Nonce: nonce, Fence: prev.fence,
	})
	return rev, bodyKey, err
}

// checkObjects makes sure that what next adds is there, whole: a manifest never names what a sweep has taken from under a
// slow writer.
func (s *Store) checkObjects(ctx context.Context, prev, next *Manifest) error {
	known := make(map[string]bool, len(prev.Segments))
	for _, g := range prev.Segments {
		known[g.Key] = true
	}
	for _, g := range next.Segments {
		if known[g.Key] {
			continue
		}
		have, err := s.objects.Stat(ctx, g.Key)
		switch {
		case errors.Is(err, object.ErrNotFound):
			return fmt.Errorf("%w: segment %q is not in the store", ErrInvalid, g.Key)
		case err != nil:
			return fmt.Errorf("look for segment %q: %w", g.Key, err)
		case have.Size != g.Size:
			return fmt.Errorf("%w: segment %q has %d bytes, not %d", ErrInvalid, g.Key, have.Size, g.Size)
		}
	}
	return nil
}

// readBody reads a whole body into memory of its size.
func (s *Store) readBody(ctx context.Context, key string) ([]byte, error) {
	r, err := s.objects.Open(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("open body: %w", err)
	}
	defer r.Close()
	if r.Size() > maxBodyBytes {
		return nil, fmt.Errorf("body %s: %w: %d bytes", key, ErrCorrupt, r.Size())
	}
	b := make([]byte, r.Size())
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read body %s: %w", key, err)
	}
	return b, nil
}

// putBody writes next as the body of a version.
func (s *Store) putBody(ctx context.Context, key string, next *Manifest, version int64) error {
	m := *next
	m.Version = version
	b, err := encode(&m)
	if err != nil {
		return err
	}
	if err := s.objects.Put(ctx, key, [][]byte{b}, object.PutOptions{IfAbsent: true}); err != nil {
		return fmt.Errorf("put body: %w", err)
	}
	return nil
}

// movePointer is the moment of truth. The nonce makes the value unlike any other, so that reading it back tells whether a
// transaction of unknown outcome was applied.
func (s *Store) movePointer(ctx context.Context, prev *Manifest, ptr pointer) (int64, error) {
	value, err := json.Marshal(ptr)
	if err != nil {
		return 0, fmt.Errorf("encode pointer: %w", err)
	}
	key := s.pointerKey(prev.Partition)
	rev, err := s.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, prev.rev)}, []kv.Op{kv.Put(key, value)})
	if err == nil {
		return rev, nil
	}
	item, readErr := s.kv.Get(ctx, key)
	if readErr == nil && bytes.Equal(item.Value, value) {
		return item.ModRev, nil
	}
	// The body stays: a transaction of unknown outcome may still be applied. If it was not, Sweep finds the orphan.
	if errors.Is(err, kv.ErrConflict) {
		if now, bad := decodePointer(item.Value); readErr == nil && bad == nil && now.Fence > prev.fence {
			return 0, fmt.Errorf("%w, of leader epoch %d: %w", ErrFenced, now.Fence, err)
		}
		return 0, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return 0, fmt.Errorf("move pointer: %w", err)
}

// Delete forgets a partition that is gone for good: pointer first, then the bodies. Its segments are orphans from then on,
// which Sweep takes after the grace period, so that reads under way end well. Deleting what is not there is no error, so
// that it can be repeated after a failure.
func (s *Store) Delete(ctx context.Context, p topic.Partition) error {
	if _, err := s.kv.Txn(ctx, nil, []kv.Op{kv.Delete(s.pointerKey(p))}); err != nil {
		return fmt.Errorf("delete manifest of %s: %w", p, err)
	}
	for {
		page, err := s.objects.List(ctx, bodyPrefix(p), "", s.page)
		if err != nil {
			return fmt.Errorf("delete manifest of %s: %w", p, err)
		}
		for _, o := range page {
			if err := s.objects.Delete(ctx, o.Key); err != nil {
				return fmt.Errorf("delete manifest of %s: %w", p, err)
			}
		}
		if len(page) < s.page {
			return nil
		}
	}
}
