package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/disk"
	"millrace/engine"
	"millrace/engine/reach"
)

// metadataMost bounds the answer that Owned reads, in bytes: a million partitions take less.
const metadataMost = 256 << 20

// Owned asks the broker for the metadata of all topics.
func (e Engine) Owned(ctx context.Context, s engine.NodeSpec) (map[int32]int, error) {
	conn, err := reach.Dial(ctx, s, e.ClientTLS)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	req, resp := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrMetadataResponse()
	req.Version = 5 // the last that is needed
	if err := reach.Ask(conn, req, resp, metadataMost); err != nil {
		return nil, fmt.Errorf("ask broker %d for metadata: %w", s.ID, err)
	}
	return owners(resp), nil
}

// owners counts partitions by owner: the leader or, where the owner does not run, the first replica.
func owners(resp *kmsg.MetadataResponse) map[int32]int {
	counts := make(map[int32]int, len(resp.Brokers))
	for _, b := range resp.Brokers {
		counts[b.NodeID] = 0
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			switch {
			case p.Leader >= 0:
				counts[p.Leader]++
			case len(p.Replicas) > 0:
				counts[p.Replicas[0]]++
			}
		}
	}
	return counts
}

// Remove deletes the broker's directory, while it holds the broker's lock.
func (e Engine) Remove(s engine.NodeSpec) error {
	dir := Dir(e.Data, s.Cluster, s.ID)
	if _, err := e.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := e.FS.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("remove broker %d: %w", s.ID, err)
	}
	if err := errors.Join(disk.RemoveAll(e.FS, dir), lock.Close()); err != nil {
		return fmt.Errorf("remove broker %d: %w", s.ID, err)
	}
	return nil
}
