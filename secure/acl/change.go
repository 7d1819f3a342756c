package acl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"millrace/base/kv"
	"millrace/kafka/kerr"
)

// ErrUnavailable says that etcd could not be changed; what was asked for may be in force in part.
var ErrUnavailable = errors.New("acl: etcd does not take the change")

// txnBindings and txnBytes bound what one transaction changes; the rest of its room is for the turn.
const (
	txnBindings = kv.MaxOps - 1
	txnBytes    = kv.MaxBytes - 4*kv.MaxKeyBytes
)

// Create adds bindings. The first result has an error for each binding, nil where it is in force now or was before: the errors of
// Validate, and kerr.PolicyViolation where there are too many. The second error says that etcd could not be changed, or not for all:
// then some may be in force. More than fit one transaction of etcd are added one part after the other.
func (s *Store) Create(ctx context.Context, list []Binding) ([]error, error) {
	errs := make([]error, len(list))
	var valid []Binding
	seen := make(map[Binding]bool, len(list))
	for i, b := range list {
		switch errs[i] = b.Validate(); {
		case len(list) > MaxAtOnce:
			errs[i] = &fault{kerr.PolicyViolation, "Unable to perform excessively large batch operation."}
		case errs[i] == nil && !seen[b]:
			seen[b] = true
			valid = append(valid, b)
		}
	}
	if len(list) > MaxAtOnce {
		return errs, nil
	}
	now := s.Snapshot()
	for len(valid) > 0 {
		part, rest := s.puts(valid)
		if now.Len()+len(part) > MaxBindings {
			full := &fault{kerr.PolicyViolation, fmt.Sprintf("There are %d ACLs already, at most %d can be kept.", now.Len(), MaxBindings)}
			return s.refuseAll(errs, list, valid, full), nil
		}
		next, err := s.commit(ctx, now, part)
		switch {
		case errors.Is(err, kv.ErrConflict):
		case err != nil:
			return errs, fmt.Errorf("create ACLs: %w: %w", ErrUnavailable, err)
		default:
			valid = rest
		}
		if now, err = s.await(ctx, next); err != nil {
			return errs, fmt.Errorf("create ACLs: %w: %w", ErrUnavailable, err)
		}
	}
	return errs, nil
}

// refuseAll says of what is left that it is not kept.
func (s *Store) refuseAll(errs []error, list, left []Binding, why error) []error {
	refused := make(map[Binding]bool, len(left))
	for _, b := range left {
		refused[b] = true
	}
	for i, b := range list {
		if refused[b] {
			errs[i] = why
		}
	}
	return errs
}

// puts makes operations of as many bindings as fit, and gives back the others.
func (s *Store) puts(list []Binding) (ops []kv.Op, rest []Binding) {
	size := 0
	for i, b := range list {
		op := kv.Put(s.prefix+name(b), encode(b))
		size += len(op.Key) + len(op.Value)
		if i == txnBindings || i > 0 && size > txnBytes {
			return ops, list[i:]
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// Deleted is what one filter took away.
type Deleted struct {
	Bindings []Binding // in the order of Compare
	Err      error     // of the filter: that of Validate
}

// Delete takes away all bindings that the filters find, and says for each filter which. One that several filters find is told to each.
// An error says that etcd could not be changed, or not for all; kerr.PolicyViolation that more than MaxAtOnce would go.
func (s *Store) Delete(ctx context.Context, filters []Filter) ([]Deleted, error) {
	out := make([]Deleted, len(filters))
	for i, f := range filters {
		out[i].Err = f.Validate()
	}
	gone := make(map[Binding]bool) // in etcd, of this call
	now, err := s.current(ctx)
	if err != nil {
		return nil, fmt.Errorf("delete ACLs: %w: %w", ErrUnavailable, err)
	}
	for {
		found := s.found(now, filters, out)
		if len(found)+len(gone) > MaxAtOnce {
			return nil, &fault{kerr.PolicyViolation, "Unable to perform excessively large batch operation."}
		}
		if len(found) == 0 {
			break
		}
		part := found[:min(len(found), txnBindings)]
		ops := make([]kv.Op, 0, len(part))
		for _, b := range part {
			ops = append(ops, kv.Delete(s.prefix+name(b)))
		}
		next, err := s.commit(ctx, now, ops)
		switch {
		case errors.Is(err, kv.ErrConflict):
		case err != nil:
			return nil, fmt.Errorf("delete ACLs: %w: %w", ErrUnavailable, err)
		default:
			for _, b := range part {
				gone[b] = true
			}
		}
		if now, err = s.await(ctx, next); err != nil {
			return nil, fmt.Errorf("delete ACLs: %w: %w", ErrUnavailable, err)
		}
	}
	for i, f := range filters {
		for b := range gone {
			if out[i].Err == nil && f.Matches(b) {
				out[i].Bindings = append(out[i].Bindings, b)
			}
		}
		slices.SortFunc(out[i].Bindings, Compare)
	}
	return out, nil
}

// found lists what any filter without a fault finds.
func (s *Store) found(now *Snapshot, filters []Filter, checked []Deleted) []Binding {
	seen := make(map[Binding]bool)
	var found []Binding
	for i, f := range filters {
		if checked[i].Err != nil {
			continue
		}
		for _, b := range now.Find(f) {
			if !seen[b] {
				seen[b] = true
				found = append(found, b)
			}
		}
	}
	return found
}

// current waits for the Snapshot that has all changes until now.
func (s *Store) current(ctx context.Context) (*Snapshot, error) {
	item, err := s.kv.Get(ctx, s.prefix+turnKey)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, err
	}
	return s.await(ctx, item.ModRev)
}

// commit changes etcd if nobody has since now. The revision is that of the change; with kv.ErrConflict that of the other's.
func (s *Store) commit(ctx context.Context, now *Snapshot, ops []kv.Op) (int64, error) {
	text, err := json.Marshal(turn{Format: format, ID: uuid.NewString()})
	if err != nil {
		return 0, err
	}
	key := s.prefix + turnKey
	rev, err := s.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, now.turn)}, append(ops, kv.Put(key, text)))
	if !errors.Is(err, kv.ErrConflict) {
		return rev, err
	}
	item, getErr := s.kv.Get(ctx, key)
	if getErr != nil && !errors.Is(getErr, kv.ErrNotFound) {
		return 0, getErr
	}
	return item.ModRev, err
}
