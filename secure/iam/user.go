package iam

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"millrace/base/kv"
	"millrace/secure/iam/policy"
)

// Owner is whom policies and tags belong to: a user or a role.
type Owner struct {
	Role bool // false: a user
	Name string
}

func (o Owner) key() string {
	if o.Role {
		return dirRoles + o.Name
	}
	return dirUsers + o.Name
}

// String is "user NAME" or "role NAME".
func (o Owner) String() string {
	if o.Role {
		return "role " + clip(o.Name)
	}
	return "user " + clip(o.Name)
}

// CreateUser makes a user without keys and policies. Errors: ErrExists, ErrInvalid, ErrLimit.
func (s *Store) CreateUser(ctx context.Context, name string, tags map[string]string) (User, error) {
	if err := checkName("user", name, mostUserName); err != nil {
		return User{}, err
	}
	if err := checkTags(tags); err != nil {
		return User{}, err
	}
	u := User{Permissions: Permissions{Format: currentFormat, Name: name, ID: randomID("AIDA", idLength), Created: s.clock.Now().UTC(), Tags: tags}}
	return u, s.create(ctx, dirUsers, name, Owner{Name: name}.String(), mostUsers, u)
}

// User returns a user, or ErrNotFound.
func (s *Store) User(ctx context.Context, name string) (User, error) {
	u, _, err := get[User](ctx, s.kv, dirUsers+name, Owner{Name: name}.String())
	return u, err
}

// Users returns all users by name.
func (s *Store) Users(ctx context.Context) ([]User, error) { return list[User](ctx, s.kv, dirUsers) }

// DeleteUser removes a user who has neither keys nor policies (ErrInUse).
func (s *Store) DeleteUser(ctx context.Context, name string) error {
	return remove(ctx, s, dirUsers+name, Owner{Name: name}.String(), func(u User) ([]kv.Op, error) {
		if len(u.Keys) > 0 {
			return nil, fmt.Errorf("user %s: %w: delete its access keys first", name, ErrInUse)
		}
		return nil, u.bare(Owner{Name: name})
	})
}

// bare says what is in the way of a deletion.
func (p *Permissions) bare(o Owner) error {
	if len(p.Attached) > 0 || len(p.Inline) > 0 {
		return fmt.Errorf("%v: %w: detach and delete its policies first", o, ErrInUse)
	}
	return nil
}

// edit changes what users and roles have in common.
func (s *Store) edit(ctx context.Context, o Owner, edit func(*Permissions) ([]kv.Cond, []kv.Op, error)) error {
	var err error
	if o.Role {
		_, err = change(ctx, s, o.key(), o.String(), func(r *Role) ([]kv.Cond, []kv.Op, error) { return edit(&r.Permissions) })
	} else {
		_, err = change(ctx, s, o.key(), o.String(), func(u *User) ([]kv.Cond, []kv.Op, error) { return edit(&u.Permissions) })
	}
	return err
}

// Tag sets tags and takes others away. Errors: ErrNotFound, ErrInvalid, ErrLimit.
func (s *Store) Tag(ctx context.Context, o Owner, set map[string]string, remove []string) error {
	return s.edit(ctx, o, func(p *Permissions) ([]kv.Cond, []kv.Op, error) {
		if p.Tags == nil {
			p.Tags = map[string]string{}
		}
		maps.Copy(p.Tags, set)
		for _, k := range remove {
			delete(p.Tags, k)
		}
		return nil, nil, checkTags(p.Tags)
	})
}

// Attach gives a user or role a policy by its name, one of the installation or one of ours. Attached already, nothing happens.
// Errors: ErrNotFound for either, ErrLimit.
func (s *Store) Attach(ctx context.Context, o Owner, name string) error {
	return s.edit(ctx, o, func(p *Permissions) ([]kv.Cond, []kv.Op, error) {
		if slices.Contains(p.Attached, name) {
			return nil, nil, nil
		}
		if len(p.Attached) >= mostAttached {
			return nil, nil, fmt.Errorf("%v: %w: at most %d policies", o, ErrLimit, mostAttached)
		}
		p.Attached = append(p.Attached, name)
		return s.count(ctx, name, 1)
	})
}

// Detach takes a policy away. Errors: ErrNotFound for the owner, and where it does not have the policy.
func (s *Store) Detach(ctx context.Context, o Owner, name string) error {
	return s.edit(ctx, o, func(p *Permissions) ([]kv.Cond, []kv.Op, error) {
		i := slices.Index(p.Attached, name)
		if i < 0 {
			return nil, nil, fmt.Errorf("policy %s attached to %v: %w", clip(name), o, ErrNotFound)
		}
		p.Attached = slices.Delete(p.Attached, i, i+1)
		return s.count(ctx, name, -1)
	})
}

// count is what changes at a policy when it is attached or detached.
func (s *Store) count(ctx context.Context, name string, by int) ([]kv.Cond, []kv.Op, error) {
	if _, ok := ours()[name]; ok {
		return nil, nil, nil
	}
	m, rev, err := get[Managed](ctx, s.kv, dirPolicies+name, "policy "+clip(name))
	if err != nil {
		return nil, nil, err
	}
	m.Attachments += by
	return []kv.Cond{kv.ModRevEquals(dirPolicies+name, rev)}, []kv.Op{kv.Put(dirPolicies+name, encode(m))}, nil
}

// PutInline gives a user or role a policy of its own, or changes it. Errors: ErrNotFound, ErrInvalid, ErrLimit.
func (s *Store) PutInline(ctx context.Context, o Owner, name string, document []byte) error {
	if err := checkName("policy", name, mostPolicyName); err != nil {
		return err
	}
	if _, err := checkDocument(document, policy.Identity, name); err != nil {
		return err
	}
	return s.edit(ctx, o, func(p *Permissions) ([]kv.Cond, []kv.Op, error) {
		if p.Inline == nil {
			p.Inline = map[string]json.RawMessage{}
		}
		p.Inline[name] = compact(document)
		most, size := mostInlineUser, 0
		if o.Role {
			most = mostInlineRole
		}
		for _, d := range p.Inline {
			size += policy.Size(d)
		}
		if size > most {
			return nil, nil, fmt.Errorf("%v: %w: its own policies have %d characters, at most %d", o, ErrLimit, size, most)
		}
		return nil, nil, nil
	})
}

// DeleteInline removes a policy of its own. Errors: ErrNotFound.
func (s *Store) DeleteInline(ctx context.Context, o Owner, name string) error {
	return s.edit(ctx, o, func(p *Permissions) ([]kv.Cond, []kv.Op, error) {
		if _, ok := p.Inline[name]; !ok {
			return nil, nil, fmt.Errorf("policy %s of %v: %w", clip(name), o, ErrNotFound)
		}
		delete(p.Inline, name)
		return nil, nil, nil
	})
}
