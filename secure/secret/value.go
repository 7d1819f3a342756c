package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"millrace/base/kv"
)

// token is the ID of a version that nobody gave one.
func (s *Store) token(given string) string {
	if given != "" {
		return given
	}
	var b [16]byte
	s.world.Random(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random one, as RFC 9562 has it
	return uuid.UUID(b).String()
}

// seals is what a value is bound to (SE1).
func seals(r Ref, version string) []byte { return []byte("secret\x00" + r.valueKey(version)) }

// add gives a secret a version with these stages, and returns what is written for it beside the record. The error is ErrExists for an ID
// that is there; has tells whether it is the same.
func (s *Store) add(ctx context.Context, x *Secret, id string, v Value, stages []string) ([]kv.Op, error) {
	if _, there := x.Version(id); there {
		same, err := s.has(ctx, *x, id, v)
		if err == nil && !same {
			err = fmt.Errorf("%w: you can't use ClientRequestToken %s because that value is already in use for a version of secret %s", ErrExists, id, x.Name)
		}
		return nil, err
	}
	sealed, err := s.world.Sealer.Seal(v.Bytes, seals(x.Ref(), id))
	if err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	if len(x.Versions) == 0 && !slices.Contains(stages, Current) {
		stages = append(slices.Clone(stages), Current)
	}
	now := s.world.Clock.Now().UTC()
	x.Versions = append(slices.Clone(x.Versions), Version{ID: id, Created: now})
	x.Changed = now
	for _, stage := range stages {
		x.move(stage, id)
	}
	if n := x.stages(); n > maxStages {
		return nil, fmt.Errorf("%w: %d staging labels", ErrLimit, n)
	}
	ops := []kv.Op{put(x.Ref().valueKey(id), sealedValue{Format: format, Binary: v.Binary, Sealed: sealed})}
	for _, gone := range x.prune() {
		ops = append(ops, kv.Delete(x.Ref().valueKey(gone)))
	}
	return ops, nil
}

// has says whether a version has the value.
func (s *Store) has(ctx context.Context, x Secret, id string, v Value) (bool, error) {
	if _, there := x.Version(id); !there {
		return false, nil
	}
	old, err := s.open(ctx, x.Ref(), id)
	return err == nil && old.Binary == v.Binary && bytes.Equal(old.Bytes, v.Bytes), err
}

func (s *Store) open(ctx context.Context, r Ref, id string) (Value, error) {
	sealed, _, err := read[sealedValue](ctx, s.world.KV, r.valueKey(id))
	if err != nil {
		return Value{}, err
	}
	plain, err := s.world.Sealer.Open(sealed.Sealed, seals(r, id))
	if err != nil {
		return Value{}, fmt.Errorf("open version %s of secret %s: %w", id, r.Name, err)
	}
	return Value{Binary: sealed.Binary, Bytes: plain}, nil
}

// move gives a stage to a version, and takes it from the one that had it (SE3). id "": nobody has it then.
func (s *Secret) move(stage, id string) {
	from, had := s.staged(stage)
	if had && from.ID == id {
		return
	}
	s.Versions = slices.Clone(s.Versions)
	for i := range s.Versions {
		v := &s.Versions[i]
		v.Stages = slices.DeleteFunc(slices.Clone(v.Stages), func(x string) bool { return x == stage })
		if v.ID == id {
			v.Stages = append(v.Stages, stage)
			slices.Sort(v.Stages)
		}
	}
	if stage == Current && had {
		s.move(Previous, from.ID)
	}
}

func (s *Secret) stages() (n int) {
	for _, v := range s.Versions {
		n += len(v.Stages)
	}
	return n
}

// prune drops the oldest deprecated versions while there are too many.
func (s *Secret) prune() (gone []string) {
	for i := 0; i < len(s.Versions) && len(s.Versions) > maxVersions; {
		if len(s.Versions[i].Stages) > 0 {
			i++
			continue
		}
		gone = append(gone, s.Versions[i].ID)
		s.Versions = slices.Delete(s.Versions, i, i+1)
	}
	return gone
}

// Put gives a secret a version; without stages it becomes AWSCURRENT. The same token with the same value does nothing (SE2). Errors:
// ErrNotFound, ErrDeleted, ErrInvalid, ErrExists, ErrLimit.
func (s *Store) Put(ctx context.Context, r Ref, token string, v Value, stages []string) (Secret, Version, error) {
	if err := errors.Join(checkToken(token), checkValue(&v), checkStages(stages)); err != nil {
		return Secret{}, Version{}, err
	}
	if len(stages) == 0 {
		stages = []string{Current}
	}
	id := s.token(token)
	x, err := s.change(ctx, r, func(x *Secret) ([]kv.Op, error) { return s.add(ctx, x, id, v, stages) })
	version, _ := x.Version(id)
	return x, version, err
}

// Change is what Update changes; nil: it stays.
type Change struct {
	Description *string
	KMSKey      *string
	Value       *Value
	Token       string // ID of the version that Value becomes; "": a random one
}

// Update changes a secret. version is the ID of the version that came of it; "": none. Errors: those of Put.
func (s *Store) Update(ctx context.Context, r Ref, c Change) (x Secret, version string, err error) {
	if err := errors.Join(checkToken(c.Token), checkValue(c.Value)); err != nil {
		return Secret{}, "", err
	}
	if c.Value != nil {
		version = s.token(c.Token)
	}
	x, err = s.change(ctx, r, func(x *Secret) ([]kv.Op, error) {
		ops := some()
		if c.Value != nil {
			if ops, err = s.add(ctx, x, version, *c.Value, []string{Current}); err != nil {
				return nil, err
			}
		}
		if c.Description != nil {
			x.Description = *c.Description
		}
		if c.KMSKey != nil {
			x.KMSKey = *c.KMSKey
		}
		x.Changed = s.world.Clock.Now().UTC()
		return append(some(), ops...), errors.Join(checkText("the description", x.Description, maxDescription), checkText("the key", x.KMSKey, maxKMSKey))
	})
	return x, version, err
}

// Move gives a stage to a version (to), or takes it away (""). from is the version that has it, and must be named where one has. Errors:
// ErrNotFound, ErrDeleted, ErrInvalid, ErrState, ErrLimit.
func (s *Store) Move(ctx context.Context, r Ref, stage, from, to string) (Secret, error) {
	if err := checkStages([]string{stage}); err != nil {
		return Secret{}, err
	}
	return s.change(ctx, r, func(x *Secret) ([]kv.Op, error) {
		holder, held := x.staged(stage)
		switch {
		case from == "" && to == "":
			return nil, fmt.Errorf("%w: name a version to move the label to, or one to remove it from", ErrInvalid)
		case held && holder.ID != from && holder.ID != to, !held && from != "":
			return nil, fmt.Errorf("%w: the staging label %s is not attached to version %s", ErrState, stage, from)
		case stage == Current && to == "":
			return nil, fmt.Errorf("%w: you can't remove AWSCURRENT; move it to another version", ErrState)
		}
		if _, there := x.Version(to); to != "" && !there {
			return nil, fmt.Errorf("%w: version %s", ErrNotFound, to)
		}
		x.move(stage, to)
		x.Changed = s.world.Clock.Now().UTC()
		if n := x.stages(); n > maxStages {
			return nil, fmt.Errorf("%w: %d staging labels", ErrLimit, n)
		}
		return some(), nil
	})
}

// Get opens a version: by ID, by stage, by both, or with neither the one that is AWSCURRENT. Errors: ErrNotFound, ErrDeleted, ErrState where
// the version has not that stage.
func (s *Store) Get(ctx context.Context, r Ref, id, stage string) (Secret, Version, Value, error) {
	x, _, err := s.find(ctx, r)
	if err != nil {
		return x, Version{}, Value{}, err
	}
	if !x.Deleted.IsZero() {
		return x, Version{}, Value{}, ErrDeleted
	}
	if id == "" && stage == "" {
		stage = Current
	}
	version, ok := x.Version(id)
	if id == "" {
		version, ok = x.staged(stage)
	}
	if !ok {
		what := "staging label: " + stage
		if id != "" {
			what = "VersionId: " + id
		}
		return x, version, Value{}, fmt.Errorf("%w value for %s", ErrNotFound, what)
	}
	if stage != "" && !slices.Contains(version.Stages, stage) {
		return x, version, Value{}, fmt.Errorf("%w: version %s has not the staging label %s", ErrState, id, stage)
	}
	v, err := s.open(ctx, x.Ref(), version.ID)
	return x, version, v, err
}
