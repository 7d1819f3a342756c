package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"millrace/base/kv"
)

// groupPrefix is where the groups of the installation lie.
const groupPrefix = "security/groups/"

// networkName is the key of a cluster's Network below its prefix.
const networkName = "network"

// Store reads and changes groups and one cluster's Network.
type Store struct {
	kv     kv.KV
	prefix string
}

// NewStore makes a Store for the cluster whose keys have the prefix, such as "clusters/main/".
func NewStore(store kv.KV, prefix string) *Store { return &Store{kv: store, prefix: prefix} }

func (s *Store) key() string { return s.prefix + networkName }

// Groups are all groups, by name. One that cannot be read is an error that names it.
func (s *Store) Groups(ctx context.Context) ([]Group, error) {
	items, _, err := s.kv.List(ctx, groupPrefix)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	groups := make([]Group, 0, len(items))
	for _, item := range items {
		g, err := decode[Group](item.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// PutGroup makes a group, or replaces the one of its name. With create it returns ErrExists where there is one, and otherwise ErrUnknown
// where there is none; before is what was there.
func (s *Store) PutGroup(ctx context.Context, g Group, create bool) (before *Group, err error) {
	g.Format = format
	if g.Allow == nil {
		g.Allow = []netip.Prefix{}
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	key := groupPrefix + g.Name
	for {
		item, err := s.kv.Get(ctx, key)
		switch {
		case errors.Is(err, kv.ErrNotFound) && !create:
			return nil, fmt.Errorf("%w: group %q", ErrUnknown, g.Name)
		case err == nil && create:
			return nil, fmt.Errorf("%w: group %q", ErrExists, g.Name)
		case err != nil && !errors.Is(err, kv.ErrNotFound):
			return nil, fmt.Errorf("read group %s: %w", g.Name, err)
		}
		if err == nil {
			if old, err := decode[Group](item.Value); err == nil {
				before = &old
			}
		}
		if create {
			if err := s.roomForGroup(ctx); err != nil {
				return nil, err
			}
		}
		done, err := s.put(ctx, key, item.ModRev, g)
		if err != nil || done {
			return before, err
		}
	}
}

func (s *Store) roomForGroup(ctx context.Context) error {
	items, _, err := s.kv.List(ctx, groupPrefix)
	if err == nil && len(items) >= maxGroups {
		err = fmt.Errorf("%w: there are %d groups, more cannot be", ErrInvalid, len(items))
	}
	return err
}

// put writes a record that was read at rev; done is false where somebody was faster.
func (s *Store) put(ctx context.Context, key string, rev int64, record any, cond ...kv.Cond) (done bool, err error) {
	b, err := json.Marshal(record)
	if err != nil {
		return false, fmt.Errorf("encode %s: %w", key, err)
	}
	_, err = s.kv.Txn(ctx, append(cond, kv.ModRevEquals(key, rev)), []kv.Op{kv.Put(key, b)})
	if errors.Is(err, kv.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("save %s: %w", key, err)
	}
	return true, nil
}

// DeleteGroup deletes a group that nothing of the cluster names (W6).
func (s *Store) DeleteGroup(ctx context.Context, name string) error {
	for {
		n, rev, err := s.read(ctx)
		if err != nil {
			return err
		}
		if n.uses()[name] {
			return fmt.Errorf("%w: group %q guards a listener or a private connection", ErrInUse, name)
		}
		item, err := s.kv.Get(ctx, groupPrefix+name)
		if errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("%w: group %q", ErrUnknown, name)
		}
		if err != nil {
			return fmt.Errorf("read group %s: %w", name, err)
		}
		_, err = s.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(s.key(), rev), kv.ModRevEquals(item.Key, item.ModRev)}, []kv.Op{kv.Delete(item.Key)})
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// Network is that of the cluster; the zero value where nothing was said.
func (s *Store) Network(ctx context.Context) (Network, error) {
	n, _, err := s.read(ctx)
	return n, err
}

func (s *Store) read(ctx context.Context) (n Network, rev int64, err error) {
	item, err := s.kv.Get(ctx, s.key())
	if errors.Is(err, kv.ErrNotFound) {
		return Network{}, 0, nil
	}
	if err != nil {
		return Network{}, 0, fmt.Errorf("read %s: %w", s.key(), err)
	}
	n, err = decode[Network](item.Value)
	if err != nil {
		return n, 0, fmt.Errorf("%s: %w", item.Key, err)
	}
	return n, item.ModRev, nil
}

// Edit changes the cluster's Network. change may be called again, with the record as it is then. It returns ErrUnknown where the new one
// names a group that there is not, ErrInvalid for what cannot be, and what change returned.
func (s *Store) Edit(ctx context.Context, change func(*Network) error) (before, after Network, err error) {
	for {
		n, rev, err := s.read(ctx)
		if err != nil {
			return Network{}, Network{}, err
		}
		before = n.clone()
		if err := change(&n); err != nil {
			return before, n, err
		}
		n.Format = format
		if err := n.Validate(); err != nil {
			return before, n, err
		}
		cond, err := s.named(ctx, n, before)
		if err != nil {
			return before, n, err
		}
		done, err := s.put(ctx, s.key(), rev, n, cond...)
		if err != nil || done {
			return before, n, err
		}
	}
}

// named makes sure that every group is there that the record newly names, and stays until it is written.
func (s *Store) named(ctx context.Context, n, before Network) ([]kv.Cond, error) {
	had := before.uses()
	var cond []kv.Cond
	for _, name := range slices.Sorted(maps.Keys(n.uses())) {
		if had[name] {
			continue
		}
		item, err := s.kv.Get(ctx, groupPrefix+name)
		if errors.Is(err, kv.ErrNotFound) {
			return nil, fmt.Errorf("%w: group %q", ErrUnknown, name)
		}
		if err != nil {
			return nil, fmt.Errorf("read group %s: %w", name, err)
		}
		cond = append(cond, kv.ModRevEquals(item.Key, item.ModRev))
	}
	return cond, nil
}

func (n Network) clone() Network {
	c := n
	c.Guards = maps.Clone(n.Guards)
	c.Connections = slices.Clone(n.Connections)
	return c
}
