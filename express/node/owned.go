package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/disk"
	"millrace/engine"
)

// metadataMost bounds the answer that Owned reads, in bytes: a million partitions take less.
const metadataMost = 256 << 20

// Owned asks the broker for the metadata of all topics.
func (e Engine) Owned(ctx context.Context, s engine.NodeSpec) (map[int32]int, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil, errors.New("count of owners without a deadline")
	}
	conn, err := e.dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	resp, err := allTopics(conn)
	if err != nil {
		return nil, fmt.Errorf("ask broker %d for metadata: %w", s.ID, err)
	}
	return owners(resp), nil
}

func allTopics(conn net.Conn) (*kmsg.MetadataResponse, error) {
	const version = 5 // the last that is needed: before flexible headers
	req := kmsg.NewPtrMetadataRequest()
	req.Version = version
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("millrace-agent")).AppendRequest(nil, req, 1)); err != nil {
		return nil, err
	}
	var head [8]byte // size, correlation id
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size < 4 || size > metadataMost || binary.BigEndian.Uint32(head[4:]) != 1 {
		return nil, errNoAnswer
	}
	body, err := io.ReadAll(io.LimitReader(conn, size-4)) // grows with what comes, not with what the size claims
	if err != nil {
		return nil, err
	}
	if int64(len(body)) != size-4 {
		return nil, io.ErrUnexpectedEOF
	}
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.Version = version
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return resp, nil
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
