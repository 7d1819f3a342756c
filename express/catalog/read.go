package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

// Snapshot is what the records of a cluster say, read from the outside.
type Snapshot struct {
	ClusterID string // "": there is no cluster
	Log       LogKind
	Topics    []SnapshotTopic
	Brokers   []int32           // that are registered, ascending
	Defaults  map[string]string // broker configurations that were set at runtime for the whole cluster
	Revision  int64             // at which all of it stood there
}

// SnapshotTopic is one topic of a Snapshot.
type SnapshotTopic struct {
	Name       string
	ID         topic.ID
	Configs    map[string]string // that were set for it
	Partitions []Partition       // by index; Owner is -1 where there is no record
}

// Read reads the catalog with the prefix, which ends with a slash, and changes nothing. Records that cannot be read are
// an error (ErrNewer, or what is wrong), which comes with all the others.
func Read(ctx context.Context, store kv.KV, prefix string) (Snapshot, error) {
	items, rev, err := store.List(ctx, prefix)
	if err != nil {
		return Snapshot{}, unavailable("read the catalog", err)
	}
	s, err := ReadItems(items, prefix)
	s.Revision = rev
	return s, err
}

// ReadItems is Read of items that are at hand, ascending by key; those without the prefix are passed over.
func ReadItems(items []kv.Item, prefix string) (s Snapshot, faults error) {
	byID := map[topic.ID]int{}
	for _, item := range items {
		name, ok := strings.CutPrefix(item.Key, prefix+"topics/")
		if !ok {
			continue
		}
		r, err := readTopic(name, item.Value, item.ModRev)
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("%s: %w", item.Key, err))
			continue
		}
		t := SnapshotTopic{Name: name, ID: r.ID, Configs: r.Configs, Partitions: make([]Partition, r.Partitions)}
		for i := range t.Partitions {
			t.Partitions[i].Owner = -1
		}
		byID[r.ID] = len(s.Topics)
		s.Topics = append(s.Topics, t)
	}
	for _, item := range items {
		key, ok := strings.CutPrefix(item.Key, prefix)
		if !ok {
			continue
		}
		if key == "cluster" {
			r, err := readCluster(item.Value)
			s.ClusterID, s.Log, faults = r.ID, r.Log, errors.Join(faults, err)
		} else if key == "configs/brokers/default" {
			r, err := decode[configRecord](item.Value)
			s.Defaults, faults = r.Configs, errors.Join(faults, err)
		} else if text, ok := strings.CutPrefix(key, "brokers/"); ok {
			if id, err := strconv.ParseInt(text, 10, 32); err == nil {
				s.Brokers = append(s.Brokers, int32(id))
			}
		} else if id, ok := parsePartitionKey(key); ok {
			r, err := decode[partitionRecord](item.Value)
			if err != nil {
				faults = errors.Join(faults, fmt.Errorf("%s: %w", item.Key, err))
			} else if i, ok := byID[id.Topic]; ok && int(id.Index) < len(s.Topics[i].Partitions) {
				s.Topics[i].Partitions[id.Index] = r.partition()
			}
		}
	}
	slices.Sort(s.Brokers)
	return s, faults
}

// parsePartitionKey reads the key of a partition's record below the prefix.
func parsePartitionKey(key string) (id topic.Partition, ok bool) {
	rest, ok := strings.CutPrefix(key, "partitions/")
	if !ok {
		return id, false
	}
	text, index, ok := strings.Cut(rest, "/")
	t, err := topic.ParseID(text)
	n, numErr := strconv.ParseInt(index, 10, 32)
	if !ok || err != nil || numErr != nil || n < 0 {
		return id, false
	}
	return topic.Partition{Topic: t, Index: int32(n)}, true
}
