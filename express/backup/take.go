package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/base/kv"
)

// marker is the record of a restore that is under way.
const marker = "restore"

// Take reads everything at one revision. It returns ErrNotEmpty while a restore has not ended: what is there is half of
// one.
func Take(ctx context.Context, store kv.KV, now time.Time) (*Backup, error) {
	items, rev, err := store.List(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("take backup: %w", err)
	}
	b := &Backup{Header: Header{Taken: now.UTC(), Revision: rev}}
	for _, item := range items {
		if item.Key == marker {
			return nil, fmt.Errorf("take backup: %w: a restore has begun and not ended", ErrNotEmpty)
		}
		if kept(item) {
			b.Items = append(b.Items, kv.Item{Key: item.Key, Value: item.Value})
		}
	}
	if len(b.Items) == 0 {
		return nil, errors.New("take backup: there is nothing in etcd")
	}
	return b, nil
}

// kept says whether an item belongs into a backup: reports of processes do not, nor what ends with them.
func kept(item kv.Item) bool {
	switch root, rest, _ := strings.Cut(item.Key, "/"); root {
	case "status", "hosts":
		return false
	case "control":
		return item.Lease == 0 && rest != "plane"
	case "clusters":
		_, rest, _ = strings.Cut(rest, "/")
		return item.Lease == 0 && !strings.HasPrefix(rest, "audited/") && !strings.HasPrefix(rest, "audit/")
	default:
		return item.Lease == 0
	}
}

// Clusters are the names of the clusters in the backup.
func (b *Backup) Clusters() (names []string) {
	for _, item := range b.Items {
		rest, ok := strings.CutPrefix(item.Key, "clusters/")
		if !ok {
			continue
		}
		if name, _, ok := strings.Cut(rest, "/"); ok && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	return names
}
