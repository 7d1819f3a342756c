package iam

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/kv"
	"millrace/secure/iam/policy"
)

// ClusterPolicyKey is where the policy of the cluster with that prefix, clusters/NAME/, stands in etcd.
func ClusterPolicyKey(cluster string) string { return cluster + "policy" }

func clusterTagsKey(cluster string) string { return cluster + "tags" }

// ClusterPolicy returns the resource policy of a cluster, or ErrNotFound. version changes with each change.
func (s *Store) ClusterPolicy(ctx context.Context, cluster string) (document []byte, version int64, err error) {
	r, rev, err := get[resourceRecord](ctx, s.kv, ClusterPolicyKey(cluster), "the policy of the cluster")
	return r.Document, rev, err
}

// SetClusterPolicy gives a cluster its resource policy. version is that of the policy that it replaces; 0: any, or none.
// Errors: ErrInvalid, kv.ErrConflict for another version.
func (s *Store) SetClusterPolicy(ctx context.Context, cluster string, document []byte, version int64) (int64, error) {
	if _, err := checkDocument(document, policy.Resource, "of the cluster"); err != nil {
		return 0, err
	}
	key := ClusterPolicyKey(cluster)
	var cond []kv.Cond
	if version != 0 {
		cond = append(cond, kv.ModRevEquals(key, version))
	}
	rev, err := s.kv.Txn(ctx, cond, []kv.Op{kv.Put(key, encode(resourceRecord{Format: currentFormat, Document: compact(document)}))})
	if err != nil {
		return 0, fmt.Errorf("set the policy of the cluster: %w", err)
	}
	return rev, nil
}

// DeleteClusterPolicy takes the resource policy of a cluster away, or returns ErrNotFound.
func (s *Store) DeleteClusterPolicy(ctx context.Context, cluster string) error {
	key := ClusterPolicyKey(cluster)
	_, err := s.kv.Txn(ctx, []kv.Cond{kv.KeyExists(key)}, []kv.Op{kv.Delete(key)})
	if errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("the policy of the cluster: %w", ErrNotFound)
	}
	return err
}

// ClusterTags returns the tags of a cluster; none is an empty map.
func (s *Store) ClusterTags(ctx context.Context, cluster string) (map[string]string, error) {
	r, _, err := get[tagsRecord](ctx, s.kv, clusterTagsKey(cluster), "the tags of the cluster")
	if errors.Is(err, ErrNotFound) {
		return map[string]string{}, nil
	}
	return r.Tags, err
}

// EditClusterTags changes the tags of a cluster by compare-and-swap. change gets those that there are, nil where none were ever set, and
// returns those that there shall be; it may be called again. Errors: ErrInvalid, ErrLimit, and change's own.
func (s *Store) EditClusterTags(ctx context.Context, cluster string, change func(now map[string]string) (map[string]string, error)) error {
	key := clusterTagsKey(cluster)
	return s.retry(ctx, func() (written, error) {
		r, rev, err := get[tagsRecord](ctx, s.kv, key, "the tags of the cluster")
		if err != nil && !errors.Is(err, ErrNotFound) {
			return written{}, err
		}
		if rev != 0 && r.Tags == nil {
			r.Tags = map[string]string{}
		}
		next, err := change(r.Tags)
		if err == nil {
			err = checkTags(next)
		}
		if err != nil {
			return written{}, err
		}
		return s.txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{kv.Put(key, encode(tagsRecord{Format: currentFormat, Tags: next}))})
	})
}

// SetClusterTags replaces the tags of a cluster. Errors: ErrInvalid, ErrLimit.
func (s *Store) SetClusterTags(ctx context.Context, cluster string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	key := clusterTagsKey(cluster)
	_, err := s.kv.Txn(ctx, nil, []kv.Op{kv.Put(key, encode(tagsRecord{Format: currentFormat, Tags: tags}))})
	return err
}

// NewClusterTags is what writes the tags of a cluster that is being made, for the transaction that makes it. Errors: ErrInvalid, ErrLimit.
func NewClusterTags(cluster string, tags map[string]string) (kv.Op, error) {
	if err := checkTags(tags); err != nil {
		return kv.Op{}, err
	}
	return kv.Put(clusterTagsKey(cluster), encode(tagsRecord{Format: currentFormat, Tags: tags})), nil
}
