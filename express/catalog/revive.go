package catalog

import (
	"fmt"
	"strings"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

const (
	// reviveEpochs is by how much leader epochs grow when a catalog comes from a backup: more than they can have grown
	// since it was made, by restarts and moves.
	reviveEpochs = 1 << 16
	// reviveIDs is the same for producer ids.
	reviveIDs = 1 << 32
)

// Home is where a partition is to be, and what its leader epoch must exceed.
type Home struct {
	Owner int32
	Tail  string
	Log   string // that its owner has to import, where logs are in the object store
	Epoch int32  // the highest that is known of it anywhere; -1: none is
}

// Revive changes an item of a catalog with the prefix, out of a backup, so that it can be put into an empty etcd: what
// was given out since the backup is not given out again, and no process of before the backup serves anything (C3): every
// partition has an epoch that nobody had, and no owner's incarnation until its broker starts and claims it. home says
// where a partition is, given what its record says. Items that need no change come back as they are; ok is false
// for those that must not come back, which belong to processes.
func Revive(item kv.Item, prefix string, home func(id topic.Partition, said Partition) Home) (value []byte, ok bool, err error) {
	key := strings.TrimPrefix(item.Key, prefix)
	switch {
	case strings.HasPrefix(key, "brokers/"), key == "controller":
		return nil, false, nil
	case key == "producer-ids":
		r, err := decode[producerIDRecord](item.Value)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", item.Key, err)
		}
		r.Next += reviveIDs
		return encode(r), true, nil
	}
	id, ok := parsePartitionKey(key)
	if !ok {
		return item.Value, true, nil
	}
	r, err := decode[partitionRecord](item.Value)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", item.Key, err)
	}
	h := home(id, r.partition())
	r.Owner, r.Tail, r.Log, r.To, r.Incarnation = h.Owner, h.Tail, h.Log, 0, 0
	r.Epoch = max(r.Epoch, h.Epoch) + reviveEpochs
	return encode(r), true, nil
}
