package iam

import (
	"context"
	"fmt"
	"time"

	"millrace/base/kv"
	"millrace/secure/iam/policy"
)

// The longest sessions that a role can allow.
const (
	leastMaxSession = time.Hour
	mostMaxSession  = 12 * time.Hour
)

// NewRole says what a role shall be.
type NewRole struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Trust       []byte            `json:"-"` // JSON: who may assume it
	MaxSession  time.Duration     `json:"-"` // 1 to 12 hours; zero: 1 hour
	Tags        map[string]string `json:"tags"`
}

// CreateRole makes a role without policies. Errors: ErrExists, ErrInvalid, ErrLimit.
func (s *Store) CreateRole(ctx context.Context, n NewRole) (Role, error) {
	if n.MaxSession == 0 {
		n.MaxSession = leastMaxSession
	}
	if err := checkName("role", n.Name, mostRoleName); err != nil {
		return Role{}, err
	}
	if err := checkTags(n.Tags); err != nil {
		return Role{}, err
	}
	if err := checkRole(n.Trust, n.MaxSession, n.Description); err != nil {
		return Role{}, err
	}
	r := Role{
		Permissions: Permissions{Format: currentFormat, Name: n.Name, ID: randomID("AROA", idLength), Created: s.clock.Now().UTC(), Tags: n.Tags},
		Description: n.Description, Trust: compact(n.Trust), MaxSession: int(n.MaxSession / time.Second),
	}
	return r, s.create(ctx, dirRoles, n.Name, Owner{Role: true, Name: n.Name}.String(), mostRoles, r)
}

func checkRole(trust []byte, longest time.Duration, description string) error {
	if longest < leastMaxSession || longest > mostMaxSession {
		return fmt.Errorf("%w: longest session %v: use %v to %v", ErrInvalid, longest, leastMaxSession, mostMaxSession)
	}
	if len(description) > mostDescription {
		return fmt.Errorf("%w: the description has more than %d bytes", ErrInvalid, mostDescription)
	}
	_, err := checkDocument(trust, policy.Trust, "trust")
	return err
}

// Role returns a role, or ErrNotFound.
func (s *Store) Role(ctx context.Context, name string) (Role, error) {
	r, _, err := get[Role](ctx, s.kv, dirRoles+name, Owner{Role: true, Name: name}.String())
	return r, err
}

// Roles returns all roles by name.
func (s *Store) Roles(ctx context.Context) ([]Role, error) { return list[Role](ctx, s.kv, dirRoles) }

// SetTrust changes who may assume a role. Sessions that are out already stay. Errors: ErrNotFound, ErrInvalid.
func (s *Store) SetTrust(ctx context.Context, name string, trust []byte) error {
	if _, err := checkDocument(trust, policy.Trust, "trust"); err != nil {
		return err
	}
	_, err := change(ctx, s, dirRoles+name, Owner{Role: true, Name: name}.String(), func(r *Role) ([]kv.Cond, []kv.Op, error) {
		r.Trust = compact(trust)
		return nil, nil, nil
	})
	return err
}

// DeleteRole removes a role that has no policies (ErrInUse). Its sessions end with it.
func (s *Store) DeleteRole(ctx context.Context, name string) error {
	o := Owner{Role: true, Name: name}
	return remove(ctx, s, o.key(), o.String(), func(r Role) ([]kv.Op, error) { return nil, r.bare(o) })
}
