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

// ours are the policies that every installation has. They cannot be changed or deleted.
func ours() map[string]Managed {
	all := map[string]Managed{}
	add := func(name, description, statements string) {
		all[name] = Managed{
			Format: currentFormat, Name: name, Description: description,
			Document: json.RawMessage(`{"Version":"2012-10-17","Statement":[` + statements + `]}`),
		}
	}
	add("MillraceAdministrator", "everything", `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	add("MillraceReadOnly", "see everything, records included, and change nothing",
		`{"Effect":"Allow","Action":["kafka-cluster:Connect","kafka-cluster:Describe*","kafka-cluster:ReadData","kafka-cluster:AlterGroup",`+
			`"kafka:Describe*","kafka:List*","kafka:Get*","iam:Get*","iam:List*","iam:Simulate*","sts:GetCallerIdentity"],"Resource":"*"}`)
	add("MillraceMonitor", "see everything but records",
		`{"Effect":"Allow","Action":["kafka-cluster:Connect","kafka-cluster:Describe*","kafka:Describe*","kafka:List*","kafka:Get*"],"Resource":"*"}`)
	add("MillraceDataAccess", "everything within the clusters: topics, groups, records", `{"Effect":"Allow","Action":"kafka-cluster:*","Resource":"*"}`)
	add("MillraceProducer", "write to all topics, with transactions too",
		`{"Effect":"Allow","Action":["kafka-cluster:Connect","kafka-cluster:DescribeTopic","kafka-cluster:WriteData","kafka-cluster:WriteDataIdempotently",`+
			`"kafka-cluster:DescribeTransactionalId","kafka-cluster:AlterTransactionalId"],"Resource":"*"}`)
	add("MillraceConsumer", "read all topics, with all groups",
		`{"Effect":"Allow","Action":["kafka-cluster:Connect","kafka-cluster:DescribeTopic","kafka-cluster:ReadData",`+
			`"kafka-cluster:DescribeGroup","kafka-cluster:AlterGroup"],"Resource":"*"}`)
	add("MillraceSecurityAdministrator", "users, roles, policies and keys", `{"Effect":"Allow","Action":["iam:*","sts:*"],"Resource":"*"}`)
	return all
}

// CreatePolicy makes a policy that can be attached to many. Errors: ErrExists, ErrInvalid, ErrLimit.
func (s *Store) CreatePolicy(ctx context.Context, name, description string, document []byte) (Managed, error) {
	if err := checkName("policy", name, mostPolicyName); err != nil {
		return Managed{}, err
	}
	if _, ok := ours()[name]; ok {
		return Managed{}, fmt.Errorf("policy %s: %w", name, ErrExists)
	}
	if len(description) > mostDescription {
		return Managed{}, fmt.Errorf("%w: the description has more than %d bytes", ErrInvalid, mostDescription)
	}
	if _, err := checkDocument(document, policy.Identity, name); err != nil {
		return Managed{}, err
	}
	now := s.clock.Now().UTC()
	m := Managed{
		Format: currentFormat, Name: name, ID: randomID("ANPA", idLength), Created: now, Changed: now, Description: description,
		Document: compact(document),
	}
	return m, s.create(ctx, dirPolicies, name, "policy "+name, mostPolicies, m)
}

// SetPolicy changes the document of a policy, at once for all who have it. Errors: ErrNotFound, ErrInvalid (one of ours, too).
func (s *Store) SetPolicy(ctx context.Context, name string, document []byte) error {
	if _, ok := ours()[name]; ok {
		return fmt.Errorf("%w: policy %s is Millrace's and cannot be changed", ErrInvalid, name)
	}
	if _, err := checkDocument(document, policy.Identity, name); err != nil {
		return err
	}
	_, err := change(ctx, s, dirPolicies+name, "policy "+clip(name), func(m *Managed) ([]kv.Cond, []kv.Op, error) {
		m.Document, m.Changed = compact(document), s.clock.Now().UTC()
		return nil, nil, nil
	})
	return err
}

// Policy returns a policy by its name, one of ours too, or ErrNotFound.
func (s *Store) Policy(ctx context.Context, name string) (Managed, error) {
	if m, ok := ours()[name]; ok {
		return m, nil
	}
	m, _, err := get[Managed](ctx, s.kv, dirPolicies+name, "policy "+clip(name))
	return m, err
}

// Policies returns all policies, ours first.
func (s *Store) Policies(ctx context.Context) ([]Managed, error) {
	var all []Managed
	builtin := ours()
	for _, name := range slices.Sorted(maps.Keys(builtin)) {
		all = append(all, builtin[name])
	}
	kept, err := list[Managed](ctx, s.kv, dirPolicies)
	return append(all, kept...), err
}

// DeletePolicy removes a policy that is attached to nobody (ErrInUse).
func (s *Store) DeletePolicy(ctx context.Context, name string) error {
	if _, ok := ours()[name]; ok {
		return fmt.Errorf("%w: policy %s is Millrace's and cannot be deleted", ErrInvalid, name)
	}
	return remove(ctx, s, dirPolicies+name, "policy "+clip(name), func(m Managed) ([]kv.Op, error) {
		if m.Attachments > 0 {
			return nil, fmt.Errorf("policy %s: %w: detach it from %d user(s) or role(s) first", name, ErrInUse, m.Attachments)
		}
		return nil, nil
	})
}
