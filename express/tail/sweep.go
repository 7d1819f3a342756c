package tail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/base/object"
	"millrace/kafka/topic"
)

const (
	sweepPage = 1000
	// sweepGone is how old the tail of an unknown partition must be. That is a topic which was deleted in the midst of a
	// move; patience costs nothing, and a topic may be unknown for a while.
	sweepGone = 24 * time.Hour
)

// Owned is what a partition's record says.
type Owned struct {
	Epoch int32  // current leader epoch
	Tail  string // key that the owner still has to import; "" none
}

// Sweep deletes tails that nobody can need any more, and returns how many. find gives a partition's record as this broker
// knows it, which may be behind; false where there is none.
//
// A tail is needed from before its key is in the record until the record that has it is changed by its importer. Its key
// can enter the record only while the record has the key's epoch, in one step that raises the epoch. So once a record was
// seen with a higher epoch and without the key, the key is not in it and never comes back, however old the view is. While
// the epoch is still the key's, the release may yet come, even after hours without etcd.
func Sweep(ctx context.Context, objects object.Store, now time.Time, find func(topic.Partition) (Owned, bool)) (deleted int, err error) {
	var faults error
	for after := ""; ; {
		page, err := objects.List(ctx, Root, after, sweepPage)
		if err != nil {
			return deleted, errors.Join(faults, fmt.Errorf("sweep tails: %w", err))
		}
		for _, o := range page {
			after = o.Key
			k, ok := ParseKey(o.Key)
			if !ok || !dead(k, now.Sub(o.ModTime), find) {
				continue
			}
			if err := objects.Delete(ctx, o.Key); err != nil {
				faults = errors.Join(faults, fmt.Errorf("sweep %s: %w", o.Key, err))
				continue
			}
			deleted++
		}
		if len(page) < sweepPage {
			return deleted, faults
		}
	}
}

func dead(k Key, age time.Duration, find func(topic.Partition) (Owned, bool)) bool {
	owned, ok := find(k.Partition)
	if !ok {
		return age >= sweepGone
	}
	return owned.Epoch > k.Epoch && owned.Tail != k.String()
}
