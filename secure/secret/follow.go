package secret

import (
	"context"
	"strings"

	"millrace/base/kv"
)

// Follow calls changed with the name of each secret that has changed, came or went, until ctx ends or etcd cannot be read any more; first,
// and whenever changes may have been missed, with "": any may have.
func (s *Store) Follow(ctx context.Context, changed func(name string)) error {
	return kv.Follow(ctx, s.world.KV, dirSecrets, func([]kv.Item, int64) error {
		changed("")
		return nil
	}, func(e kv.Event) error {
		changed(strings.TrimPrefix(e.Item.Key, dirSecrets))
		return nil
	})
}
