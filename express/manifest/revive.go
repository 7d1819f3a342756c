package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"millrace/base/object"
	"millrace/express/segment"
	"millrace/kafka/topic"
)

// reviveMost bounds how many bodies of a partition Revive reads, from the newest on.
const reviveMost = 100

// Revived is the manifest that Revive found, and the pointer to it.
type Revived struct {
	Manifest *Manifest
	Pointer  []byte   // value for etcd
	Before   int64    // version of the pointer that was given; 0: none was
	Missing  []string // segments that it, or a newer one that reaches further, refers to and that are not in the store whole
}

// Revive finds the newest manifest of p that the store holds, for an etcd that was lost: value is what an older state of
// it held, nil where that had none. Bodies older than the pointer's are not looked at. Of newer ones those whose segments
// are all there are preferred; what is missing of one that reaches further is told, and may be of one that was never
// committed. Of two of one version, of which only one can have been committed, the one that reaches further is taken: what
// both cover is the same. It returns ErrCorrupt where the body that the pointer names cannot be read and there is no newer
// one, and nil where there is nothing at all.
func Revive(ctx context.Context, objects object.Store, p topic.Partition, value []byte) (*Revived, error) {
	var ptr pointer
	if value != nil {
		var err error
		if ptr, err = decodePointer(value); err != nil {
			return nil, err
		}
	}
	keys, err := bodies(ctx, objects, p)
	if err != nil {
		return nil, err
	}
	if ptr.Body != "" && !slices.Contains(keys, ptr.Body) {
		keys = append(keys, ptr.Body) // then it is lost, unless the listing was late
	}
	s := &Store{objects: objects}
	var best *Revived
	var broken []*Revived
	var faults error
	for _, key := range keys[:min(len(keys), reviveMost)] {
		version := bodyVersion(key)
		if key != ptr.Body && version <= bodyVersion(ptr.Body) || best != nil && version < bodyVersion(best.Manifest.bodyKey) {
			continue
		}
		m, err := s.body(ctx, p, key)
		if errors.Is(err, object.ErrNotFound) || errors.Is(err, ErrCorrupt) {
			faults = errors.Join(faults, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		missing, err := s.missing(ctx, m)
		if err != nil {
			return nil, err
		}
		switch r := (&Revived{Manifest: m, Missing: missing}); {
		case len(missing) > 0 && key != ptr.Body:
			broken = append(broken, r)
		case best == nil || m.End > best.Manifest.End:
			best = r
		}
	}
	if best == nil && len(broken) > 0 {
		best, broken = broken[0], broken[1:]
	}
	for _, r := range broken {
		if r.Manifest.End > best.Manifest.End {
			best.Missing = append(best.Missing, r.Missing...)
		}
	}
	switch {
	case best == nil && faults != nil:
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, faults)
	case best == nil:
		return nil, nil
	}
	return best, best.point(ptr)
}

// body reads one body of p.
func (s *Store) body(ctx context.Context, p topic.Partition, key string) (*Manifest, error) {
	b, err := s.readBody(ctx, key)
	if err != nil {
		return nil, err
	}
	m, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("body %s: %w", key, err)
	}
	if m.Partition != p {
		return nil, fmt.Errorf("body %s: %w: it is of %s", key, ErrCorrupt, m.Partition)
	}
	m.bodyKey = key
	return m, nil
}

// missing lists the segments of m that are not in the store as they should be.
func (s *Store) missing(ctx context.Context, m *Manifest) (keys []string, err error) {
	for _, g := range m.Segments {
		have, err := s.objects.Stat(ctx, g.Key)
		switch {
		case errors.Is(err, object.ErrNotFound), err == nil && have.Size != g.Size:
			keys = append(keys, g.Key)
		case err != nil:
			return nil, fmt.Errorf("look for segment %q: %w", g.Key, err)
		}
	}
	return keys, nil
}

// point makes the pointer, which is newer than any that was there.
func (r *Revived) point(before pointer) (err error) {
	m := r.Manifest
	r.Before = before.Version
	m.LogStart = max(m.LogStart, before.LogStart)
	m.Version = max(m.Version, before.Version) + 1
	if len(m.Segments) == 0 {
		m.End = m.LogStart
	}
	r.Pointer, err = json.Marshal(pointer{
		Format: formatVersion, Version: m.Version, Body: m.bodyKey, LogStart: m.LogStart, Nonce: uuid.New().String(),
	})
	return err
}

// bodies lists the keys of all bodies of p, the newest first.
func bodies(ctx context.Context, objects object.Store, p topic.Partition) (keys []string, err error) {
	for after := ""; ; {
		page, err := objects.List(ctx, bodyPrefix(p), after, listPage)
		if err != nil {
			return nil, fmt.Errorf("list manifests of %s: %w", p, err)
		}
		for _, o := range page {
			keys = append(keys, o.Key)
			after = o.Key
		}
		if len(page) < listPage {
			slices.SortStableFunc(keys, func(a, b string) int { return strings.Compare(b, a) })
			return keys, nil
		}
	}
}

// bodyVersion is the version that a body's key begins with; 0 for any other key.
func bodyVersion(key string) int64 {
	text, _, _ := strings.Cut(key[strings.LastIndexByte(key, '/')+1:], "-")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Stored lists the partitions of which the store holds a body, in order of their keys. Foreign keys are left out.
func Stored(ctx context.Context, objects object.Store) (ids []topic.Partition, err error) {
	for after := ""; ; {
		page, err := objects.List(ctx, Root, after, listPage)
		if err != nil {
			return nil, fmt.Errorf("list manifests: %w", err)
		}
		for _, o := range page {
			after = o.Key
			if id, ok := segment.ParseKey(Root, o.Key); ok && (len(ids) == 0 || ids[len(ids)-1] != id) {
				ids = append(ids, id)
			}
		}
		if len(page) < listPage {
			return ids, nil
		}
	}
}
